package sts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	own   = name.MustAccount("111122223333")
	alice = identity.Caller{Kind: identity.User, Account: own, Principal: "AIDAALICE"}
)

// Session tags have a condition key each, one for their names and one for the transitive ones, and no key where there are none.
func TestConditionKeysOfTags(t *testing.T) {
	t.Parallel()
	if got := tagKeys(nil, nil); got != nil {
		t.Errorf("without tags: got %+v, want no keys", got)
	}
	want := []guard.ConditionKey{
		{Name: "aws:RequestTag/a", Values: []string{"1"}}, {Name: "aws:RequestTag/b", Values: []string{"2"}},
		{Name: "aws:TagKeys", Values: []string{"a", "b"}, List: true},
	}
	if diff := cmp.Diff(want, tagKeys(map[string]string{"b": "2", "a": "1"}, nil)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	want = append(want, guard.ConditionKey{Name: "sts:TransitiveTagKeys", Values: []string{"b"}, List: true})
	if diff := cmp.Diff(want, tagKeys(map[string]string{"b": "2", "a": "1"}, []string{"b"})); diff != "" {
		t.Errorf("transitive tags (-want +got):\n%s", diff)
	}
}

// Keys of tags are compared without regard to case, also with those that a session passes on, and their number is that of both.
func TestTagsOfRequests(t *testing.T) {
	t.Parallel()
	many := func(n int, front string) (all []ststypes.Tag) {
		for i := range n {
			all = append(all, ststypes.Tag{Key: front + strings.Repeat("x", i+1), Value: "1"})
		}
		return all
	}
	withOne := meta.Session{Transitive: []string{"a"}, Tags: map[string]string{"a": "1"}}
	for what, c := range map[string]struct {
		tags       []ststypes.Tag
		transitive []string
		session    meta.Session
		source     string
		words      string
	}{
		"fifty":                     {many(50, ""), nil, meta.Session{}, "", ""},
		"fifty-one":                 {many(51, ""), nil, meta.Session{}, "", "at most 50"},
		"forty-nine and one":        {many(49, ""), nil, withOne, "", ""},
		"fifty and one":             {many(50, ""), nil, withOne, "", "at most 50"},
		"reserved":                  {[]ststypes.Tag{{Key: "AWS:x"}}, nil, meta.Session{}, "", "reserved"},
		"twice":                     {[]ststypes.Tag{{Key: "a"}, {Key: "A"}}, nil, meta.Session{}, "", "Duplicate"},
		"transitive":                {[]ststypes.Tag{{Key: "Team"}}, []string{"team", "TEAM"}, meta.Session{}, "", ""},
		"transitive alone":          {nil, []string{"a"}, meta.Session{}, "", "must be included"},
		"passed on":                 {[]ststypes.Tag{{Key: "TEAM"}}, nil, meta.Session{Transitive: []string{"team"}}, "", "conflicts"},
		"the same source":           {nil, nil, meta.Session{Source: "ann"}, "ann", ""},
		"another source":            {nil, nil, meta.Session{Source: "ann"}, "eve", "cannot be changed"},
		"a source":                  {nil, nil, meta.Session{}, "ann", ""},
		"the source of the session": {nil, nil, meta.Session{Source: "ann"}, "", ""},
	} {
		a := &Assumption{source: c.source}
		err := a.setTags(c.tags, c.transitive)
		if err == nil {
			err = a.inherit(c.session)
		}
		if err != nil && (c.words == "" || fault.From(err).Code != fault.InvalidParameter || !strings.Contains(err.Error(), c.words)) ||
			err == nil && c.words != "" {
			t.Errorf("%s: got %v, want an error with %q", what, err, c.words)
		}
		if err != nil {
			continue
		}
		wantSource := c.source + strings.TrimPrefix(c.session.Source, c.source)
		if len(a.inherited) != len(c.session.Transitive) || a.source != wantSource {
			t.Errorf("%s: got the tags %v of the session and the source %q, want %v and %q", what, a.inherited, a.source, c.session.Transitive,
				wantSource)
		}
		if what == "transitive" && strings.Join(a.transitive, " ") != "Team" {
			t.Errorf("%s: got %q, want each key once, as the tag has it", what, a.transitive)
		}
	}
}

// A request with tags that cannot be used is refused before the decision, and one with temporary credentials too.
func TestFederationIsRefusedBeforeTheDecision(t *testing.T) {
	t.Parallel()
	req := guard.Request{By: alice, Region: name.MustRegion("us-east-1")}
	in := &ststypes.GetFederationTokenRequest{Name: "fed", Tags: []ststypes.Tag{{Key: "aws:x"}}}
	if got, err := OnFederation(&Service{}, t.Context(), req, in); fault.From(err) == nil || fault.From(err).Code != fault.InvalidParameter ||
		len(got.Asks) != 0 {
		t.Errorf("a reserved tag: got %+v, %v, want InvalidParameter", got, err)
	}
	in.Tags = nil
	got, err := OnFederation(&Service{}, t.Context(), req, in)
	if err != nil || len(got.Asks) != 1 || got.Asks[0].Action != "sts:GetFederationToken" ||
		got.Asks[0].Resource != "arn:aws:sts::111122223333:federated-user/fed" {
		t.Errorf("without tags: got %+v, %v, want one ask for the federated user", got.Asks, err)
	}
	in.Tags = []ststypes.Tag{{Key: "a", Value: "1"}}
	if got, err = OnFederation(&Service{}, t.Context(), req, in); err != nil || len(got.Asks) != 2 || got.Asks[1].Action != "sts:TagSession" ||
		got.Asks[1].Resource != got.Asks[0].Resource {
		t.Errorf("with a tag: got %+v, %v, want a second ask for the tag", got.Asks, err)
	}
	for what, c := range map[string]identity.Caller{"a session of a user": {Kind: identity.User, Account: own, SessionKey: "ASIA"},
		"a role": {Kind: identity.RoleSession, Account: own}, "a federated user": {Kind: identity.FederatedUser, Account: own}} {
		req.By = c
		if got, err := OnFederation(&Service{}, t.Context(), req, in); fault.From(err) == nil || fault.From(err).Code != fault.AccessDenied ||
			len(got.Asks) != 0 {
			t.Errorf("%s: got %+v, %v, want AccessDenied", what, got, err)
		}
	}
}

// The size of policies and tags is that of their texts in percent of 8192 bytes, rounded up.
func TestPackedSizes(t *testing.T) {
	t.Parallel()
	percent := func(n int32) *int32 { return &n }
	for what, c := range map[string]struct {
		l     limits
		tags  map[string]string
		want  *int32
		words string
	}{
		"nothing":         {limits{}, nil, nil, ""},
		"one byte":        {limits{}, map[string]string{"a": ""}, percent(1), ""},
		"81 bytes":        {limits{arns: []string{strings.Repeat("a", 81)}}, nil, percent(1), ""},
		"82 bytes":        {limits{arns: []string{strings.Repeat("a", 40)}}, map[string]string{"a": strings.Repeat("b", 41)}, percent(2), ""},
		"all":             {limits{arns: []string{strings.Repeat("a", 8192)}}, nil, percent(100), ""},
		"a byte too much": {limits{arns: []string{strings.Repeat("a", 8193)}}, nil, nil, "Packed policy consumes 101%"},
		"tags too many":   {limits{}, map[string]string{"a": strings.Repeat("b", 8192)}, nil, "Packed size of session tags consumes 101%"},
		"white space":     {limits{inline: []string{`{ "a" :` + strings.Repeat(" ", 9000) + `1 }`}}, nil, percent(1), ""},
		"no JSON":         {limits{inline: []string{`{`}}, nil, nil, "Syntax errors"},
	} {
		got, err := pack(c.l, c.tags)
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, want an error with %q", what, err, c.words)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for _, c := range []struct {
		least *int32
		good  bool
	}{{nil, true}, {percent(tokenSize), true}, {percent(tokenSize + 1), false}} {
		if err := checkTokenSize(c.least); (err == nil) != c.good {
			t.Errorf("a token of at least %v characters: got %v, want it good %t", c.least, err, c.good)
		}
	}
}

// The message of a decision has what the owner of the resource keeps to itself only for the owner.
func TestWhatAMessageKeepsForTheOwner(t *testing.T) {
	t.Parallel()
	var keys policy.Context
	keys.Set("aws:userid", "AIDAALICE")
	keys.Set("aws:ResourceTag/team", "blue")
	r := &policy.Request{Caller: policy.Caller{ARN: "arn:aws:iam::111122223333:user/a/alice", UniqueID: "x"}, Action: "ecr:PutImage",
		Resource: "arn:aws:ecr:us-east-1:444455556666:repository/app", Context: &keys}
	why := &policy.Why{Findings: []policy.Finding{
		{Layer: policy.LayerIdentity, Sid: "Tag", Failed: "Condition", Detail: "StringEquals aws:ResourceTag/team is blue"},
		{Layer: policy.LayerIdentity, Sid: "Ip", Failed: "Condition", Detail: "StringEquals aws:SourceIp is 1"},
		{Layer: policy.LayerIdentity, Sid: "Word", Failed: "Action", Detail: "aws:ResourceTag/team"},
		{Layer: policy.LayerResource, Sid: "Theirs", Failed: "Action", Detail: "x y"},
		{Layer: policy.LayerRCP, Sid: "Rcp", Failed: "Action"}, {Layer: policy.LayerTrust, Sid: "Trust", Failed: "Action"},
	}}
	for _, owner := range []bool{true, false} {
		m := messageOf(r, why, owner)
		var got []string
		for _, f := range m.Failures.Items {
			got = append(got, f.StatementID+":"+f.Detail)
		}
		want := []string{"Tag:", "Ip:StringEquals aws:SourceIp is 1", "Word:aws:ResourceTag/team"}
		wantKeys := 1
		if owner {
			want[0] += why.Findings[0].Detail
			want = append(want, "Theirs:x y", "Rcp:", "Trust:")
			wantKeys = 2
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("for the owner %t (-want +got):\n%s", owner, diff)
		}
		if n := len(m.Context.Conditions.Items); n != wantKeys {
			t.Errorf("for the owner %t: got %d condition keys, want %d", owner, n, wantKeys)
		}
		if p := m.Context.Principal; p.ID != "AIDAALICE" || p.Name != "alice" || p.ARN != r.Caller.ARN {
			t.Errorf("for the owner %t: got the principal %+v", owner, p)
		}
	}
}

// Claims become condition keys of the issuer, unless their names could be taken for those of others.
func TestConditionKeysOfClaims(t *testing.T) {
	t.Parallel()
	v := &Vouched{provider: "p", audience: "aud", claims: oidc.Claims{Issuer: "issuer.test", Subject: "s", Audience: []string{"aud"},
		Strings: map[string]string{"sub": "s", "SUB": "x", "ref": "main", "Team": "a", "team": "b", "a b": "c", "amr": "d"}}}
	names := func() string {
		var all []string
		for _, k := range v.claimKeys() {
			all = append(all, k.Name+"="+strings.Join(k.Values, ","))
		}
		return strings.Join(all, " ")
	}
	const kept = "aws:FederatedProvider=p issuer.test:aud=aud issuer.test:sub=s"
	if got, want := names(), kept+" issuer.test:ref=main"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	v.claims.AMR, v.claims.Azp, v.claims.Audience = []string{"mfa"}, "azp", []string{"aud", "b"}
	if got, want := names(), "aws:FederatedProvider=p issuer.test:aud=aud issuer.test:azp=azp issuer.test:sub=s issuer.test:amr=mfa "+
		"issuer.test:oaud=aud,b issuer.test:ref=main"; got != want {
		t.Errorf("with several audiences: got %s, want %s", got, want)
	}
	v.claims.Issuer = "aws"
	if got := names(); strings.Contains(got, "ref") {
		t.Errorf("an issuer that could be a prefix of AWS: got %s, want no claim but the kept ones", got)
	}
}
