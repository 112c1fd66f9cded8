package identity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// allow is the text of a policy that allows an action.
func allow(action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
}

// when is allow with a condition on a key.
func when(action, key string) string {
	return strings.TrimSuffix(allow(action), "}]}") + `,"Condition":{"StringEquals":{"` + key + `":"x"}}}]}`
}

// entity creates an entity of the default account.
func (w *fixture) entity(t *testing.T, e meta.Entity, tags map[string]string) meta.Entity {
	t.Helper()
	e.Account, e.CreatedAt = home, w.now()
	if e.Path == "" {
		e.Path = "/"
	}
	if e.Kind == meta.ManagedPolicy {
		e.DefaultVersion, e.LastVersion = 1, 1
		must(t, w.meta.CreateManagedPolicy(t.Context(), e, e.Description, tags, 1000))
		return e
	}
	must(t, w.meta.CreateEntity(t.Context(), e, tags, 1000))
	return e
}

// people are the entities of the tests: a user in a group, with every kind of policy, and a role.
type people struct{ user, role, group, policy meta.Entity }

func (w *fixture) people(t *testing.T) (p people) {
	t.Helper()
	p.policy = w.entity(t, meta.Entity{ID: "ANPA00000000000000001", Kind: meta.ManagedPolicy, Name: "Ours", Path: "/team/",
		Description: allow("ecr:ListImages")}, nil)
	p.user = w.entity(t, meta.Entity{ID: "AIDA00000000000000001", Kind: meta.User, Name: "Ann", Path: "/team/",
		Boundary: "arn:aws:iam::aws:policy/PowerUserAccess"}, map[string]string{"team": "blue"})
	p.role = w.entity(t, meta.Entity{ID: "AROA00000000000000001", Kind: meta.Role, Name: "Build", Path: "/ci/"},
		map[string]string{"team": "red", "stage": "test"})
	p.group = w.entity(t, meta.Entity{ID: "AGPA00000000000000001", Kind: meta.Group, Name: "Devs"}, nil)
	profile := w.entity(t, meta.Entity{ID: "AIPA00000000000000001", Kind: meta.InstanceProfile, Name: "Machine"}, nil)
	must(t, errors.Join(
		w.meta.AddMember(t.Context(), p.group.ID, p.user.ID, 10, 10),
		w.meta.AddMember(t.Context(), profile.ID, p.role.ID, 10, 10),
		w.meta.PutInline(t.Context(), p.user.ID, meta.Inline{Name: "own", Text: allow("ecr:BatchGetImage")}, 10_000),
		w.meta.Attach(t.Context(), p.user.ID, p.policy.ARN(), 10),
		w.meta.PutInline(t.Context(), p.group.ID, meta.Inline{Name: "of-group", Text: allow("ecr:PutImage")}, 10_000),
		w.meta.Attach(t.Context(), p.group.ID, "arn:aws:iam::aws:policy/IAMReadOnlyAccess", 10),
		w.meta.Attach(t.Context(), p.role.ID, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly", 10)))
	return p
}

// session stores a session and returns the caller with it.
func (w *fixture) session(t *testing.T, v meta.Session) identity.Caller {
	t.Helper()
	v.Account = home
	c, err := w.IssueSession(t.Context(), identity.Caller{}, v, time.Hour)
	must(t, err)
	return identity.Caller{Principal: v.Principal, SessionKey: c.AccessKey}
}

func namesOf(all []policy.Named) (names []string) {
	for _, n := range all {
		names = append(names, n.Name)
	}
	return names
}

// keysOf returns the condition keys of a subject.
func keysOf(u *identity.Subject) map[string]string {
	all := map[string]string{}
	for key, values := range u.Keys.All() {
		all[key] = strings.Join(values, ",")
	}
	return all
}

// Each kind of principal has its ARN, its ids, its condition keys and the policies that apply to it.
func TestSubjectOfEachKind(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	w.Service = identity.New(w.meta, w.ring, w.now, identity.Options{Organization: "o-example"})
	const reader = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
	plain := map[string]string{"aws:principalaccount": "000000000000", "aws:principalorgid": "o-example",
		"aws:principalorgpaths": "o-example/r-root/000000000000/"}
	in := map[string]string{"aws:multifactorauthpresent": "false", "aws:tokenissuetime": "2026-08-01T12:00:00Z"}
	for what, test := range map[string]struct {
		caller                       identity.Caller
		kind                         identity.Kind
		policyKind                   policy.PrincipalKind
		arn, userID, issuer          string
		identity, boundary, sessions []string
		keys                         map[string]string
		temporary                    bool
	}{
		"the root user": {identity.Caller{Principal: home.String()}, identity.Root, policy.Account, "arn:aws:iam::000000000000:root",
			"000000000000", "", nil, nil, nil,
			map[string]string{"aws:principaltype": "Account", "aws:principalarn": "arn:aws:iam::000000000000:root",
				"aws:userid": "000000000000"}, false},
		"a user": {identity.Caller{Principal: p.user.ID}, identity.User, policy.User, "arn:aws:iam::000000000000:user/team/Ann", p.user.ID, "",
			[]string{"own", "Ours", "of-group", "IAMReadOnlyAccess"}, []string{"PowerUserAccess"}, nil,
			map[string]string{"aws:principaltype": "User", "aws:principalarn": "arn:aws:iam::000000000000:user/team/Ann",
				"aws:userid": p.user.ID, "aws:username": "Ann", "aws:principaltag/team": "blue"}, false},
		"a user with temporary credentials": {w.session(t, meta.Session{Kind: meta.UserSession, Principal: p.user.ID}), identity.User,
			policy.User, "arn:aws:iam::000000000000:user/team/Ann", p.user.ID, "",
			[]string{"own", "Ours", "of-group", "IAMReadOnlyAccess"}, []string{"PowerUserAccess"}, nil,
			map[string]string{"aws:principaltype": "User", "aws:principalarn": "arn:aws:iam::000000000000:user/team/Ann",
				"aws:userid": p.user.ID, "aws:username": "Ann", "aws:principaltag/team": "blue"}, true},
		"a role": {w.session(t, meta.Session{Kind: meta.RoleSession, Principal: p.role.ID, Name: "run", Source: "ann",
			Policies: []string{allow("ecr:*")}, PolicyARNs: []string{reader}, Tags: map[string]string{"stage": "live"},
			Claims: map[string]string{"issuer.test:sub": "repo"}}),
			identity.RoleSession, policy.RoleSession, "arn:aws:sts::000000000000:assumed-role/Build/run", p.role.ID + ":run",
			"arn:aws:iam::000000000000:role/ci/Build", []string{"AmazonEC2ContainerRegistryReadOnly"}, nil,
			[]string{"session policy", "AmazonEC2ContainerRegistryReadOnly"},
			map[string]string{"aws:principaltype": "AssumedRole", "aws:principalarn": "arn:aws:iam::000000000000:role/ci/Build",
				"aws:userid": p.role.ID + ":run", "aws:principaltag/team": "red", "aws:principaltag/stage": "live",
				"issuer.test:sub": "repo", "aws:sourceidentity": "ann"}, true},
		"a federated user of a user": {w.session(t, meta.Session{Kind: meta.FederatedSession, Principal: p.user.ID, Name: "fed",
			PolicyARNs: []string{reader}}),
			identity.FederatedUser, policy.FederatedUser, "arn:aws:sts::000000000000:federated-user/fed", "000000000000:fed",
			"arn:aws:iam::000000000000:user/team/Ann", []string{"own", "Ours", "of-group", "IAMReadOnlyAccess"},
			[]string{"PowerUserAccess"}, []string{"AmazonEC2ContainerRegistryReadOnly"},
			map[string]string{"aws:principaltype": "FederatedUser", "aws:principalarn": "arn:aws:sts::000000000000:federated-user/fed",
				"aws:userid": "000000000000:fed", "aws:principaltag/team": "blue"}, true},
		"a federated user of the root user": {w.session(t, meta.Session{Kind: meta.FederatedSession, Principal: home.String(), Name: "fed"}),
			identity.FederatedUser, policy.FederatedUser, "arn:aws:sts::000000000000:federated-user/fed", "000000000000:fed",
			"arn:aws:iam::000000000000:root", []string{"root user"}, nil, []string{"session without policies"},
			map[string]string{"aws:principaltype": "FederatedUser", "aws:principalarn": "arn:aws:sts::000000000000:federated-user/fed",
				"aws:userid": "000000000000:fed"}, true},
	} {
		u, err := w.Subject(t.Context(), test.caller)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		wantKeys := map[string]string{}
		for _, some := range []map[string]string{plain, test.keys} {
			for k, v := range some {
				wantKeys[k] = v
			}
		}
		if test.temporary {
			for k, v := range in {
				wantKeys[k] = v
			}
		}
		uniqueID := ""
		if strings.HasPrefix(test.caller.Principal, "A") {
			uniqueID = test.caller.Principal
		}
		want := identity.Subject{
			Caller: identity.Caller{Kind: test.kind, Account: home, ARN: test.arn, UserID: test.userID, Principal: test.caller.Principal,
				AccessKey: test.caller.SessionKey, SessionKey: test.caller.SessionKey},
			Policy: policy.Caller{Kind: test.policyKind, Account: home, ARN: test.arn, Issuer: test.issuer, UniqueID: uniqueID},
		}
		if u.Caller != want.Caller || u.Policy != want.Policy {
			t.Errorf("%s: got %+v, %+v, want %+v, %+v", what, u.Caller, u.Policy, want.Caller, want.Policy)
		}
		if diff := cmp.Diff([][]string{test.identity, test.boundary, test.sessions},
			[][]string{namesOf(u.Identity), namesOf(u.Boundary), namesOf(u.Session)}); diff != "" {
			t.Errorf("%s: policies (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(wantKeys, keysOf(u)); diff != "" {
			t.Errorf("%s: condition keys (-want +got):\n%s", what, diff)
		}
		issuer := test.issuer
		if issuer == "" {
			issuer = test.arn
		}
		if got := w.Issuer(t.Context(), test.caller); got != issuer {
			t.Errorf("%s: issuer: got %s, want %s", what, got, issuer)
		}
		v, err := w.Session(t.Context(), test.caller)
		if err != nil || v.AccessKey != test.caller.SessionKey {
			t.Errorf("%s: session: got %+v, %v, want %q", what, v, err, test.caller.SessionKey)
		}
	}
	if got := w.Issuer(t.Context(), identity.Caller{Principal: "AIDA00000000000000009"}); got != "" {
		t.Errorf("the issuer of a deleted user: got %q, want none", got)
	}
	for _, gone := range []identity.Caller{{Principal: "AIDA00000000000000009"}, {Principal: "999999999999"},
		{Principal: p.user.ID, SessionKey: "ASIA0000000000000000"}, {Principal: p.group.ID}, {Principal: p.role.ID}, {}} {
		if u, err := w.Subject(t.Context(), gone); err == nil {
			t.Errorf("the subject of %+v: got %+v, want an error", gone, u)
		}
	}
}

// The ARNs that policies compare have the partition of the region.
func TestSubjectInAPartition(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	u, err := w.Subject(t.Context(), w.session(t, meta.Session{Kind: meta.RoleSession, Principal: p.role.ID, Name: "run"}))
	must(t, err)
	china := u.PolicyIn(name.MustRegion("cn-north-1"))
	if china.ARN != "arn:aws-cn:sts::000000000000:assumed-role/Build/run" || china.Issuer != "arn:aws-cn:iam::000000000000:role/ci/Build" {
		t.Errorf("in China: got %s, %s", china.ARN, china.Issuer)
	}
	if got := u.PolicyIn(east); got != u.Policy {
		t.Errorf("in the default partition: got %+v, want %+v", got, u.Policy)
	}
	if got := u.Caller.In("aws-cn").ARN; got != china.ARN {
		t.Errorf("the caller in China: got %s, want %s", got, china.ARN)
	}
	operator := identity.Caller{Kind: identity.Operator, ARN: "arn:aws:ecrin:::operator"}
	if got := operator.In("aws-cn"); got != operator {
		t.Errorf("the operator in China: got %+v, want %+v", got, operator)
	}
}

// A subject says whether its policies read condition keys or images, wherever the policy is, and follows each change.
func TestSubjectKnowsWhatItsPoliciesRead(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	u, err := w.Subject(t.Context(), identity.Caller{Principal: p.user.ID})
	must(t, err)
	if u.Conditional || u.Images {
		t.Errorf("without conditions: got conditional %t, images %t", u.Conditional, u.Images)
	}
	if again, err := w.Subject(t.Context(), identity.Caller{Principal: p.user.ID}); err != nil || again != u {
		t.Errorf("without a change between them: got %p, %v, want the same subject %p", again, err, u)
	}
	for _, at := range []string{p.user.ID, p.group.ID} {
		for key, images := range map[string]bool{"aws:SourceIp": false, "ecrin:ImageTag": true, "ecrin:ImageDigest": true} {
			must(t, w.meta.PutInline(t.Context(), at, meta.Inline{Name: "if", Text: when("ecr:*", key)}, 10_000))
			if u, err := w.Subject(t.Context(), identity.Caller{Principal: p.user.ID}); err != nil || !u.Conditional || u.Images != images {
				t.Errorf("with %s: got %+v, %v, want conditional, images %t", key, u, err, images)
			}
		}
		must(t, w.meta.DeleteInline(t.Context(), at, "if"))
	}
	if u, err := w.Subject(t.Context(), identity.Caller{Principal: p.user.ID}); err != nil || u.Conditional || u.Images {
		t.Errorf("after the conditions: got %+v, %v", u, err)
	}
	must(t, w.meta.PutInline(t.Context(), p.user.ID, meta.Inline{Name: "broken", Text: "{"}, 10_000))
	u, err = w.Subject(t.Context(), identity.Caller{Principal: p.user.ID})
	if err == nil || !strings.Contains(err.Error(), "the policy broken of") {
		t.Errorf("with a policy that cannot be read: got %+v, %v, want an error with its name", u, err)
	}
}

// A managed policy that was deleted, or that another path or account has, adds no rights and takes none away.
func TestManagedPolicyThatDoesNotExistAllowsNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	if text, err := w.ManagedText(t.Context(), p.policy.ARN()); err != nil || text != allow("ecr:ListImages") {
		t.Errorf("a customer's policy: got %q, %v", text, err)
	}
	if text, err := w.ManagedText(t.Context(), "arn:aws:iam::aws:policy/AdministratorAccess"); err != nil || !strings.Contains(text, `"*"`) {
		t.Errorf("a policy of AWS: got %q, %v", text, err)
	}
	for _, arn := range []string{"arn:aws:iam::000000000000:policy/Ours", "arn:aws:iam::111122223333:policy/team/Ours",
		"arn:aws:iam::000000000000:policy/team/Theirs", "arn:aws:iam::000000000000:user/team/Ann", "arn:aws:iam::aws:policy/Ours", "x"} {
		text, err := w.ManagedText(t.Context(), arn)
		if !errors.Is(err, fault.NoSuchEntity) || text != "" {
			t.Errorf("%s: got %q, %v, want NoSuchEntity", arn, text, err)
		}
		c := w.session(t, meta.Session{Kind: meta.RoleSession, Principal: p.role.ID, Name: "run", PolicyARNs: []string{arn}})
		u, err := w.Subject(t.Context(), c)
		if err != nil || len(u.Session) != 1 || u.Session[0].ARN != arn || u.Session[0].Policy == nil {
			t.Errorf("a session limited by %s: got %+v, %v, want a policy that allows nothing", arn, u, err)
		}
	}
	if _, err := w.meta.CreatePolicyVersion(t.Context(), p.policy.ID, allow("ecr:*"), false, 5); err != nil {
		t.Fatal(err)
	}
	if text, err := w.ManagedText(t.Context(), p.policy.ARN()); err != nil || text != allow("ecr:ListImages") {
		t.Errorf("with a later version that is not the default: got %q, %v, want the first", text, err)
	}
}

// Control policies limit all accounts but the management account, each level beside the policy that allows all.
func TestControlPoliciesOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.Service = identity.New(w.meta, w.ring, w.now, identity.Options{Management: home})
	linked := w.entity(t, meta.Entity{ID: "AROA00000000000000002", Kind: meta.Role, Name: "Linked",
		Service: "replication.ecr.amazonaws.com"}, nil)
	levels := func(c identity.Caller) (all [][]string, conditional bool) {
		t.Helper()
		u, err := w.Subject(t.Context(), c)
		must(t, err)
		for _, level := range u.ControlPolicies {
			all = append(all, namesOf(level))
		}
		return all, u.Conditional
	}
	resources := func(owner name.Account) (all [][]string, arns []string) {
		t.Helper()
		l, err := w.ResourceControl(t.Context(), owner)
		must(t, err)
		for _, level := range l.Policies {
			all = append(all, namesOf(level))
			for _, n := range level {
				arns = append(arns, n.ARN)
			}
		}
		return all, arns
	}
	want := func(what string, got, want [][]string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	root := identity.Caller{Principal: other.String()}
	got, _ := levels(root)
	want("without control policies", got, nil)
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ecr:PutImage","Resource":"*"}]}`
	must(t, w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "all", Kind: meta.ServiceControl, Text: deny}))
	got, conditional := levels(root)
	want("for all", got, [][]string{{"FullAWSAccess", "all"}})
	if conditional {
		t.Error("for all: the subject is conditional, and no policy has a condition")
	}
	must(t, w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "one", Kind: meta.ServiceControl, Account: other,
		Text: when("*", "aws:SourceIp")}))
	got, conditional = levels(root)
	want("for one account", got, [][]string{{"FullAWSAccess", "all"}, {"FullAWSAccess", "one"}})
	if !conditional {
		t.Error("for one account: the subject is not conditional, and a policy has a condition")
	}
	must(t, w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "closed", Kind: meta.ServiceControl, Account: other}))
	got, _ = levels(root)
	want("without the policy that allows all", got, [][]string{{"FullAWSAccess", "all"}, {"one"}})
	got, _ = levels(identity.Caller{Principal: home.String()})
	want("the management account", got, nil)
	got, _ = levels(w.session(t, meta.Session{Kind: meta.RoleSession, Principal: linked.ID, Name: "x"}))
	want("a service-linked role", got, nil)

	got, _ = resources(other)
	want("without resource control policies", got, nil)
	guarded := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage","Resource":"*"}]}`
	for _, p := range []meta.ControlPolicy{{Name: "r-all", Text: guarded}, {Name: "r-one", Account: other, Text: guarded}} {
		p.Kind = meta.ResourceControl
		must(t, w.meta.PutControlPolicy(t.Context(), p))
	}
	got, arns := resources(other)
	want("resources of one account", got, [][]string{{"RCPFullAWSAccess", "r-all"}, {"RCPFullAWSAccess", "r-one"}})
	if len(arns) != 4 || arns[1] != "arn:aws:organizations::all:policy/resource_control_policy/r-all" ||
		arns[3] != "arn:aws:organizations::111122223333:policy/resource_control_policy/r-one" {
		t.Errorf("resources of one account: got the ARNs %q", arns)
	}
	got, _ = resources(name.MustAccount("222222222222"))
	want("resources of another account", got, [][]string{{"RCPFullAWSAccess", "r-all"}})
	got, _ = resources(name.Account{})
	want("resources of no account", got, [][]string{{"RCPFullAWSAccess", "r-all"}})
	got, _ = resources(home)
	want("resources of the management account", got, nil)
}

// A policy keeps the unique ids of the principals that it names: a later user of the same name is another one.
func TestPoliciesKeepThePrincipalsThatTheyName(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	bind := func(principals ...string) (map[string]string, *policy.Principal, *policy.Document) {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + strings.Join(principals, `","`) +
			`"]},"Action":"ecr:*"}]}`
		d, err := policy.Parse(text, policy.Repository)
		must(t, err)
		ids, missing, err := w.Bind(t.Context(), d)
		must(t, err)
		return ids, missing, d
	}
	user, role := "arn:aws:iam::000000000000:user/team/Ann", "arn:aws-cn:iam::000000000000:role/ci/Build"
	session := "arn:aws:sts::000000000000:assumed-role/Build/run"
	ids, missing, d := bind("111122223333", "arn:aws:iam::000000000000:root", user, role, session,
		"arn:aws:sts::000000000000:federated-user/fed")
	want := map[string]string{user: p.user.ID, role: p.role.ID, session: p.role.ID}
	if diff := cmp.Diff(want, ids); diff != "" || missing != nil {
		t.Errorf("ids, missing %v (-want +got):\n%s", missing, diff)
	}
	for _, none := range []string{"222222222222", "arn:aws:iam::000000000000:user/Ann", "arn:aws:iam::000000000000:role/Build",
		"arn:aws:iam::000000000000:user/team/Bob", "arn:aws:sts::000000000000:assumed-role/Other/run",
		"arn:aws:sts::222222222222:federated-user/fed", "arn:aws:ecrin::000000000000:customer/shop/ada"} {
		if ids, missing, _ := bind(user, none); ids != nil || missing == nil || missing.Text != none {
			t.Errorf("a policy with %s: got %v, missing %v, want it missing", none, ids, missing)
		}
	}

	bound := meta.BoundPolicy{Text: d.String(), IDs: ids}
	show := func() string {
		t.Helper()
		text, err := w.Show(t.Context(), bound, policy.Repository)
		must(t, err)
		return text
	}
	if got := show(); got != bound.Text {
		t.Errorf("without a change: got %s, want %s", got, bound.Text)
	}
	_, err := w.meta.UpdateEntity(t.Context(), p.role, func(e *meta.Entity) error { e.Path = "/live/"; return nil })
	must(t, err)
	if got := show(); !strings.Contains(got, "arn:aws-cn:iam::000000000000:role/live/Build") || !strings.Contains(got, session) ||
		!strings.Contains(got, user) || strings.Contains(got, role) {
		t.Errorf("after a role has moved: got %s, want its new ARN in the partition of the policy", got)
	}
	w.entity(t, meta.Entity{ID: "AIDA00000000000000002", Kind: meta.User, Name: "Eve"}, nil)
	bound = meta.BoundPolicy{Text: d.String(), IDs: map[string]string{user: "AIDA00000000000000007"}}
	if got := show(); !strings.Contains(got, "AIDA00000000000000007") || strings.Contains(got, user) {
		t.Errorf("after the user was deleted: got %s, want its unique id", got)
	}
}

func TestSubjectByName(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	p := w.people(t)
	for given, want := range map[string]struct {
		kind      identity.Kind
		arn       string
		principal string
	}{
		"*":                              {identity.Anonymous, "", "Anonymous"},
		"lambda.amazonaws.com":           {identity.AWSService, "lambda.amazonaws.com", ""},
		"000000000000":                   {identity.Root, "arn:aws:iam::000000000000:root", "Account"},
		"arn:aws:iam::000000000000:root": {identity.Root, "arn:aws:iam::000000000000:root", "Account"},
		"arn:aws:iam::000000000000:user/team/Ann": {identity.User, "arn:aws:iam::000000000000:user/team/Ann", "User"},
		"arn:aws:iam::000000000000:role/ci/Build": {identity.RoleSession, "arn:aws:sts::000000000000:assumed-role/Build/session",
			"AssumedRole"},
		"arn:aws:sts::000000000000:assumed-role/Build/run": {identity.RoleSession, "arn:aws:sts::000000000000:assumed-role/Build/run",
			"AssumedRole"},
		"arn:aws:sts::000000000000:federated-user/fed": {identity.FederatedUser, "arn:aws:sts::000000000000:federated-user/fed",
			"FederatedUser"},
	} {
		u, err := w.Named(t.Context(), given)
		if err != nil || u.Caller.Kind != want.kind || u.Caller.ARN != want.arn || keysOf(u)["aws:principaltype"] != want.principal {
			t.Errorf("%s: got %+v, %v, want %+v", given, u, err, want)
		}
	}
	if u, err := w.Named(t.Context(), "arn:aws:sts::000000000000:federated-user/fed"); err != nil || len(u.Session) != 1 ||
		u.Session[0].Name != "AdministratorAccess" {
		t.Errorf("a federated user: got %+v, %v, want the widest session", u, err)
	}
	for principal, want := range map[string]fault.Code{
		"Ann": fault.InvalidInput, "": fault.InvalidInput, "arn:aws:iam::000000000000:group/Devs": fault.InvalidInput,
		"arn:aws:iam::000000000000:user/Ann": fault.NoSuchEntity, "arn:aws:iam::000000000000:role/Other": fault.NoSuchEntity,
		"222222222222": fault.NoSuchEntity, "arn:aws:sts::222222222222:federated-user/fed": fault.NoSuchEntity,
		"arn:aws:ecrin::000000000000:customer/shop/ada": fault.NoSuchEntity, "lambda.example.com": fault.InvalidInput,
	} {
		_, err := w.Named(t.Context(), principal)
		wantCode(t, fmt.Sprintf("%q", principal), err, want)
	}
	if _, err := w.OfEntity(t.Context(), p.group, ""); err == nil {
		t.Error("the subject of a group: got no error")
	}
	if u, err := w.Subject(t.Context(), identity.Caller{Kind: identity.WebIdentity, ARN: "issuer.test"}); err != nil ||
		u.Policy.Kind != policy.Federated || keysOf(u)["aws:principaltype"] != "FederatedUser" {
		t.Errorf("a web identity: got %+v, %v", u, err)
	}
	gone := identity.Caller{Kind: identity.Customer, Account: name.MustAccount("000000000000"),
		ARN: "arn:aws:ecrin::000000000000:customer/shop/ada", UserID: "ada"}
	if u, err := w.Subject(t.Context(), gone); !errors.Is(err, fault.ObjectNotFound) {
		t.Errorf("a customer that does not exist: got %+v, %v", u, err)
	}
}

// The background work removes expired rows at once, and stores the last uses of keys before it ends.
func TestWorkStoresTheLastUsesAtItsEnd(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	_, k := w.person(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	reports, ended := make(chan string, 100), make(chan struct{})
	o := jobs.Options{Meta: w.meta, Now: func() time.Time { return w.at }, Log: slog.New(slog.DiscardHandler)}
	o.Report = func(work string, err error) {
		if err != nil {
			t.Errorf("%s: %v", work, err)
		}
		if work != jobs.QueueWork {
			reports <- work
		}
	}
	r := jobs.New(o)
	w.AddWork(r)
	go func() { r.Run(ctx); close(ended) }()
	if got := <-reports; got != identity.ExpiryWork {
		t.Errorf("the first work: got %s, want %s", got, identity.ExpiryWork)
	}
	if got := <-reports; got != identity.UseWork { // two seconds later
		t.Errorf("the second work: got %s, want %s", got, identity.UseWork)
	}
	must(t, w.signed(t, aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()}, "arn:aws:iam::000000000000:user/user1")())
	cancel()
	<-ended
	keys, err := w.meta.AccessKeysOf(t.Context(), home, k.Principal)
	if err != nil || len(keys) != 1 || !keys[0].Used.At.Equal(w.at) {
		t.Errorf("after the end: got %+v, %v, want a use at %v", keys, err, w.at)
	}
}

// What Seal made is opened for the same purpose alone, and by the same installation.
func TestSealedTextsHaveAPurpose(t *testing.T) {
	t.Parallel()
	w, stranger := newFixture(t), newFixture(t)
	text := w.Seal("one", []byte("plain"))
	if got, err := w.Open("one", text); err != nil || string(got) != "plain" {
		t.Errorf("got %q, %v, want plain", got, err)
	}
	for what, open := range map[string]func() ([]byte, error){
		"another purpose":      func() ([]byte, error) { return w.Open("two", text) },
		"another installation": func() ([]byte, error) { return stranger.Open("one", text) },
		"a changed text":       func() ([]byte, error) { return w.Open("one", "A"+text[1:len(text)-1]+"A") },
		"no base64":            func() ([]byte, error) { return w.Open("one", "!") },
	} {
		if got, err := open(); err == nil || got != nil {
			t.Errorf("%s: got %q, %v, want an error", what, got, err)
		}
	}
}

// The error for a malformed policy has AWS's sentence first and the place after it.
func TestMalformedPolicySaysWhere(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{\"Effect\": \"Maybe\"}]\n}", policy.Identity)
	got := identity.Malformed(err)
	wantCode(t, "a policy with a wrong effect", got, fault.MalformedPolicyDocument)
	first, second, ok := strings.Cut(fault.From(got).Public, "\n")
	if !ok || first == "" || !strings.HasPrefix(second, "At line 3, column ") || !strings.Contains(second, " in Statement[0]") {
		t.Errorf("got %q, then %q, want AWS's sentence, then line 3 in Statement[0]", first, second)
	}
	got = identity.Malformed(&policy.Problem{Line: 1, Column: 2, Reason: "a reason"})
	if want := "Syntax errors in policy.\nAt line 1, column 2: a reason."; fault.From(got).Public != want {
		t.Errorf("without a sentence of AWS: got %q, want %q", fault.From(got).Public, want)
	}
	got = identity.Malformed(errors.New("private"))
	if fault.From(got).Public != "Syntax errors in policy." || !strings.Contains(got.Error(), "private") {
		t.Errorf("another error: got %v, want a general text with the cause", got)
	}
}
