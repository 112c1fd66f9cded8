package entitlement_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	vendor = name.MustAccount("499999999999")
	reg    = name.Registry{Account: vendor, Region: name.MustRegion("us-east-2")}
	made   = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	end    = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	digest = "sha256:0a420a73a4e564a1a1d54a265d7975aa913d25b8506919b6405f3146c47fb79e"
)

// image is an image of a request.
type image struct {
	repo, tag, digest string
	channels          []string
	released, pushed  time.Time
}

// allowed decides whether an entitlement allows to pull an image.
func allowed(t *testing.T, r entitlement.Rule, end time.Time, i image) bool {
	t.Helper()
	d, err := entitlement.Granted{ID: "e1", At: made, Rule: r}.Policy(end, func(p string) []string { return []string{reg.RepositoryARN(p)} })
	if err != nil {
		t.Fatal(err)
	}
	var c policy.Context
	if i.tag != "" {
		c.Set("ecrin:ImageTag", i.tag)
	}
	if i.digest != "" {
		c.Set("ecrin:ImageDigest", i.digest)
	}
	c.SetList(entitlement.KeyChannel, i.channels...)
	if !i.released.IsZero() {
		c.Set(entitlement.KeyReleased, i.released.Format(time.RFC3339Nano))
	}
	if !i.pushed.IsZero() {
		c.Set(entitlement.KeyPushed, i.pushed.Format(time.RFC3339Nano))
	}
	return policy.Evaluate(&policy.Policies{Identity: []policy.Named{{Name: "e1", Policy: policy.Compile(d, nil)}}}, &policy.Request{
		Caller: policy.Caller{Kind: policy.Customer, Account: vendor, ARN: "arn:aws:ecrin::499999999999:customer/shop/c1"},
		Action: "ecr:BatchGetImage", Resource: reg.RepositoryARN(i.repo), ResourceAccount: vendor, Context: &c}).Allowed()
}

func TestWhatAnEntitlementReaches(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for _, tt := range []struct {
		name string
		rule entitlement.Rule
		end  time.Time
		i    image
		want bool
	}{
		{"a repository", entitlement.Rule{Repositories: []string{"demo/app"}}, end, image{repo: "demo/app", tag: "1"}, true},
		{"another repository", entitlement.Rule{Repositories: []string{"demo/app"}}, end, image{repo: "demo/app2", tag: "1"}, false},
		{"a pattern", entitlement.Rule{Repositories: []string{"x", "demo/*"}}, end, image{repo: "demo/a/b", tag: "1"}, true},
		{"a tag", entitlement.Rule{Repositories: []string{"*"}, Tags: []string{"latest"}}, end, image{repo: "a", tag: "latest"}, true},
		{"another tag", entitlement.Rule{Repositories: []string{"*"}, Tags: []string{"latest"}}, end, image{repo: "a", tag: "2.0"}, false},
		{"a pattern of tags", entitlement.Rule{Repositories: []string{"*"}, Tags: []string{"2.*"}}, end, image{repo: "a", tag: "2.1"}, true},
		{"no tag", entitlement.Rule{Repositories: []string{"*"}, Tags: []string{"*"}}, end, image{repo: "a", digest: digest}, false},
		{"a version", entitlement.Rule{Repositories: []string{"*"}, Versions: ">=2 <3"}, end, image{repo: "a", tag: "v2.4.1"}, true},
		{"another version", entitlement.Rule{Repositories: []string{"*"}, Versions: ">=2 <3"}, end, image{repo: "a", tag: "3.0.0"}, false},
		{"both", entitlement.Rule{Repositories: []string{"*"}, Versions: "2", Tags: []string{"v*"}}, end, image{repo: "a", tag: "2.0.0"}, false},
		{"a digest", entitlement.Rule{Repositories: []string{"*"}, Digests: []string{digest}}, end, image{repo: "a", digest: digest}, true},
		{"another digest", entitlement.Rule{Repositories: []string{"*"}, Digests: []string{digest}}, end, image{repo: "a", tag: "1",
			digest: strings.Replace(digest, "0a", "0b", 1)}, false},
		{"a channel", entitlement.Rule{Repositories: []string{"*"}, Channels: []string{"c1", "c2"}}, end,
			image{repo: "a", tag: "1", channels: []string{"c0", "c2"}}, true},
		{"another channel", entitlement.Rule{Repositories: []string{"*"}, Channels: []string{"c1"}}, end,
			image{repo: "a", tag: "1", channels: []string{"c0"}}, false},
		{"no channel", entitlement.Rule{Repositories: []string{"*"}, Channels: []string{"c1"}}, end, image{repo: "a", tag: "1"}, false},
		{"before the end", entitlement.Rule{Repositories: []string{"*"}, ReleasedBefore: entitlement.LicenseEnd}, end,
			image{repo: "a", tag: "1", released: end.Add(-day)}, true},
		{"at the end", entitlement.Rule{Repositories: []string{"*"}, ReleasedBefore: entitlement.LicenseEnd}, end,
			image{repo: "a", tag: "1", released: end}, false},
		{"never released", entitlement.Rule{Repositories: []string{"*"}, ReleasedBefore: entitlement.LicenseEnd}, end,
			image{repo: "a", tag: "1"}, false},
		{"without an end", entitlement.Rule{Repositories: []string{"*"}, ReleasedBefore: entitlement.LicenseEnd}, time.Time{},
			image{repo: "a", tag: "1"}, true},
		{"before a date", entitlement.Rule{Repositories: []string{"*"}, ReleasedBefore: "2026-10-01T00:00:00Z"}, end,
			image{repo: "a", tag: "1", released: made}, false},
		{"there already", entitlement.Rule{Repositories: []string{"*"}, Present: true}, end,
			image{repo: "a", tag: "1", pushed: made.Add(-day)}, true},
		{"pushed later", entitlement.Rule{Repositories: []string{"*"}, Present: true}, end,
			image{repo: "a", tag: "1", pushed: made.Add(day)}, false},
	} {
		if got := allowed(t, tt.rule, tt.end, tt.i); got != tt.want {
			t.Errorf("%s: %v for %+v: got %v", tt.name, tt.rule, tt.i, got)
		}
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	t.Parallel()
	for member, r := range map[string]entitlement.Rule{
		"repositories":   {},
		"'repositories'": {Repositories: []string{"a b"}},
		"tags":           {Repositories: []string{"*"}, Tags: []string{""}},
		"versions":       {Repositories: []string{"*"}, Versions: "two"},
		"digests":        {Repositories: []string{"*"}, Digests: []string{"sha256:1"}},
		"releasedBefore": {Repositories: []string{"*"}, ReleasedBefore: "tomorrow"},
		"channels":       {Repositories: []string{"*"}, Channels: make([]string, 101)},
	} {
		err := r.Check()
		if !errors.Is(err, fault.InvalidParameter) || !strings.Contains(err.Error(), strings.Trim(member, "'")) {
			t.Errorf("%+v: got %v, want an error that names %s", r, err, member)
		}
	}
}

// Characters of patterns that policies know must not get a meaning: a name with a variable is refused.
func FuzzPolicy(f *testing.F) {
	f.Add("demo/*", "2.*", ">=1", "2027-01-31T00:00:00Z")
	f.Add("${aws:username}", "?", "*", entitlement.LicenseEnd)
	f.Fuzz(func(t *testing.T, repo, tag, versions, before string) {
		r := entitlement.Rule{Repositories: []string{repo}, Tags: []string{tag}, Versions: versions, ReleasedBefore: before}
		_, err := entitlement.Granted{ID: "e1", At: made, Rule: r}.Policy(end, func(p string) []string { return []string{reg.RepositoryARN(p)} })
		if (err == nil) != (r.Check() == nil) {
			t.Errorf("%+v: Check gives %v, Policy %v", r, r.Check(), err)
		}
		if err == nil && strings.ContainsAny(repo+tag, "$?{}\"") {
			t.Errorf("%q, %q was accepted", repo, tag)
		}
	})
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ patterns, want []string }{
		{[]string{"a"}, []string{"a"}},
		{[]string{"shop/*", "demo/app", "shop/api"}, []string{"demo/app", "shop/"}},
		{[]string{"b", "*x", "a/*"}, []string{""}},
		{[]string{"a*", "a", "b*c", "ab"}, []string{"a", "b"}},
	} {
		rule := entitlement.Rule{Repositories: slices.Clone(tt.patterns)}
		if got := rule.Prefixes(); !slices.Equal(got, tt.want) || !slices.Equal(rule.Repositories, tt.patterns) {
			t.Errorf("%q: got %q, want %q", tt.patterns, got, tt.want)
		}
	}
}
