// Package entitlement has the rules by which customers of an application may pull images, and makes policies of them.
//
// Nothing may be pulled without an entitlement. The policies are those of the policy engine, so that a decision about a customer is made,
// recorded and explained as every other one.
package entitlement

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Rule says which images an entitlement is for: those to which all of its members apply.
type Rule struct {
	// Repositories are patterns of names, in which * stands for any text: of repositories of the vendor, such as demo/*, or of images of an
	// external registry, such as ghcr.io/org/*. At least one must match.
	Repositories []string `json:"repositories"`
	Tags         []string `json:"tags,omitempty"`     // patterns of tags, one of which must match; none for all
	Versions     string   `json:"versions,omitempty"` // range of semantic versions in which the tag must be, such as ">=2 <3"; "" for all
	Digests      []string `json:"digests,omitempty"`  // of images; none for all
	Channels     []string `json:"channels,omitempty"` // ids of channels, one of which must offer a release with the image; none for all
	// ReleasedBefore is a time before which the image must have been released; or LicenseEnd; "" for any time.
	ReleasedBefore string `json:"releasedBefore,omitempty"`
	// Present is true for images that were pushed before the entitlement was made: later tags are not part of it.
	Present bool `json:"present,omitempty"`
}

// LicenseEnd is the value of ReleasedBefore for the end of the licence. A licence without an end has all.
const LicenseEnd = "license-end"

// Limits of a rule.
const (
	maxPatterns = 100
	maxPattern  = 512 // characters
)

// The condition keys of entitlements, beside ecrin:ImageTag and ecrin:ImageDigest.
const (
	KeyChannel  = "ecrin:ReleaseChannel" // ids of the channels that offer a release with the image
	KeyReleased = "ecrin:ReleasedAt"     // when the image was released first, or else pushed
	KeyPushed   = "ecrin:ImagePushedAt"  // when the image was pushed
)

var patternText = lazyregexp.New(`^[A-Za-z0-9*][A-Za-z0-9._:/*-]*$`)

var tagText = lazyregexp.New(`^[A-Za-z0-9_*][A-Za-z0-9._*-]*$`)

// Check checks a rule.
//
// Errors: fault.InvalidParameter, which names the member.
func (r Rule) Check() error {
	bad := func(member, format string, a ...any) error {
		return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, fmt.Sprintf(format, a...))
	}
	for _, list := range []struct {
		member string
		values []string
	}{{"repositories", r.Repositories}, {"tags", r.Tags}, {"digests", r.Digests}, {"channels", r.Channels}} {
		if len(list.values) > maxPatterns {
			return bad(list.member, "at most %d values", maxPatterns)
		}
		for _, v := range list.values {
			if len(v) > maxPattern {
				return bad(list.member, "at most %d characters", maxPattern)
			}
		}
	}
	if len(r.Repositories) == 0 {
		return bad("repositories", "at least one pattern; * is all repositories")
	}
	for _, p := range r.Repositories {
		if !patternText.MatchString(p) {
			return bad("repositories", "%q is no pattern of a repository such as demo/* or ghcr.io/org/app", name.Clip(p))
		}
	}
	for _, p := range r.Tags {
		if !tagText.MatchString(p) {
			return bad("tags", "%q is no pattern of a tag such as 2.*", name.Clip(p))
		}
	}
	if r.Versions != "" {
		if _, err := semver.ParseRange(r.Versions); err != nil {
			return bad("versions", "%v", err)
		}
	}
	for _, d := range r.Digests {
		if _, err := name.ParseDigest(d); err != nil {
			return bad("digests", "%q is no digest", name.Clip(d))
		}
	}
	if _, err := r.released(time.Time{}); err != nil {
		return bad("releasedBefore", "%v", err)
	}
	return nil
}

// released returns the time before which images must have been released, with the end of the licence; zero for any time.
func (r Rule) released(end time.Time) (time.Time, error) {
	switch r.ReleasedBefore {
	case "":
		return time.Time{}, nil
	case LicenseEnd:
		return end, nil
	}
	t, err := time.Parse(time.RFC3339, r.ReleasedBefore)
	if err != nil {
		return t, fmt.Errorf("%q is no time such as 2027-01-31T00:00:00Z, and not %s", name.Clip(r.ReleasedBefore), LicenseEnd)
	}
	return t, nil
}

// Granted is an entitlement with what its policy depends on.
type Granted struct {
	ID   string
	At   time.Time // when it was made
	Rule Rule
}

// actions are what a customer may do with an image: pull it, find its tags and referrers, and have it fetched from an external registry.
var actions = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability", "ecr:ListImages",
	"ecr:CreateRepository", "ecr:BatchImportUpstreamImage"}

// Policy returns the policy of an entitlement of a licence that ends at end, zero for never. resources returns the ARNs for a pattern of
// repositories, in which * stands for any text; none means that nothing is reached.
//
// Errors: fault.InvalidParameter for a rule that Check refuses.
func (g Granted) Policy(end time.Time, resources func(pattern string) []string) (*policy.Document, error) {
	if err := g.Rule.Check(); err != nil {
		return nil, err
	}
	type statement struct {
		Sid       string
		Effect    string
		Action    []string
		Resource  []string
		Condition map[string]map[string][]string `json:",omitempty"`
	}
	s := statement{Sid: g.ID, Effect: "Allow", Action: actions, Resource: []string{}, Condition: map[string]map[string][]string{}}
	for _, p := range g.Rule.Repositories {
		s.Resource = append(s.Resource, resources(p)...)
	}
	test := func(operator, key string, values ...string) {
		if len(values) == 0 {
			return
		}
		if s.Condition[operator] == nil {
			s.Condition[operator] = map[string][]string{}
		}
		s.Condition[operator][key] = values
	}
	test("StringLike", "ecrin:ImageTag", g.Rule.Tags...)
	if g.Rule.Versions != "" {
		test(string(policy.VersionInRange), "ecrin:ImageTag", g.Rule.Versions)
	}
	test("StringEquals", "ecrin:ImageDigest", g.Rule.Digests...)
	test("ForAnyValue:StringEquals", KeyChannel, g.Rule.Channels...)
	before, err := g.Rule.released(end)
	if err != nil {
		return nil, err
	}
	if !before.IsZero() {
		test("DateLessThan", KeyReleased, before.UTC().Format(time.RFC3339))
	}
	if g.Rule.Present {
		test("DateLessThan", KeyPushed, g.At.UTC().Format(time.RFC3339Nano))
	}
	document := map[string]any{"Version": "2012-10-17", "Statement": []statement{s}}
	if len(s.Resource) == 0 {
		document["Statement"] = []statement{}
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	return policy.ParseStored(string(text), policy.Entitlement)
}

// String returns a rule in words, such as "demo/*, tags 2.*, versions >=2 <3".
func (r Rule) String() string {
	parts := []string{strings.Join(r.Repositories, " or ")}
	add := func(label string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			parts = append(parts, label+" "+strings.Join(values, " or "))
		}
	}
	add("tags", r.Tags...)
	add("versions", r.Versions)
	add("digests", r.Digests...)
	add("channels", r.Channels...)
	if r.ReleasedBefore == LicenseEnd {
		add("released", "before the end of the licence")
	} else {
		add("released before", r.ReleasedBefore)
	}
	if r.Present {
		parts = append(parts, "without later tags")
	}
	return strings.Join(parts, ", ")
}

// Reaches reports whether one of the patterns matches the name of a repository.
func (r Rule) Reaches(repository string) bool {
	return slices.ContainsFunc(r.Repositories, func(pattern string) bool { return name.Matches(pattern, repository) })
}

// Prefixes returns what the names of the repositories that the rule reaches begin with: sorted, and none of them begins with another one.
func (r Rule) Prefixes() (all []string) {
	for _, p := range r.Repositories {
		literal, _, _ := strings.Cut(p, "*")
		all = append(all, literal)
	}
	slices.Sort(all)
	kept := all[:0]
	for _, p := range all {
		if len(kept) == 0 || !strings.HasPrefix(p, kept[len(kept)-1]) {
			kept = append(kept, p)
		}
	}
	return kept
}
