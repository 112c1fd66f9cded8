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

// iam makes entities and callers of an installation with two accounts, with as few words as a table needs.
type iam struct {
	*identity.Service
	meta  *meta.Store
	guard *guard.Guard
	at    time.Time
	t     *testing.T
	n     int
}

func (w *iam) now() time.Time { return w.at }

func newIAM(t *testing.T) *iam {
	t.Helper()
	w := &iam{t: t, at: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	ring, err := identity.LoadKeyring(dir, "", true)
	w.must(err)
	w.meta, err = meta.OpenSQLite(t.Context(), dir, w.now)
	w.must(err)
	t.Cleanup(func() {
		if err := w.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Service = identity.New(w.meta, ring, w.now, identity.Options{})
	w.guard = guard.New(w.meta, w.Service, w.now, "")
	for _, a := range []name.Account{home, other} {
		_, err := w.CreateAccount(t.Context(), a, "")
		w.must(err)
	}
	return w
}

func (w *iam) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *iam) entity(account name.Account, kind meta.EntityKind, entityName string, change func(*meta.Entity)) meta.Entity {
	w.t.Helper()
	w.n++
	prefix := map[meta.EntityKind]string{meta.User: "AIDA", meta.Role: "AROA", meta.Group: "AGPA", meta.ManagedPolicy: "ANPA"}[kind]
	e := meta.Entity{ID: fmt.Sprintf("%s%017d", prefix, w.n), Account: account, Kind: kind, Name: entityName, Path: "/", CreatedAt: w.now()}
	if change != nil {
		change(&e)
	}
	w.must(w.meta.CreateEntity(w.t.Context(), e, nil, 1000))
	return e
}

func (w *iam) inline(e meta.Entity, text string) {
	w.t.Helper()
	w.must(w.meta.PutInline(w.t.Context(), e.ID, meta.Inline{Name: "inline", Text: text}, 10240))
}

// user makes a user with an inline policy, "" for none, and gives its caller.
func (w *iam) user(account name.Account, userName, text string) (meta.Entity, identity.Caller) {
	w.t.Helper()
	e := w.entity(account, meta.User, userName, nil)
	if text != "" {
		w.inline(e, text)
	}
	return e, w.key(e)
}

// key gives a user an access key and tells who signs with it.
func (w *iam) key(e meta.Entity) identity.Caller {
	w.t.Helper()
	k, err := w.CreateUserKey(w.t.Context(), e)
	w.must(err)
	c, err := w.KeyCaller(w.t.Context(), k.ID)
	w.must(err)
	return c
}

func (w *iam) session(v meta.Session) identity.Caller {
	w.t.Helper()
	if v.Name == "" {
		v.Name = "s"
	}
	cred, err := w.IssueSession(w.t.Context(), v, time.Hour)
	w.must(err)
	c, err := w.KeyCaller(w.t.Context(), cred.AccessKey)
	w.must(err)
	return c
}

func (w *iam) repository(account name.Account, repo, text string) {
	w.t.Helper()
	r, err := w.meta.CreateRepository(w.t.Context(), meta.Repository{Registry: name.Registry{Account: account, Region: region}, Name: repoNamed(repo), Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: "AES256"}, map[string]string{"team": "core"})
	w.must(err)
	if text != "" {
		w.setPolicy(r, text)
	}
}

func (w *iam) setPolicy(r meta.Repository, text string) {
	w.t.Helper()
	d, err := policy.Parse(text, policy.Repository)
	w.must(err)
	ids, missing, err := w.Bind(w.t.Context(), d)
	w.must(err)
	if missing != nil {
		w.t.Fatalf("principal %s does not exist", missing.Text)
	}
	w.must(w.meta.SetPolicy(w.t.Context(), r, meta.BoundPolicy{Text: d.String(), IDs: ids}))
}

// access is an ask about a repository by its name, which is resolved just before it is decided.
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

// resolved is the ask with the repository as it is now.
func (w *iam) resolved(a access) guard.Ask {
	w.t.Helper()
	if a.repo == (name.Repo{}) {
		return a.Ask
	}
	r, err := w.meta.Repository(w.t.Context(), name.Registry{Account: a.Owner.Account(), Region: a.Region}, a.repo)
	if !errors.Is(err, fault.RepositoryNotFound) {
		w.must(err)
		a.Repository = &r
	}
	return a.Ask
}

func (w *iam) authorize(c identity.Caller, a access) error {
	w.t.Helper()
	return w.guard.Decide(w.t.Context(), c, a.From, new(guard.Record), w.resolved(a))
}

// decide wants "" for allowed, otherwise what the denial must say.
func (w *iam) decide(what string, c identity.Caller, a access, want string) {
	w.t.Helper()
	err := w.authorize(c, a)
	if want == "" {
		if err != nil {
			w.t.Errorf("%s: %v, want allowed", what, err)
		}
		return
	}
	if !errors.Is(err, fault.AccessDenied) || !strings.Contains(err.Error(), want) {
		w.t.Errorf("%s: %v, want a denial with %q", what, err, want)
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
	w := newIAM(t)
	w.repository(home, "app", "")
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	w.decide("the root user", root, pull(home, "app"), "")
	_, bare := w.user(home, "bare", "")
	w.decide("a user without policies", bare, pull(home, "app"), noIdentity)
	_, puller := w.user(home, "puller", allow("ecr:BatchGetImage", "arn:aws:ecr:*:*:repository/app"))
	w.decide("by its own policy", puller, pull(home, "app"), "")
	w.decide("another repository", puller, pull(home, "other"), "repository/other "+noIdentity)
	named, byName := w.user(home, "named", "")
	w.repository(home, "granted", grant(named.ARN(), "ecr:BatchGetImage"))
	w.decide("by the repository's policy", byName, pull(home, "granted"), "")
	w.decide("the repository's policy names another", bare, pull(home, "granted"), noIdentity)
	w.repository(home, "delegated", grant(identity.RootARN(home), "ecr:*"))
	w.decide("the account only delegates", bare, pull(home, "delegated"), noIdentity)
	_, denied := w.user(home, "denied", deny("ecr:*"))
	w.repository(home, "open", grant("*", "ecr:BatchGetImage"))
	w.decide("everybody", bare, pull(home, "open"), "")
	w.decide("an own Deny wins", denied, pull(home, "open"), "with an explicit deny in an identity-based policy")

	group := w.entity(home, meta.Group, "pullers", nil)
	w.inline(group, allow("ecr:BatchGetImage", "*"))
	member, inGroup := w.user(home, "member", "")
	w.decide("before it is in the group", inGroup, pull(home, "app"), noIdentity)
	w.must(w.meta.AddMember(t.Context(), group.ID, member.ID, 10, 0))
	w.decide("by its group", inGroup, pull(home, "app"), "")
	w.must(w.meta.RemoveMember(t.Context(), group.ID, member.ID))
	w.decide("after it left the group", inGroup, pull(home, "app"), noIdentity)

	w.must(w.meta.Attach(t.Context(), member.ID, "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly", 10))
	w.decide("by a managed policy of AWS", inGroup, pull(home, "app"), "")
	push := pull(home, "app")
	push.Action = "ecr:PutImage"
	w.decide("which does not push", inGroup, push, "no identity-based policy allows the ecr:PutImage action")
	if _, err := w.meta.UpdateEntity(t.Context(), member, func(e *meta.Entity) error {
		e.Boundary = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.decide("outside its boundary", inGroup, pull(home, "app"), "because no permissions boundary allows the ecr:BatchGetImage action")

	tagged := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringEquals":{"ecr:ResourceTag/team":"core"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:SecureTransport":"true"}}}]}`
	_, byTag := w.user(home, "by-tag", tagged)
	w.decide("by the repository's tag, the address and TLS", byTag, pull(home, "app"), "")
	far := pull(home, "app")
	far.From.SourceIP = netip.MustParseAddr("198.51.100.1")
	w.decide("from elsewhere", byTag, far, noIdentity)
	w.decide("a repository that does not exist has no tags", byTag, pull(home, "none"), noIdentity)
}

func TestDecideAcrossAccounts(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	user, with := w.user(other, "with", allow("ecr:*", "*"))
	_, without := w.user(other, "without", "")
	w.repository(home, "closed", "")
	w.repository(home, "account", grant(identity.RootARN(other), "ecr:BatchGetImage"))
	w.repository(home, "user", grant(user.ARN(), "ecr:BatchGetImage"))
	w.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	w.decide("identity policy only", with, pull(home, "closed"), noResource)
	w.decide("a repository that does not exist looks the same", with, pull(home, "none"), noResource)
	w.decide("resource policy only", without, pull(home, "account"), noIdentity)
	for _, repo := range []string{"account", "user", "all"} {
		w.decide("both: "+repo, with, pull(home, repo), "")
	}
	w.decide("resource policy for everybody only", without, pull(home, "all"), noIdentity)

	// The same account id, another region: another registry.
	elsewhere := pull(home, "account")
	elsewhere.Region = name.MustRegion("eu-west-1")
	elsewhere.Resource = strings.Replace(elsewhere.Resource, "us-east-1", "eu-west-1", 1)
	w.decide("another region", with, elsewhere, noResource)

	// A namesake inherits nothing.
	w.must(w.meta.DeleteInline(t.Context(), user.ID, "inline"))
	keys, err := w.meta.AccessKeysOf(t.Context(), other, user.ID)
	w.must(err)
	for _, k := range keys {
		w.must(w.meta.DeleteAccessKey(t.Context(), k.ID))
	}
	w.must(w.meta.DeleteEntity(t.Context(), user))
	_, again := w.user(other, "with", allow("ecr:*", "*"))
	w.decide("a namesake", again, pull(home, "user"), noResource)
	w.decide("a namesake in the account that is named", again, pull(home, "account"), "")
	if err := w.authorize(with, pull(home, "all")); err == nil {
		t.Error("a user that was deleted was allowed")
	}
}

func TestDecideSessions(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	w.repository(home, "app", "")
	role := w.entity(home, meta.Role, "puller", func(e *meta.Entity) { e.Path = "/team/" })
	w.inline(role, allow("ecr:*", "*"))
	v := meta.Session{Account: home, Kind: meta.RoleSession, Principal: role.ID, Name: "job"}
	plain := w.session(v)
	if want := "arn:aws:sts::" + home.String() + ":assumed-role/puller/job"; plain.ARN != want || plain.UserID != role.ID+":job" {
		t.Errorf("the caller is %s %s, want %s", plain.ARN, plain.UserID, want)
	}
	w.decide("a role", plain, pull(home, "app"), "")
	v.Policies = []string{allow("ecr:PutImage", "*")}
	narrow := w.session(v)
	w.decide("a narrower session", narrow, pull(home, "app"), "because no session policy allows the ecr:BatchGetImage action")
	w.decide("the other session of the same name stays as it was", plain, pull(home, "app"), "")
	v.Policies, v.PolicyARNs = nil, []string{"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}
	w.decide("a managed session policy", w.session(v), pull(home, "app"), "")

	user, _ := w.user(home, "maker", allow("ecr:*", "*"))
	federated := meta.Session{Account: home, Kind: meta.FederatedSession, Principal: user.ID, Name: "guest"}
	w.decide("a federated user without policies", w.session(federated), pull(home, "app"), noSession)
	federated.Policies = []string{allow("ecr:BatchGetImage", "*")}
	guest := w.session(federated)
	w.decide("a federated user", guest, pull(home, "app"), "")
	if want := "arn:aws:sts::" + home.String() + ":federated-user/guest"; guest.ARN != want {
		t.Errorf("the federated user is %s, want %s", guest.ARN, want)
	}
	iamCall := access{Ask: guard.Ask{Action: "iam:ListUsers", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	w.decide("a federated user in IAM", guest, iamCall, "cannot call it")
	w.decide("a session of a user in IAM", w.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: user.ID}), iamCall, "cannot call it")
	// Passing tags and a source identity is part of assuming a role, which such sessions may.
	trust := &meta.BoundPolicy{Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + user.ARN() + `"},"Action":"sts:*"}]}`}
	for _, action := range []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"} {
		a := access{Ask: guard.Ask{Action: action, Owner: guard.OwnedBy(home), Region: region, Resource: role.ARN(), Known: guard.Known{Trust: trust}}}
		w.decide("a session of a user: "+action, w.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: user.ID}), a, "")
		w.decide("a federated user: "+action, guest, a, "cannot call it")
	}
	rootKey := access{Ask: guard.Ask{Action: "ecrin:CreateAccessKey", Owner: guard.OwnedBy(home), Region: region, Resource: identity.RootARN(home), Reserved: guard.ForRoot}}
	w.decide("a root key by a session of the root user", w.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: home.String()}), rootKey, "only the root user")
	rootSession := w.session(meta.Session{Account: home, Kind: meta.UserSession, Principal: home.String()})
	if rootSession.Kind != identity.Root || rootSession.ARN != identity.RootARN(home) {
		t.Errorf("the session of a root user is %+v", rootSession)
	}
	w.decide("a session of the root user", rootSession, pull(home, "app"), "")

	w.must(w.meta.DeleteInline(t.Context(), role.ID, "inline"))
	w.decide("a session after its role lost the policy", plain, pull(home, "app"), noIdentity)
	w.must(w.meta.DeleteEntity(t.Context(), role))
	if _, err := w.KeyCaller(t.Context(), plain.AccessKey); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("the session of a role that was deleted: %v", err)
	}
}

func TestDecideControlPolicies(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	w.repository(home, "app", grant("*", "ecr:*"))
	_, user := w.user(home, "user", allow("ecr:*", "*"))
	_, stranger := w.user(other, "stranger", allow("ecr:*", "*"))
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	put := func(kind meta.ControlPolicyKind, account name.Account, policyName, text string) {
		t.Helper()
		w.must(w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: policyName, Kind: kind, Account: account, Text: text, UpdatedAt: w.now()}))
	}
	remove := func(kind meta.ControlPolicyKind, account name.Account, policyName string) {
		t.Helper()
		w.must(w.meta.DeleteControlPolicy(t.Context(), kind, account, policyName))
	}
	put(meta.ServiceControl, home, "no-pull", deny("ecr:BatchGetImage"))
	w.decide("a service control policy of the account", user, pull(home, "app"), "with an explicit deny in a service control policy")
	w.decide("binds the root user", root, pull(home, "app"), "with an explicit deny in a service control policy")
	w.decide("but not principals of other accounts", stranger, pull(home, "app"), "")
	remove(meta.ServiceControl, home, "no-pull")
	w.decide("once it is gone", user, pull(home, "app"), "")

	put(meta.ServiceControl, name.Account{}, "FullAccess", "")
	w.decide("a level without full access", user, pull(home, "app"), "because no service control policy allows")
	put(meta.ServiceControl, name.Account{}, "ecr-only", allow("ecr:*", "*"))
	w.decide("but with a policy that allows", user, pull(home, "app"), "")
	remove(meta.ServiceControl, name.Account{}, "ecr-only")
	remove(meta.ServiceControl, name.Account{}, "FullAccess")

	perimeter := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + home.String() + `"}}}]}`
	put(meta.ResourceControl, home, "perimeter", perimeter)
	w.decide("a resource control policy keeps others out", stranger, pull(home, "app"), "with an explicit deny in a resource control policy")
	w.decide("and its own in", user, pull(home, "app"), "")
	anonymous := identity.Caller{Kind: identity.Anonymous}
	w.decide("and the anonymous out", anonymous, pull(home, "app"), "with an explicit deny in a resource control policy")
	remove(meta.ResourceControl, home, "perimeter")
	w.decide("an anonymous caller by a policy for everybody", anonymous, pull(home, "app"), "")
	w.decide("an anonymous caller elsewhere", anonymous, pull(home, "none"), "User: anonymous is not authorized")
}

func TestDecideRegistryPolicy(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	_, user := w.user(other, "user", allow("ecr:*", "*"))
	_, own := w.user(home, "own", "")
	reg := name.Registry{Account: home, Region: region}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + identity.RootARN(other) + `","` + own.ARN + `"]},"Action":"ecr:*","Resource":"arn:aws:ecr:us-east-1:` + home.String() + `:repository/shared/*"}]}`
	w.must(w.meta.PutRegistryPolicy(t.Context(), reg, meta.BoundPolicy{Text: text}))
	w.decide("by the registry's policy", user, pull(home, "shared/app"), "")
	w.decide("another repository of it", user, pull(home, "app"), noResource)
	w.decide("within the account it is enough alone", own, pull(home, "shared/app"), "")
	token := access{Ask: guard.Ask{Action: "ecr:GetAuthorizationToken", Owner: guard.OwnedBy(home), Region: region, Resource: "*"}}
	w.decide("but never for a token", own, token, "no identity-based policy allows the ecr:GetAuthorizationToken action")
	w.must(w.meta.PutSetting(t.Context(), reg, meta.SettingPolicyScope, meta.PolicyScopeV1))
	w.decide("of the first scope", user, pull(home, "shared/app"), noResource)
	create := pull(home, "shared/app")
	create.Action = "ecr:CreateRepository"
	w.decide("which still lets create", user, create, "")
}

func TestDecideImageTags(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	w.repository(home, "app", "")
	_, user := w.user(home, "user", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"ecrin:ImageTag":"release-*"}}}]}`)
	tag := func(s string) access {
		a := pull(home, "app")
		a.Image = guard.Image{Reference: name.Reference{Tag: tagNamed(s)}, Stored: true}
		return a
	}
	w.decide("a tag that is allowed", user, tag("release-1"), "")
	w.decide("one that is not", user, tag("latest"), noIdentity)
	w.decide("no tag at all", user, pull(home, "app"), noIdentity)
}

func TestExplainNamesPrincipals(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	w.repository(home, "app", "")
	w.user(home, "puller", allow("ecr:BatchGetImage", "*"))
	w.entity(home, meta.Role, "node", nil)
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
		_, why, err := w.guard.Explain(t.Context(), principal, pull(home, "app").From, w.resolved(pull(home, "app")))
		if err != nil || why.Verdict != want {
			t.Errorf("%s: %v, %v; want %v", principal, why.Verdict, err, want)
		}
	}
	for _, row := range []struct { // what no policy can allow is not called allowed
		principal, action string
		reserved          guard.Reserved
	}{
		{"arn:aws:sts::" + home.String() + ":federated-user/someone", "iam:ListUsers", guard.ForPolicies},
		{"arn:aws:iam::" + home.String() + ":user/puller", "ecrin:CreateAccessKey", guard.ForRoot},
		{identity.RootARN(home), "ecrin:PutControlPolicy", guard.ForOperator},
	} {
		a := access{Ask: guard.Ask{Action: row.action, Owner: guard.OwnedBy(home), Region: region, Resource: "*", Reserved: row.reserved}}
		if _, why, err := w.guard.Explain(t.Context(), row.principal, a.From, a.Ask); !errors.Is(err, fault.InvalidInput) {
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
		if _, _, err := w.guard.Explain(t.Context(), principal, pull(home, "app").From, w.resolved(pull(home, "app"))); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", principal, err, want)
		}
	}
}

// A federated user whose session has no policies may do what a resource's policy grants to it by its own name, and no more; what
// is denied to the user behind it stays denied. Source: STS API reference, GetFederationToken.
func TestDecideFederatedWithoutPolicies(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	guestARN := "arn:aws:sts::" + home.String() + ":federated-user/guest"
	free, _ := w.user(home, "free", allow("ecr:*", "*"))
	held, _ := w.user(home, "held", deny("ecr:BatchGetImage"))
	w.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	w.repository(home, "user", grant(free.ARN(), "ecr:BatchGetImage"))
	w.repository(home, "guest", grant(guestARN, "ecr:BatchGetImage"))
	guest := func(principal string) identity.Caller {
		return w.session(meta.Session{Account: home, Kind: meta.FederatedSession, Principal: principal, Name: "guest"})
	}
	for _, principal := range []string{free.ID, home.String()} {
		who := guest(principal)
		w.decide("everybody, "+principal, who, pull(home, "all"), noSession)
		w.decide("the user behind it, "+principal, who, pull(home, "user"), noSession)
		w.decide("itself, "+principal, who, pull(home, "guest"), "")
	}
	w.decide("denied to its user", guest(held.ID), pull(home, "guest"), "with an explicit deny in an identity-based policy")
}

// A user has one set of keys for all of its requests: what one request adds must not be seen by another. The number of the
// user's own keys decides how much room a list of them has that grew.
func TestDecideKeepsRequestsApart(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	e, user := w.user(home, "user", "")
	context := func(secure bool, agent string) *policy.Context {
		a := pull(home, "app")
		a.From.Secure, a.From.UserAgent = secure, agent
		var denial *guard.Denial
		if err := w.authorize(user, a); !errors.As(err, &denial) {
			t.Fatalf("got %v, want a denial", err)
		}
		return denial.Request.Context
	}
	for tags := range 16 {
		w.must(w.meta.PutEntityTags(t.Context(), e.ID, map[string]string{fmt.Sprint("tag", tags): "x"}, 50))
		first, second := context(true, "first"), context(false, "second")
		got := []string{}
		for _, c := range []*policy.Context{first, second} {
			got = append(append(got, c.Values("aws:SecureTransport")...), c.Values("aws:UserAgent")...)
		}
		if want := []string{"true", "first", "false", "second"}; !slices.Equal(got, want) {
			t.Errorf("with %d tags, two requests have %q for aws:SecureTransport and aws:UserAgent, want %q", tags+1, got, want)
		}
	}
}

// A customer has no policies of its own: it may do what a resource's policy grants to it by its ARN, and no more.
func TestDecideCustomers(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	arn := "arn:aws:ecrin::" + home.String() + ":customer/shop/acme"
	acme := identity.Caller{Kind: identity.Customer, Account: home, ARN: arn, UserID: "shop/acme"}
	twin := identity.Caller{Kind: identity.Customer, Account: home, ARN: arn + "2", UserID: "shop/acme2"}
	set := func(repo, text string) {
		w.repository(home, repo, "")
		r, err := w.meta.Repository(t.Context(), name.Registry{Account: home, Region: region}, repoNamed(repo))
		w.must(err)
		w.must(w.meta.SetPolicy(t.Context(), r, meta.BoundPolicy{Text: text}))
	}
	set("named", grant(arn, "ecr:BatchGetImage"))
	set("account", grant(identity.RootARN(home), "ecr:BatchGetImage"))
	w.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	w.repository(home, "none", "")
	w.decide("named", acme, pull(home, "named"), "")
	w.decide("another customer is named", twin, pull(home, "named"), noResource)
	w.decide("the account of the vendor is named", acme, pull(home, "account"), noResource)
	w.decide("everybody", acme, pull(home, "all"), "")
	w.decide("nobody", acme, pull(home, "none"), noResource)
	push := pull(home, "named")
	push.Action = "ecr:PutImage"
	w.decide("another action", acme, push, "no resource-based policy allows the ecr:PutImage action")
	if _, err := policy.Parse(grant("arn:aws:ecrin::"+home.String()+":customer/shop", "ecr:BatchGetImage"), policy.Repository); err == nil {
		t.Error("a customer without an application is accepted as a principal")
	}
}

// What belongs to no account is allowed to no caller by policies, and stands in no account's trail as its own.
func TestDecideUnowned(t *testing.T) {
	t.Parallel()
	w := newIAM(t)
	_, admin := w.user(home, "admin", allow("*", "*"))
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	for _, c := range []identity.Caller{admin, root} {
		rec := new(guard.Record)
		err := w.guard.Decide(t.Context(), c, guard.Origin{}, rec, guard.Ask{Action: "ecrin:ListAccessKeys", Owner: guard.Unowned, Region: region, Resource: "*"})
		if !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s on what belongs to no account: got %v, want fault.AccessDenied", c.ARN, err)
		}
		if rec.Owner != guard.Unowned || rec.Caller != c {
			t.Errorf("the record has owner %v and caller %v, want none and %v", rec.Owner, rec.Caller, c)
		}
	}
	if err := w.guard.Decide(t.Context(), root, guard.Origin{}, new(guard.Record)); err == nil {
		t.Error("a request that asks for nothing was allowed")
	}
}
