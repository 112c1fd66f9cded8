package sts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// denial decides a request that must be denied, and returns the denial with its reasons.
func (w *fixture) denial(t testing.TB, c identity.Caller, a guard.Ask) *guard.Denial {
	t.Helper()
	err := w.ask(t.Context(), c, a)
	var d *guard.Denial
	if !errors.As(err, &d) {
		t.Fatalf("%s: got %v, want a denial with its reasons", a.Action, err)
	}
	return d
}

// decoded is the part of a message that the tests compare.
type decoded struct {
	Allowed, ExplicitDeny bool
	MatchedStatements     struct {
		Items []struct {
			StatementID, Effect, Policy, Layer                                        string
			Principals, PrincipalGroups, Actions, NotActions, Resources, NotResources list
			Conditions                                                                keys
		}
	}
	Failures struct {
		Items []struct{ StatementID, Effect, Element, Detail, Policy, Layer string }
	}
	Context struct {
		Principal        struct{ ID, Name, ARN string }
		Action, Resource string
		Conditions       keys
	}
	Layer   string
	Changes []struct {
		Layer       string
		Alternative bool
		Add         *struct{ Statement []map[string]any }
		Remove      *struct{ Policy, Layer string }
	}
	Shortened bool
}

type list struct{ Items []struct{ Value string } }

func (l list) String() string {
	var all []string
	for _, v := range l.Items {
		all = append(all, v.Value)
	}
	return strings.Join(all, " ")
}

type keys struct {
	Items []struct {
		Operator, Key string
		Values        list
	}
}

func (k keys) get(key string) string {
	for _, one := range k.Items {
		if strings.EqualFold(one.Key, key) {
			return one.Values.String()
		}
	}
	return ""
}

func (w *fixture) decode(t testing.TB, c identity.Caller, encoded string) (d decoded, text string) {
	t.Helper()
	text = do(t, w.DecodeAuthorizationMessage, c, ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: encoded}).DecodedMessage
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("the message %s: %v", text, err)
	}
	return d, text
}

func TestDecodeAuthorizationMessage(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.root, "alice", statements(can("Allow", "ecr:Describe*", "*"),
		`{"Sid":"NoPush","Effect":"Deny","Action":["ecr:PutImage","ecr:Initiate*"],"Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalTag/team":["web","db"]}}}`,
		`{"Sid":"OnlyEcr","Effect":"Deny","NotAction":"ecr:*","NotResource":"arn:aws:iam::*:role/*"}`))
	arn := "arn:aws:ecr:us-east-1:111122223333:repository/team/app"
	d := w.denial(t, user, guard.Ask{Action: "ecr:PutImage", Owner: guard.OwnedBy(home), Region: name.MustRegion("us-east-1"), Resource: arn})
	encoded := w.Encode(d.Request, d.Why)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(encoded) || len(encoded) > 2000 {
		t.Errorf("the message is %q, want up to 2000 letters for a header", encoded)
	}
	m, text := w.decode(t, user, encoded)
	// As in AWS, all members are present, even if they are empty.
	for _, member := range []string{`"allowed":false`, `"explicitDeny":true`,
		`"matchedStatements":{"items":[{"statementId":"NoPush","effect":"DENY"`, `"principalGroups":{"items":[]}`, `"failures":{"items":[`,
		`"context":{"principal":{"id":"AIDA`, `"name":"alice","arn":"` + alice + `"}`, `"conditions":{"items":[{`} {
		if !strings.Contains(text, member) {
			t.Errorf("the message %s\nlacks %s", text, member)
		}
	}
	if len(m.MatchedStatements.Items) != 1 {
		t.Fatalf("got %d matched statements, want the deny alone:\n%s", len(m.MatchedStatements.Items), text)
	}
	s := m.MatchedStatements.Items[0]
	got := []string{s.Actions.String(), s.Resources.String(), s.Conditions.Items[0].Operator,
		s.Conditions.get("aws:PrincipalTag/team"), s.Policy, s.Layer, m.Layer, m.Context.Action, m.Context.Resource,
		m.Context.Conditions.get("aws:username"), m.Context.Conditions.get("aws:PrincipalArn"),
		m.Context.Conditions.get("aws:RequestedRegion"), m.Context.Principal.ID}
	want := []string{"ecr:PutImage ecr:Initiate*", "*", "StringNotEquals", "web db", "own", "identity-based",
		"identity-based", "ecr:PutImage", arn, "alice", alice, "us-east-1", user.UserID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the message (-want +got):\n%s\n%s", diff, text)
	}
	if len(m.Changes) == 0 || m.Changes[0].Remove == nil || m.Changes[0].Remove.Policy != "own" {
		t.Errorf("the first change is not to remove the deny:\n%s", text)
	}
	if m.Context.Conditions.get("aws:CurrentTime") == "" {
		t.Errorf("the context lacks the time:\n%s", text)
	}

	d = w.denial(t, user, guard.Ask{Action: "iam:ListUsers", Owner: guard.OwnedBy(home), Resource: "*"})
	m, text = w.decode(t, w.root, w.Encode(d.Request, d.Why))
	if s := m.MatchedStatements.Items[0]; s.StatementID != "OnlyEcr" || s.NotActions.String() != "ecr:*" ||
		s.NotResources.String() != "arn:aws:iam::*:role/*" || s.Actions.String() != "" || s.Resources.String() != "" {
		t.Errorf("NotAction and NotResource are not what they were:\n%s", text)
	}
	d = w.denial(t, user, guard.Ask{Action: "ecr:ListImages", Owner: guard.OwnedBy(home), Resource: arn})
	m, text = w.decode(t, user, w.Encode(d.Request, d.Why))
	if m.ExplicitDeny || len(m.MatchedStatements.Items) != 0 || len(m.Changes) != 2 || !m.Changes[0].Alternative ||
		m.Changes[0].Add == nil || m.Changes[0].Add.Statement[0]["Action"] != "ecr:ListImages" {
		t.Errorf("an implicit denial: got\n%s\nwant nothing matched and two ways to allow it", text)
	}

	// Only the account of the message can decode it, and a changed message is refused.
	refuse(t, w.DecodeAuthorizationMessage, w.stranger, ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: encoded},
		fault.InvalidAuthorizationMessage, "Message is not valid")
	refuse(t, w.DecodeAuthorizationMessage, identity.Caller{Kind: identity.Operator},
		ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: encoded}, fault.InvalidAuthorizationMessage, "")
	foreigner := newFixture(t, nil)
	refuse(t, foreigner.DecodeAuthorizationMessage, foreigner.root,
		ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: encoded}, fault.InvalidAuthorizationMessage, "")
	flip := []byte(encoded)
	if flip[len(flip)/2]++; flip[len(flip)/2] == '[' {
		flip[len(flip)/2] = 'a'
	}
	for _, bad := range []string{string(flip), encoded[:len(encoded)-4], encoded + "AAAA", "x", "%",
		w.id.Seal("authorization message", []byte("plain")), w.id.Seal("another purpose", []byte("{}"))} {
		refuse(t, w.DecodeAuthorizationMessage, user, ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: bad},
			fault.InvalidAuthorizationMessage, "Message is not valid")
	}
}

// A message for another account does not contain the policies and tags of the resource's owner.
func TestMessageAcrossAccounts(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	user := w.user(t, w.stranger, "alice", statements(can("Allow", "sts:*", "*")))
	w.role(t, w.root, "target", statements(`{"Sid":"Secret","Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}`), "")
	asked, err := sts.OnRole(w.Service, t.Context(), guard.Request{By: user},
		&ststypes.AssumeRoleRequest{RoleArn: target, RoleSessionName: "work", ExternalId: "deal-7"})
	if err != nil {
		t.Fatal(err)
	}
	d := w.denial(t, user, asked.Asks[0])
	m, text := w.decode(t, user, w.Encode(d.Request, d.Why))
	if strings.Contains(text, "Secret") || !m.ExplicitDeny || m.Layer != "role trust" || len(m.Changes) != 0 ||
		len(m.MatchedStatements.Items) != 1 || m.MatchedStatements.Items[0].Layer != "identity-based" {
		t.Errorf("the message has more or less than the caller's own statement:\n%s", text)
	}
	if m.Context.Conditions.get("sts:ExternalId") != "deal-7" {
		t.Errorf("the message lacks a key of the request:\n%s", text)
	}
	refuse(t, w.DecodeAuthorizationMessage, w.root, ststypes.DecodeAuthorizationMessageRequest{
		EncodedMessage: w.Encode(d.Request, d.Why)}, fault.InvalidAuthorizationMessage, "")

	// The tags of the resource and the tags of its images are the owner's, too.
	d.Request.Context = &policy.Context{}
	for _, key := range []string{"aws:ResourceTag/secret", "ecr:ResourceTag/secret", "ecrin:ImageTag", "ecrin:ImageDigest"} {
		d.Request.Context.Set(key, "hidden")
	}
	d.Request.Context.Set("aws:PrincipalTag/team", "web")
	for _, detail := range []string{`StringEquals aws:ResourceTag/secret: the request has "hidden"`,
		`StringEquals aws:PrincipalTag/cost: the request has no such key`} {
		d.Why.Findings = append(d.Why.Findings, policy.Finding{Layer: policy.LayerIdentity, Failed: policy.ElementCondition, Detail: detail})
	}
	m, text = w.decode(t, user, w.Encode(d.Request, d.Why))
	if strings.Contains(text, "hidden") || m.Context.Conditions.get("aws:PrincipalTag/team") != "web" ||
		!strings.Contains(text, "no such key") {
		t.Errorf("the message shows keys of the resource, or lacks one of the caller:\n%s", text)
	}

	// If the caller has no account, the owner of the resource can decode the whole message.
	trust := &meta.BoundPolicy{Text: statements(`{"Sid":"Secret","Effect":"Deny","Principal":"*","Action":"sts:*"}`)}
	service := identity.Caller{Kind: identity.AWSService, ARN: "lambda.amazonaws.com"}
	d = w.denial(t, service, guard.Ask{Action: "sts:AssumeRole", Owner: guard.OwnedBy(home), Resource: target,
		Known: guard.Known{Trust: trust}})
	if m, text = w.decode(t, w.root, w.Encode(d.Request, d.Why)); m.MatchedStatements.Items[0].StatementID != "Secret" ||
		m.Context.Principal.ARN != "lambda.amazonaws.com" {
		t.Errorf("the owner's message:\n%s", text)
	}
}

// A statement in a message names its policy by the ARN, or by the name of a policy that has none. The principal has the unique id
// of its session, and the last part of its ARN as its name.
func TestMessageNamesPoliciesAndPrincipals(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	const arn = "arn:aws:iam::111122223333:policy/team/managed"
	r := policy.Request{Caller: policy.Caller{Kind: policy.User, Account: home, ARN: alice, UniqueID: "AIDAEXAMPLE"}, Action: "ecr:PutImage",
		Resource: "*", ResourceAccount: home, Context: &policy.Context{}}
	findings := []policy.Finding{
		{Layer: policy.LayerIdentity, ARN: arn, Policy: "managed", Statement: 3, Effect: policy.Deny, Source: &policy.Statement{}},
		{Layer: policy.LayerIdentity, Policy: "own", Effect: policy.Deny, Source: &policy.Statement{}},
	}
	why := policy.Why{Findings: findings, Changes: []policy.Change{{Layer: policy.LayerIdentity, Remove: &findings[0]}}}
	for _, c := range []struct{ arn, session, id, name string }{
		{alice, "", "AIDAEXAMPLE", "alice"},
		{homeRoot, "", "AIDAEXAMPLE", "root"},
		{"arn:aws:sts::111122223333:assumed-role/target/work", "AROAEXAMPLE:work", "AROAEXAMPLE:work", "work"},
	} {
		r.Caller.ARN, r.Context = c.arn, &policy.Context{}
		if c.session != "" {
			r.Context.Set("aws:userid", c.session)
		}
		_, text := w.decode(t, w.root, w.Encode(r, why))
		for _, want := range []string{
			`"policy":"` + arn + `","layer":"identity-based","statement":3`, `"policy":"own","layer":"identity-based","statement":0`,
			`"remove":{"policy":"` + arn + `"`, `"principal":{"id":"` + c.id + `","name":"` + c.name + `","arn":"` + c.arn + `"}`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the message\n%s\nlacks %s", c.arn, text, want)
			}
		}
	}
}

// The message of any decision fits into a header.
func TestMessageLength(t *testing.T) {
	t.Parallel()
	w := newFixture(t, nil)
	random := func(n int) string { return w.id.Seal("noise", make([]byte, n*3/4-21)) } // does not pack
	for what, fill := range map[string]func(r *policy.Request, why *policy.Why){
		"little": func(*policy.Request, *policy.Why) {},
		"many tags": func(r *policy.Request, _ *policy.Why) {
			for i := range 200 {
				r.Context.Set(fmt.Sprint("aws:ResourceTag/", i), random(256))
			}
		},
		"many changes": func(_ *policy.Request, why *policy.Why) {
			for range 20 {
				why.Changes = append(why.Changes, policy.Change{Layer: policy.LayerIdentity, Add: `{"Id":"` + random(1000) + `"}`})
			}
		},
		"many statements": func(_ *policy.Request, why *policy.Why) {
			for range 100 {
				why.Findings = append(why.Findings, policy.Finding{Layer: policy.LayerIdentity, Sid: random(100),
					Effect: policy.Allow, Source: &policy.Statement{}})
			}
		},
		"many near misses": func(_ *policy.Request, why *policy.Why) {
			for range 100 {
				why.Findings = append(why.Findings, policy.Finding{Layer: policy.LayerIdentity, Failed: policy.ElementAction, Detail: random(100)})
			}
		},
		"a long resource": func(r *policy.Request, _ *policy.Why) { r.Resource = random(20000) },
		"a huge resource": func(r *policy.Request, _ *policy.Why) { r.Resource = strings.Repeat("x", 1<<20) },
	} {
		r := policy.Request{Caller: policy.Caller{Kind: policy.User, Account: home, ARN: alice}, Action: "ecr:PutImage",
			Resource: "*", ResourceAccount: home, Context: &policy.Context{}}
		var why policy.Why
		fill(&r, &why)
		encoded := w.Encode(r, why)
		m, text := w.decode(t, w.root, encoded)
		if len(encoded) > 3000 || m.Context.Principal.ARN != alice || m.Context.Action != "ecr:PutImage" || m.Shortened != (what != "little") {
			t.Errorf("%s: got %d characters, shortened %v:\n%s", what, len(encoded), m.Shortened, text)
		}
		if what == "many near misses" && len(m.Changes) != len(why.Changes) {
			t.Errorf("%s: more is left out than has to be", what)
		}
	}
}

// Texts that are no messages, and sealed values of another form, return an error.
func FuzzDecodeAuthorizationMessage(f *testing.F) {
	w := newFixture(f, nil)
	r := policy.Request{Caller: policy.Caller{Kind: policy.User, Account: home, ARN: alice}, Action: "ecr:PutImage",
		Resource: "*", ResourceAccount: home}
	f.Add([]byte(w.Encode(r, policy.Why{})))
	f.Add([]byte("x"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range []string{string(data), w.id.Seal("authorization message", data)} {
			out, err := w.DecodeAuthorizationMessage(t.Context(), w.stranger, &ststypes.DecodeAuthorizationMessageRequest{EncodedMessage: text})
			if !errors.Is(err, fault.InvalidAuthorizationMessage) {
				t.Errorf("%q: got %+v, %v, want fault.InvalidAuthorizationMessage", text, out, err)
			}
		}
	})
}
