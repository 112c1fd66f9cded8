package guard_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// allowIf allows all of ECR under a condition.
func allowIf(condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":` + condition + `}]}`
}

// Each condition key of a request has its value: a condition on it allows with the value, and with no other.
func TestConditionKeysOfARequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	a := pull(home, "app")
	a.From = guard.Origin{SourceIP: netip.MustParseAddr("192.0.2.7"), Secure: true, UserAgent: "docker/27",
		Referer: "https://example.com/"}
	d, err := name.ParseDigest("sha256:" + strings.Repeat("a", 64))
	f.must(err)
	a.Image = guard.Image{Reference: name.Reference{Tag: tagNamed("v1"), Digest: d}}
	for i, c := range []struct{ key, operator, value, other string }{
		{"aws:RequestedRegion", "StringEquals", region.String(), "eu-west-1"},
		{"aws:UserAgent", "StringEquals", "docker/27", "podman"},
		{"aws:Referer", "StringEquals", "https://example.com/", "https://example.org/"},
		{"aws:SourceIp", "IpAddress", "192.0.2.0/24", "198.51.100.0/24"},
		{"aws:SecureTransport", "Bool", "true", "false"},
		{"aws:ViaAWSService", "Bool", "false", "true"},
		{"aws:PrincipalIsAWSService", "Bool", "false", "true"},
		{"aws:CurrentTime", "DateLessThan", "2026-08-02T00:00:00Z", "2026-07-31T00:00:00Z"},
		{"aws:ResourceTag/team", "StringEquals", "core", "edge"},
		{"aws:ResourceAccount", "StringEquals", home.String(), other.String()},
		{"aws:PrincipalAccount", "StringEquals", home.String(), other.String()},
		{"ecrin:ImageTag", "StringEquals", "v1", "v2"},
		{"ecrin:ImageDigest", "StringEquals", d.String(), "sha256:" + strings.Repeat("b", 64)},
	} {
		for value, allowed := range map[string]bool{c.value: true, c.other: false} {
			_, user := f.user(home, fmt.Sprint("user-", i, allowed), allowIf(`{"`+c.operator+`":{"`+c.key+`":"`+value+`"}}`))
			want := noIdentity
			if allowed {
				want = ""
			}
			f.decide(c.operator+" "+c.key+" "+value, user, a, want)
		}
	}
	// What a request does not have is absent, not empty.
	for i, key := range []string{"aws:UserAgent", "aws:Referer", "ecrin:ImageDigest", "ecrin:ImageTag"} {
		_, user := f.user(home, fmt.Sprint("null-", i), allowIf(`{"Null":{"`+key+`":"true"}}`))
		without := pull(home, "app")
		without.From = guard.Origin{SourceIP: a.From.SourceIP}
		f.decide("absent: "+key, user, without, "")
		f.decide("present: "+key, user, a, noIdentity)
	}
}

// The alternative action of an ask is tried only after a denial, and the record names the action that was allowed.
func TestAlternativeAction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	_, first := f.user(home, "first", allow("ecr:BatchGetImage", "*"))
	_, second := f.user(home, "second", allow("ecr:ListImages", "*"))
	_, neither := f.user(home, "neither", allow("ecr:PutImage", "*"))
	a := pull(home, "app")
	record := func(or string, who int) (*guard.Record, error) {
		rec, ask := new(guard.Record), f.resolved(a)
		ask.Or = or
		by := first
		if who == 2 {
			by = second
		} else if who == 3 {
			by = neither
		}
		return rec, f.guard.Decide(t.Context(), by, a.From, rec, ask)
	}
	for _, c := range []struct {
		what, or, action string
		who              int
		allowed          bool
	}{
		{"the action itself", "ecr:ListImages", "ecr:BatchGetImage", 1, true},
		{"the alternative", "ecr:ListImages", "ecr:ListImages", 2, true},
		{"neither", "ecr:ListImages", "ecr:BatchGetImage", 3, false},
		{"no alternative, allowed", "", "ecr:BatchGetImage", 1, true},
		{"no alternative, denied", "", "ecr:BatchGetImage", 2, false},
	} {
		rec, err := record(c.or, c.who)
		if (err == nil) != c.allowed || err != nil && !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s: got %v, want allowed: %t", c.what, err, c.allowed)
		}
		if rec.Action != c.action || rec.Resource == "" || rec.Owner != guard.OwnedBy(home) {
			t.Errorf("%s: the record has %s on %s of %v, want %s", c.what, rec.Action, rec.Resource, rec.Owner, c.action)
		}
	}
}

// A decision without an ask is an error, and so is the second of two asks if it is denied.
func TestEveryAskIsDecided(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	_, user := f.user(home, "user", allow("ecr:BatchGetImage", "*"))
	if err := f.guard.Decide(t.Context(), user, guard.Origin{}, new(guard.Record)); err == nil {
		t.Error("no ask: got no error")
	}
	a := f.resolved(pull(home, "app"))
	b := a
	b.Action = "ecr:PutImage"
	for what, asks := range map[string][]guard.Ask{"denied second": {a, b}, "denied first": {b, a}} {
		rec := new(guard.Record)
		if err := f.guard.Decide(t.Context(), user, guard.Origin{}, rec, asks...); !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s: got %v, want AccessDenied", what, err)
		}
		if rec.Action != "ecr:PutImage" {
			t.Errorf("%s: the record has the action %s, want the denied one", what, rec.Action)
		}
	}
}

func TestAsksOfDeletions(t *testing.T) {
	t.Parallel()
	a := guard.Ask{Action: "ecr:BatchDeleteImage", Resource: "r"}
	tags := func(asks []guard.Ask) (all []string) {
		for _, one := range asks {
			if one.Action != a.Action || one.Resource != a.Resource {
				t.Errorf("got the ask %+v, want a copy of %+v", one, a)
			}
			all = append(all, one.Image.Tag.String())
		}
		return all
	}
	for _, c := range []struct{ in, want []string }{
		{nil, []string{""}}, {[]string{"v1"}, []string{"v1"}}, {[]string{"v1", "v2"}, []string{"v1", "v2"}},
	} {
		if diff := cmp.Diff(c.want, tags(guard.ForDeletion(a, c.in))); diff != "" {
			t.Errorf("the tags of the asks for %q (-want +got):\n%s", c.in, diff)
		}
	}
}

// tagged is an input with resource tags.
type tagged [][2]string

func (in tagged) RequestTags(each func(key, value string)) {
	for _, one := range in {
		each(one[0], one[1])
	}
}

// untagged is an input with the keys of tags to remove.
type untagged []string

func (in untagged) RequestTagKeys() []string { return in }

// Tags of a request become condition keys. Of keys that differ only in case each value must be allowed.
func TestRequestTags(t *testing.T) {
	t.Parallel()
	one := []guard.Ask{{Action: "ecr:CreateRepository"}}
	for _, in := range []any{nil, struct{}{}, tagged{}} {
		if got := guard.WithRequestTags(one, in); len(got) != 1 || len(got[0].Keys) != 0 {
			t.Errorf("the input %v without tags: got %+v, want the ask as it is", in, got)
		}
	}
	values := func(in tagged) (all []string) {
		for _, ask := range guard.WithRequestTags([]guard.Ask{{Action: "ecr:CreateRepository"}}, in) {
			var text []string
			for _, k := range ask.Keys {
				text = append(text, k.Name+"="+strings.Join(k.Values, ","))
			}
			all = append(all, strings.Join(text, " "))
		}
		return all
	}
	for _, c := range []struct {
		in   any
		want []guard.ConditionKey
	}{
		{tagged{{"a", "1"}}, []guard.ConditionKey{{Name: "aws:RequestTag/a", Values: []string{"1"}},
			{Name: "aws:TagKeys", Values: []string{"a"}, List: true}}},
		{untagged{"a"}, []guard.ConditionKey{{Name: "aws:TagKeys", Values: []string{"a"}, List: true}}},
		{untagged{"b", "a", "b"}, []guard.ConditionKey{{Name: "aws:TagKeys", Values: []string{"a", "b"}, List: true}}},
	} {
		got := guard.WithRequestTags([]guard.Ask{{Keys: []guard.ConditionKey{{Name: "own"}}}}, c.in)
		if diff := cmp.Diff(append([]guard.ConditionKey{{Name: "own"}}, c.want...), got[0].Keys); len(got) != 1 || diff != "" {
			t.Errorf("the keys of %v in %d asks (-want +got):\n%s", c.in, len(got), diff)
		}
	}
	want := []string{"aws:RequestTag/b=2 aws:RequestTag/a=1 aws:TagKeys=a,b"}
	if diff := cmp.Diff(want, values(tagged{{"b", "2"}, {"a", "1"}})); diff != "" {
		t.Errorf("two tags (-want +got):\n%s", diff)
	}
	want = []string{"aws:RequestTag/Team=1 aws:RequestTag/team=2 aws:TagKeys=Team,team",
		"aws:RequestTag/Team=1 aws:RequestTag/team=2 aws:TagKeys=Team,team aws:RequestTag/Team=1"}
	if diff := cmp.Diff(want, values(tagged{{"Team", "1"}, {"team", "2"}})); diff != "" {
		t.Errorf("tags that differ in case (-want +got):\n%s", diff)
	}
}

// Temporary credentials of a role and long-term keys may call IAM, as far as policies allow; those of GetSessionToken not.
func TestWhoMayCallIAM(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	user, key := f.user(home, "user", allow("*", "*"))
	role := f.entity(home, meta.Role, "role", nil)
	f.inline(role, allow("*", "*"))
	session := f.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: user.ID})
	list := access{Ask: guard.Ask{Action: "iam:ListUsers", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	f.decide("a long-term key in IAM", key, list, "")
	f.decide("a role in IAM", f.session(meta.Session{Account: home, Kind: meta.RoleSession, Principal: role.ID}), list, "")
	f.decide("a session of a user in IAM", session, list, "cannot call it")
	f.decide("a session of a user in ECR", session, pull(home, "app"), "")
}

// A repository policy applies to actions of ECR and of ecrin on the repository, and to those of no other service; a policy of
// a resource never allows GetAuthorizationToken.
func TestServicesOfARepositoryPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, own := f.user(home, "own", allow("s3:*", "*"))
	f.repository(home, "app", grant(own.ARN, "*"))
	for action, want := range map[string]string{
		"ecr:BatchGetImage": "", "ecrin:RestoreImage": "", "sts:AssumeRole": "no identity-based policy allows the sts:AssumeRole action",
		"ecr:GetAuthorizationToken": "no identity-based policy allows the ecr:GetAuthorizationToken action",
	} {
		a := pull(home, "app")
		a.Action = action
		if action == "ecr:GetAuthorizationToken" {
			a.Resource, a.repo = "*", name.Repo{}
		}
		f.decide(action, own, a, want)
	}
}

// Whatever policies say: the operator does actions of ecrin only, a caller without a principal does none, and actions that are
// reserved for the operator are done by nobody else.
func TestCallersOutsideOfPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", grant("*", "*"))
	_, user := f.user(home, "user", allow("*", "*"))
	operator := identity.Caller{Kind: identity.Operator, ARN: "operator"}
	nobody := identity.Caller{Kind: identity.NoPrincipal, Account: home, ARN: "nobody"}
	own := pull(home, "app")
	own.Action = "ecrin:RestoreImage"
	reserved := access{Ask: guard.Ask{Action: "ecrin:ListAccounts", Owner: guard.Unowned, Region: region, Resource: "*",
		Reserved: guard.ForOperator}}
	f.decide("the operator, an action of ECR", operator, pull(home, "app"), "not authorized")
	f.decide("the operator, an action of ecrin", operator, own, "")
	f.decide("the operator, a reserved action", operator, reserved, "")
	f.decide("no principal, an action of ECR", nobody, pull(home, "app"), "not authorized")
	f.decide("no principal, an action of ecrin", nobody, own, "not authorized")
	f.decide("a user, an action of ECR", user, pull(home, "app"), "")
	f.decide("a user, an action of ecrin", user, own, "")
	f.decide("a user, a reserved action", user, reserved, "not authorized")
}

// In a region of another partition, entities and the caller have ARNs of that partition: in denials, condition keys and the record.
func TestARNsAreOfThePartitionOfTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, user := f.user(home, "user", "")
	for in, partition := range map[name.Region]string{region: "aws", name.MustRegion("cn-north-1"): "aws-cn"} {
		entity := func(called string) string { return "arn:" + partition + ":iam::" + home.String() + ":user/" + called }
		a := guard.Ask{Action: "iam:GetUser", Owner: guard.OwnedBy(home), Region: in, Resource: "arn:aws:iam::" + home.String() + ":user/other"}
		rec := new(guard.Record)
		err := f.guard.Decide(t.Context(), user, guard.Origin{}, rec, a)
		if !errors.Is(err, fault.AccessDenied) || !strings.Contains(err.Error(), "on resource: "+entity("other")+" ") ||
			rec.Resource != entity("other") {
			t.Errorf("%s: the record has the resource %s, %v, want a denial on %s", in, rec.Resource, err, entity("other"))
		}
		var denial *guard.Denial
		if !errors.As(err, &denial) {
			t.Fatalf("%s: got %v, want a denial by policies", in, err)
		}
		if got := denial.Request.Context.Values("aws:PrincipalArn"); len(got) != 1 || got[0] != entity("user") {
			t.Errorf("%s: aws:PrincipalArn is %q, want %s", in, got, entity("user"))
		}
	}
}

// The condition keys of an operation count in a decision, with all values of a list.
func TestConditionKeysOfAnOperation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, user := f.user(home, "user", allowIf(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]},"Null":{"aws:TagKeys":"false"},
		"StringEquals":{"aws:RequestTag/a":"1"}}`))
	for i, c := range []struct {
		value string
		list  []string
		want  string
	}{
		{"1", []string{"a"}, ""}, {"1", []string{"b", "a"}, ""}, {"1", []string{"a", "c"}, noIdentity}, {"1", nil, noIdentity},
		{"2", []string{"a"}, noIdentity},
	} {
		a := pull(home, "app")
		a.Keys = []guard.ConditionKey{{Name: "aws:RequestTag/a", Values: []string{c.value}}, {Name: "aws:TagKeys", Values: c.list, List: true}}
		f.decide(fmt.Sprint("case ", i), user, a, c.want)
	}
}
