package guard_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var region = name.MustRegion("us-east-1")

func repoNamed(s string) name.Repo {
	r, err := name.ParseRepo(s)
	if err != nil {
		panic(err)
	}
	return r
}

func tagNamed(s string) name.Tag {
	t, err := name.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return t
}

var (
	home  = name.MustAccount("000000000000")
	other = name.MustAccount("111122223333")
)

// fixture is an installation with two accounts. Its methods create entities, callers and repositories for tables of
// decisions, and fail the test on an error.
type fixture struct {
	*identity.Service
	meta  *meta.Store
	guard *guard.Guard
	at    time.Time
	t     testing.TB
	n     int
	dir   string
}

func (f *fixture) now() time.Time { return f.at }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, at: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	f.dir = dir
	ring, err := identity.LoadKeyring(dir, "", true)
	f.must(err)
	metatest.Prepare(t, dir)
	f.meta, err = meta.OpenSQLite(t.Context(), dir, f.now)
	f.must(err)
	t.Cleanup(func() {
		if err := f.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Service = identity.New(f.meta, ring, f.now, identity.Options{})
	f.guard = guard.New(f.meta, f.Service, f.now, guard.Options{})
	for _, a := range []name.Account{home, other} {
		_, err := f.CreateAccount(t.Context(), a, "")
		f.must(err)
	}
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) entity(account name.Account, kind meta.EntityKind, entityName string, change func(*meta.Entity)) meta.Entity {
	f.t.Helper()
	f.n++
	prefix := map[meta.EntityKind]string{meta.User: "AIDA", meta.Role: "AROA", meta.Group: "AGPA", meta.ManagedPolicy: "ANPA"}[kind]
	e := meta.Entity{ID: fmt.Sprintf("%s%017d", prefix, f.n), Account: account, Kind: kind, Name: entityName, Path: "/", CreatedAt: f.now()}
	if change != nil {
		change(&e)
	}
	f.must(f.meta.CreateEntity(f.t.Context(), e, nil, 1000))
	return e
}

func (f *fixture) inline(e meta.Entity, text string) {
	f.t.Helper()
	f.must(f.meta.PutInline(f.t.Context(), e.ID, meta.Inline{Name: "inline", Text: text}, 10240))
}

// user creates a user with an inline policy, "" for none, and an access key, and returns the caller of the key.
func (f *fixture) user(account name.Account, userName, text string) (meta.Entity, identity.Caller) {
	f.t.Helper()
	e := f.entity(account, meta.User, userName, nil)
	if text != "" {
		f.inline(e, text)
	}
	return e, f.key(e)
}

// key creates an access key of a user and returns the caller of the key.
func (f *fixture) key(e meta.Entity) identity.Caller {
	f.t.Helper()
	k, err := f.CreateUserKey(f.t.Context(), e)
	f.must(err)
	c, err := f.KeyCaller(f.t.Context(), k.ID)
	f.must(err)
	return c
}

func (f *fixture) session(v meta.Session) identity.Caller {
	f.t.Helper()
	if v.Name == "" {
		v.Name = "s"
	}
	cred, err := f.IssueSession(f.t.Context(), identity.Caller{}, v, time.Hour)
	f.must(err)
	c, err := f.KeyCaller(f.t.Context(), cred.AccessKey)
	f.must(err)
	return c
}

func (f *fixture) repository(account name.Account, repo, text string) {
	f.t.Helper()
	r, err := f.meta.CreateRepository(f.t.Context(), meta.Repository{Registry: name.Registry{Account: account,
		Region: region}, Name: repoNamed(repo), Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: "AES256"},
		map[string]string{"team": "core"})
	f.must(err)
	if text != "" {
		f.setPolicy(r, text)
	}
}

func (f *fixture) setPolicy(r meta.Repository, text string) {
	f.t.Helper()
	d, err := policy.Parse(text, policy.Repository)
	f.must(err)
	ids, missing, err := f.Bind(f.t.Context(), d)
	f.must(err)
	if missing != nil {
		f.t.Fatalf("principal %s does not exist", missing.Text)
	}
	f.must(f.meta.SetPolicy(f.t.Context(), r, meta.BoundPolicy{Text: d.String(), IDs: ids}))
}

// access is an ask for a repository, which is resolved by its name immediately before the decision.
type access struct {
	guard.Ask
	repo name.Repo
	From guard.Origin
}

func pull(account name.Account, repo string) access {
	r := name.Registry{Account: account, Region: region}
	return access{
		Ask:  guard.Ask{Action: "ecr:BatchGetImage", Owner: guard.OwnedBy(account), Region: region, Resource: r.RepositoryARN(repo)},
		repo: repoNamed(repo), From: guard.Origin{SourceIP: netip.MustParseAddr("192.0.2.7"), Secure: true, UserAgent: "docker"},
	}
}

// resolved returns the ask with the current state of the repository.
func (f *fixture) resolved(a access) guard.Ask {
	f.t.Helper()
	if a.repo == (name.Repo{}) {
		return a.Ask
	}
	r, err := f.meta.Repository(f.t.Context(), name.Registry{Account: a.Owner.Account(), Region: a.Region}, a.repo)
	if !errors.Is(err, fault.RepositoryNotFound) {
		f.must(err)
		a.Repository = &r
	}
	return a.Ask
}

func (f *fixture) authorize(c identity.Caller, a access) error {
	f.t.Helper()
	return f.guard.Decide(f.t.Context(), c, a.From, new(guard.Record), f.resolved(a))
}

// decide checks a decision. If want is "" the ask must be allowed, otherwise it must be denied with want in the text.
func (f *fixture) decide(what string, c identity.Caller, a access, want string) {
	f.t.Helper()
	err := f.authorize(c, a)
	if want == "" {
		if err != nil {
			f.t.Errorf("%s: %v, want allowed", what, err)
		}
		return
	}
	if !errors.Is(err, fault.AccessDenied) || !strings.Contains(err.Error(), want) {
		f.t.Errorf("%s: %v, want a denial with %q", what, err, want)
	}
}

func allow(actions, resource string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + quoted(actions) + `,"Resource":` + quoted(resource) + `}]}`
}

func deny(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":` + quoted(actions) + `,"Resource":"*"}]}`
}

func grant(principal, actions string) string {
	if principal != "*" {
		principal = `{"AWS":` + quoted(principal) + `}`
	} else {
		principal = `"*"`
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":` + quoted(actions) + `}]}`
}

func quoted(s string) string { return `"` + s + `"` }

const (
	noIdentity = "because no identity-based policy allows the ecr:BatchGetImage action"
	noSession  = "because no session policy allows the ecr:BatchGetImage action"
	noResource = "because no resource-based policy allows the ecr:BatchGetImage action"
)

func TestDecideWithinAnAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	f.decide("the root user", root, pull(home, "app"), "")
	_, bare := f.user(home, "bare", "")
	f.decide("a user without policies", bare, pull(home, "app"), noIdentity)
	_, puller := f.user(home, "puller", allow("ecr:BatchGetImage", "arn:aws:ecr:*:*:repository/app"))
	f.decide("by its own policy", puller, pull(home, "app"), "")
	f.decide("another repository", puller, pull(home, "other"), "repository/other "+noIdentity)
	named, byName := f.user(home, "named", "")
	f.repository(home, "granted", grant(named.ARN(), "ecr:BatchGetImage"))
	f.decide("by the repository's policy", byName, pull(home, "granted"), "")
	f.decide("the repository's policy names another", bare, pull(home, "granted"), noIdentity)
	f.repository(home, "delegated", grant(identity.RootARN(home), "ecr:*"))
	f.decide("the account only delegates", bare, pull(home, "delegated"), noIdentity)
	_, denied := f.user(home, "denied", deny("ecr:*"))
	f.repository(home, "open", grant("*", "ecr:BatchGetImage"))
	f.decide("a policy for all principals", bare, pull(home, "open"), "")
	f.decide("a Deny of the user overrides it", denied, pull(home, "open"), "with an explicit deny in an identity-based policy")

	group := f.entity(home, meta.Group, "pullers", nil)
	f.inline(group, allow("ecr:BatchGetImage", "*"))
	member, inGroup := f.user(home, "member", "")
	f.decide("before it is in the group", inGroup, pull(home, "app"), noIdentity)
	f.must(f.meta.AddMember(t.Context(), group.ID, member.ID, 10, 0))
	f.decide("as a member of the group", inGroup, pull(home, "app"), "")
	f.must(f.meta.RemoveMember(t.Context(), group.ID, member.ID))
	f.decide("after it left the group", inGroup, pull(home, "app"), noIdentity)

	f.must(f.meta.Attach(t.Context(), member.ID, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly", 10))
	f.decide("by a managed policy of AWS", inGroup, pull(home, "app"), "")
	push := pull(home, "app")
	push.Action = "ecr:PutImage"
	f.decide("a push, which it does not allow", inGroup, push, "no identity-based policy allows the ecr:PutImage action")
	if _, err := f.meta.UpdateEntity(t.Context(), member, func(e *meta.Entity) error {
		e.Boundary = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f.decide("outside its boundary", inGroup, pull(home, "app"), "because no permissions boundary allows the ecr:BatchGetImage action")

	tagged := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringEquals":{"ecr:ResourceTag/team":"core"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:SecureTransport":"true"}}}]}`
	_, byTag := f.user(home, "by-tag", tagged)
	f.decide("by the repository's tag, the address and TLS", byTag, pull(home, "app"), "")
	far := pull(home, "app")
	far.From.SourceIP = netip.MustParseAddr("198.51.100.1")
	f.decide("from elsewhere", byTag, far, noIdentity)
	f.decide("a repository that does not exist has no tags", byTag, pull(home, "none"), noIdentity)
}

func TestDecideAcrossAccounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user, with := f.user(other, "with", allow("ecr:*", "*"))
	_, without := f.user(other, "without", "")
	f.repository(home, "closed", "")
	f.repository(home, "account", grant(identity.RootARN(other), "ecr:BatchGetImage"))
	f.repository(home, "user", grant(user.ARN(), "ecr:BatchGetImage"))
	f.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	f.decide("identity policy only", with, pull(home, "closed"), noResource)
	f.decide("a repository that does not exist is denied with the same text", with, pull(home, "none"), noResource)
	f.decide("resource policy only", without, pull(home, "account"), noIdentity)
	for _, repo := range []string{"account", "user", "all"} {
		f.decide("both: "+repo, with, pull(home, repo), "")
	}
	f.decide("only a resource policy for all principals", without, pull(home, "all"), noIdentity)

	// A registry of the same account in another region is another registry.
	elsewhere := pull(home, "account")
	elsewhere.Region = name.MustRegion("eu-west-1")
	elsewhere.Resource = strings.Replace(elsewhere.Resource, "us-east-1", "eu-west-1", 1)
	f.decide("another region", with, elsewhere, noResource)

	// A new user with the name of a deleted user does not have its permissions.
	f.must(f.meta.DeleteInline(t.Context(), user.ID, "inline"))
	keys, err := f.meta.AccessKeysOf(t.Context(), other, user.ID)
	f.must(err)
	for _, k := range keys {
		f.must(f.meta.DeleteAccessKey(t.Context(), k.ID))
	}
	f.must(f.meta.DeleteEntity(t.Context(), user))
	_, again := f.user(other, "with", allow("ecr:*", "*"))
	f.decide("a new user with the same name", again, pull(home, "user"), noResource)
	f.decide("a new user of the account that is named", again, pull(home, "account"), "")
	if err := f.authorize(with, pull(home, "all")); err == nil {
		t.Error("a deleted user was allowed")
	}
}

func TestDecideSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	role := f.entity(home, meta.Role, "puller", func(e *meta.Entity) { e.Path = "/team/" })
	f.inline(role, allow("ecr:*", "*"))
	v := meta.Session{Account: home, Kind: meta.RoleSession, Principal: role.ID, Name: "job"}
	plain := f.session(v)
	if want := "arn:aws:sts::" + home.String() + ":assumed-role/puller/job"; plain.ARN != want || plain.UserID != role.ID+":job" {
		t.Errorf("the caller is %s %s, want %s", plain.ARN, plain.UserID, want)
	}
	f.decide("a role", plain, pull(home, "app"), "")
	v.Policies = []string{allow("ecr:PutImage", "*")}
	narrow := f.session(v)
	f.decide("a narrower session", narrow, pull(home, "app"), "because no session policy allows the ecr:BatchGetImage action")
	f.decide("another session with the same name, without policies", plain, pull(home, "app"), "")
	v.Policies, v.PolicyARNs = nil, []string{"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}
	f.decide("a managed session policy", f.session(v), pull(home, "app"), "")

	user, _ := f.user(home, "maker", allow("ecr:*", "*"))
	federated := meta.Session{Account: home, Kind: meta.FederatedSession, Principal: user.ID, Name: "guest"}
	f.decide("a federated user without policies", f.session(federated), pull(home, "app"), noSession)
	federated.Policies = []string{allow("ecr:BatchGetImage", "*")}
	guest := f.session(federated)
	f.decide("a federated user", guest, pull(home, "app"), "")
	if want := "arn:aws:sts::" + home.String() + ":federated-user/guest"; guest.ARN != want {
		t.Errorf("the federated user is %s, want %s", guest.ARN, want)
	}
	iamCall := access{Ask: guard.Ask{Action: "iam:ListUsers", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	f.decide("a federated user in IAM", guest, iamCall, "cannot call it")
	f.decide("a session of a user in IAM", f.session(meta.Session{Account: home, Kind: meta.UserSession,
		Principal: user.ID}), iamCall, "cannot call it")
	// Tags and a source identity are part of AssumeRole, which sessions of a user may call.
	trust := &meta.BoundPolicy{Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` +
		user.ARN() + `"},"Action":"sts:*"}]}`}
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		a := access{Ask: guard.Ask{Action: action, Owner: guard.OwnedBy(home), Region: region, Resource: role.ARN(),
			Known: guard.Known{Trust: trust}}}
		f.decide("a session of a user: "+action, f.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: user.ID}), a, "")
		f.decide("a federated user: "+action, guest, a, "cannot call it")
	}
	rootKey := access{Ask: guard.Ask{Action: "ecrin:CreateAccessKey", Owner: guard.OwnedBy(home), Region: region,
		Resource: identity.RootARN(home), Reserved: guard.ForRoot}}
	f.decide("a root key by a session of the root user",
		f.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: home.String()}), rootKey, "only the root user")
	rootSession := f.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: home.String()})
	if rootSession.Kind != identity.Root || rootSession.ARN != identity.RootARN(home) {
		t.Errorf("the session of a root user is %+v", rootSession)
	}
	f.decide("a session of the root user", rootSession, pull(home, "app"), "")

	f.must(f.meta.DeleteInline(t.Context(), role.ID, "inline"))
	f.decide("a session after its role lost the policy", plain, pull(home, "app"), noIdentity)
	f.must(f.meta.DeleteEntity(t.Context(), role))
	if _, err := f.KeyCaller(t.Context(), plain.AccessKey); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("the session of a role that was deleted: %v", err)
	}
}

func TestDecideControlPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", grant("*", "ecr:*"))
	_, user := f.user(home, "user", allow("ecr:*", "*"))
	_, stranger := f.user(other, "stranger", allow("ecr:*", "*"))
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	put := func(kind meta.ControlPolicyKind, account name.Account, policyName, text string) {
		t.Helper()
		f.must(f.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: policyName, Kind: kind, Account: account,
			Text: text, UpdatedAt: f.now()}))
	}
	remove := func(kind meta.ControlPolicyKind, account name.Account, policyName string) {
		t.Helper()
		f.must(f.meta.DeleteControlPolicy(t.Context(), kind, account, policyName))
	}
	put(meta.ServiceControl, home, "no-pull", deny("ecr:BatchGetImage"))
	f.decide("a service control policy of the account", user, pull(home, "app"), "with an explicit deny in a service control policy")
	f.decide("binds the root user", root, pull(home, "app"), "with an explicit deny in a service control policy")
	f.decide("but not principals of other accounts", stranger, pull(home, "app"), "")
	remove(meta.ServiceControl, home, "no-pull")
	f.decide("once it is gone", user, pull(home, "app"), "")

	put(meta.ServiceControl, name.Account{}, "FullAccess", "")
	f.decide("a level without full access", user, pull(home, "app"), "because no service control policy allows")
	put(meta.ServiceControl, name.Account{}, "ecr-only", allow("ecr:*", "*"))
	f.decide("but with a policy that allows", user, pull(home, "app"), "")
	remove(meta.ServiceControl, name.Account{}, "ecr-only")
	remove(meta.ServiceControl, name.Account{}, "FullAccess")

	perimeter := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + home.String() + `"}}}]}`
	put(meta.ResourceControl, home, "perimeter", perimeter)
	f.decide("a resource control policy denies other accounts", stranger, pull(home, "app"),
		"with an explicit deny in a resource control policy")
	f.decide("and not its own", user, pull(home, "app"), "")
	anonymous := identity.Caller{Kind: identity.Anonymous}
	f.decide("and denies anonymous callers", anonymous, pull(home, "app"), "with an explicit deny in a resource control policy")
	remove(meta.ResourceControl, home, "perimeter")
	f.decide("an anonymous caller by a policy for all principals", anonymous, pull(home, "app"), "")
	f.decide("an anonymous caller at another repository", anonymous, pull(home, "none"), "User: anonymous is not authorized")
}

func TestDecideRegistryPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, user := f.user(other, "user", allow("ecr:*", "*"))
	_, own := f.user(home, "own", "")
	reg := name.Registry{Account: home, Region: region}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + identity.RootARN(other) +
		`","` + own.ARN + `"]},"Action":"ecr:*","Resource":"arn:aws:ecr:us-east-1:` + home.String() + `:repository/shared/*"}]}`
	f.must(f.meta.PutRegistryPolicy(t.Context(), reg, meta.BoundPolicy{Text: text}))
	f.decide("by the registry's policy", user, pull(home, "shared/app"), "")
	f.decide("another repository of it", user, pull(home, "app"), noResource)
	f.decide("within the account no identity-based policy is needed", own, pull(home, "shared/app"), "")
	token := access{Ask: guard.Ask{Action: "ecr:GetAuthorizationToken", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	f.decide("but never for a token", own, token, "no identity-based policy allows the ecr:GetAuthorizationToken action")
	f.must(f.meta.PutSetting(t.Context(), reg, meta.SettingPolicyScope, meta.PolicyScopeV1))
	f.decide("of the first scope", user, pull(home, "shared/app"), noResource)
	create := pull(home, "shared/app")
	create.Action = "ecr:CreateRepository"
	f.decide("which allows CreateRepository", user, create, "")
}

func TestDecideImageTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	_, user := f.user(home, "user",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"ecrin:ImageTag":"release-*"}}}]}`)
	tag := func(s string) access {
		a := pull(home, "app")
		a.Image = guard.Image{Reference: name.Reference{Tag: tagNamed(s)}, Stored: true}
		return a
	}
	f.decide("a tag that is allowed", user, tag("release-1"), "")
	f.decide("a tag that is not allowed", user, tag("latest"), noIdentity)
	f.decide("no tag at all", user, pull(home, "app"), noIdentity)
}

func TestExplainNamesPrincipals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	f.user(home, "puller", allow("ecr:BatchGetImage", "*"))
	f.entity(home, meta.Role, "node", nil)
	for principal, want := range map[string]policy.Verdict{
		identity.RootARN(home): policy.Allowed,
		home.String():          policy.Allowed,
		"arn:aws:iam::" + home.String() + ":user/puller":            policy.Allowed,
		"arn:aws:iam::" + home.String() + ":role/node":              policy.ImplicitlyDenied,
		"arn:aws:sts::" + home.String() + ":assumed-role/node/i-1":  policy.ImplicitlyDenied,
		"arn:aws:sts::" + home.String() + ":federated-user/someone": policy.Allowed,
		"lambda.amazonaws.com":                                      policy.ImplicitlyDenied,
		"*":                                                         policy.ImplicitlyDenied,
	} {
		_, why, err := f.guard.Explain(t.Context(), principal, pull(home, "app").From, f.resolved(pull(home, "app")))
		if err != nil || why.Verdict != want {
			t.Errorf("%s: %v, %v; want %v", principal, why.Verdict, err, want)
		}
	}
	for _, row := range []struct { // actions that no policy can allow
		principal, action string
		reserved          guard.Reserved
	}{
		{"arn:aws:sts::" + home.String() + ":federated-user/someone", "iam:ListUsers", guard.ForPolicies},
		{"arn:aws:iam::" + home.String() + ":user/puller", "ecrin:CreateAccessKey", guard.ForRoot},
		{identity.RootARN(home), "ecrin:PutControlPolicy", guard.ForOperator},
	} {
		a := access{Ask: guard.Ask{Action: row.action, Owner: guard.OwnedBy(home), Region: region, Resource: "*", Reserved: row.reserved}}
		if _, why, err := f.guard.Explain(t.Context(), row.principal, a.From, a.Ask); !errors.Is(err, fault.InvalidInput) {
			t.Errorf("%s by %s: got %v, %v; want fault.InvalidInput", row.action, row.principal, why.Verdict, err)
		}
	}
	for principal, want := range map[string]fault.Code{
		"arn:aws:iam::" + home.String() + ":user/nobody": fault.NoSuchEntity,
		"arn:aws:iam::444455556666:root":                 fault.NoSuchEntity,
		"arn:aws:iam::" + home.String() + ":group/g":     fault.InvalidInput,
		"somebody": fault.InvalidInput,
		"":         fault.InvalidInput,
	} {
		if _, _, err := f.guard.Explain(t.Context(), principal, pull(home, "app").From, f.resolved(pull(home, "app"))); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", principal, err, want)
		}
	}
}

// A federated user whose session has no policies has only the permissions that the policy of a resource grants to its
// own ARN; an explicit denial for the user that created the session applies to it. Source: STS API reference,
// GetFederationToken.
func TestDecideFederatedWithoutPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	guestARN := "arn:aws:sts::" + home.String() + ":federated-user/guest"
	free, _ := f.user(home, "free", allow("ecr:*", "*"))
	held, _ := f.user(home, "held", deny("ecr:BatchGetImage"))
	f.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	f.repository(home, "user", grant(free.ARN(), "ecr:BatchGetImage"))
	f.repository(home, "guest", grant(guestARN, "ecr:BatchGetImage"))
	guest := func(principal string) identity.Caller {
		return f.session(meta.Session{Account: home, Kind: meta.FederatedSession, Principal: principal, Name: "guest"})
	}
	for _, principal := range []string{free.ID, home.String()} {
		who := guest(principal)
		f.decide("a policy for all principals, session of "+principal, who, pull(home, "all"), noSession)
		f.decide("a policy for its user, session of "+principal, who, pull(home, "user"), noSession)
		f.decide("a policy for its own ARN, session of "+principal, who, pull(home, "guest"), "")
	}
	f.decide("denied to its user", guest(held.ID), pull(home, "guest"), "with an explicit deny in an identity-based policy")
}

// All requests of a user share its condition keys; the keys that one request adds must not appear in another. The test
// varies the number of keys of the user, and with it the spare capacity of the shared slice.
func TestDecideKeepsRequestsApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	e, user := f.user(home, "user", "")
	context := func(secure bool, agent string) *policy.Context {
		a := pull(home, "app")
		a.From.Secure, a.From.UserAgent = secure, agent
		var denial *guard.Denial
		if err := f.authorize(user, a); !errors.As(err, &denial) {
			t.Fatalf("got %v, want a denial", err)
		}
		return denial.Request.Context
	}
	for tags := range 16 {
		f.must(f.meta.PutEntityTags(t.Context(), e.ID, map[string]string{fmt.Sprint("tag", tags): "x"}, 50))
		first, second := context(true, "first"), context(false, "second")
		got := []string{}
		for _, c := range []*policy.Context{first, second} {
			got = append(append(got, c.Values("aws:SecureTransport")...), c.Values("aws:UserAgent")...)
		}
		if want := []string{"true", "first", "false", "second"}; !slices.Equal(got, want) {
			t.Errorf("with %d tags, aws:SecureTransport and aws:UserAgent of two requests: got %q, want %q", tags+1, got, want)
		}
	}
}
