package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	owner    = "111111111111" // of the repository
	other    = "222222222222"
	webARN   = "arn:aws:ecr:eu-west-1:111111111111:repository/team/web"
	alice    = "arn:aws:iam::111111111111:user/eng/alice"
	session  = "arn:aws:sts::111111111111:assumed-role/deployer/s1"
	role     = "arn:aws:iam::111111111111:role/deployer"
	fed      = "arn:aws:sts::111111111111:federated-user/fed1"
	root     = "arn:aws:iam::111111111111:root"
	foreign  = "arn:aws:sts::222222222222:assumed-role/node/i-1"
	foreigns = "arn:aws:iam::222222222222:role/node"

	pull     = `{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}`
	noPull   = `{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*"}`
	listOnly = `{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}`
)

// pullBy returns a statement of a resource policy; principal is JSON.
func pullBy(effect, principal string) string {
	return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"ecr:BatchGetImage"}`
}

func aws(arn string) string { return `{"AWS":"` + arn + `"}` }

// texts are policies, each as a list of statements; an empty text means that there is no policy.
type texts struct {
	identity, boundary, session, repository, registry, trust string
	scp, rcp                                                 []string // one policy for each level
	v1                                                       bool
}

func (x texts) compile(t testing.TB) *policy.Policies {
	t.Helper()
	named := func(statements string, kind policy.Kind) []policy.Named {
		if statements == "" {
			return nil
		}
		return []policy.Named{{Name: kind.String(), Policy: compile(t, statements, kind)}}
	}
	p := &policy.Policies{
		Identity: named(x.identity, policy.Identity), Boundary: named(x.boundary, policy.Boundary),
		Session: named(x.session, policy.Session), RegistryV1: x.v1,
	}
	for _, level := range x.scp {
		p.SCP = append(p.SCP, named(level, policy.ServiceControl))
	}
	for _, level := range x.rcp {
		p.RCP = append(p.RCP, named(level, policy.ResourceControl))
	}
	if x.repository != "" {
		p.Repository = compile(t, x.repository, policy.Repository)
	}
	if x.registry != "" {
		p.Registry = compile(t, strings.ReplaceAll(x.registry, `"Action"`, `"Resource":"*","Action"`), policy.Registry)
	}
	if x.trust != "" {
		p.Trust = compile(t, x.trust, policy.Trust)
	}
	return p
}

func compile(t testing.TB, statements string, kind policy.Kind) *policy.Compiled {
	t.Helper()
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, kind)
	if err != nil {
		t.Fatalf("%s policy %s: %v", kind, statements, err)
	}
	return policy.Compile(d, nil)
}

// pullRequest returns a pull of webARN by a caller, given as an ARN, the name of a service or "anonymous".
func pullRequest(t *testing.T, caller string) *policy.Request {
	t.Helper()
	r := &policy.Request{
		Action: "ecr:BatchGetImage", Resource: webARN, ResourceAccount: name.MustAccount(owner), Context: &policy.Context{},
	}
	switch {
	case caller == "anonymous":
		r.Caller = policy.Caller{Kind: policy.Anyone}
	case strings.HasSuffix(caller, ".amazonaws.com"):
		r.Caller = policy.Caller{Kind: policy.Service, ARN: caller}
	default:
		r.Caller = callerOf(t, caller)
	}
	return r
}

const (
	allowed  = policy.Allowed
	implicit = policy.ImplicitlyDenied
	explicit = policy.ExplicitlyDenied
)

// The rows of the evaluation logic: contract §5.3 and §5.4.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	codebuild := "codebuild.amazonaws.com"
	service := `{"Service":"` + codebuild + `"}`
	tests := []struct {
		name    string
		caller  string
		p       texts
		verdict policy.Verdict
		layer   policy.Layer
	}{
		{"nothing", alice, texts{}, implicit, policy.LayerIdentity},
		{"identity alone", alice, texts{identity: pull}, allowed, policy.LayerIdentity},
		{"identity denies", alice, texts{identity: pull + "," + noPull}, explicit, policy.LayerIdentity},
		{"identity of another action", alice, texts{identity: listOnly}, implicit, policy.LayerIdentity},

		{"repository names the user", alice, texts{repository: pullBy("Allow", aws(alice))}, allowed, policy.LayerResource},
		{"repository names another user", alice, texts{repository: pullBy("Allow", aws(root[:len(root)-4]+"user/bob"))},
			implicit, policy.LayerIdentity},
		{"repository names *", alice, texts{repository: pullBy("Allow", `"*"`)}, allowed, policy.LayerResource},
		{"repository names AWS *", alice, texts{repository: pullBy("Allow", aws("*"))}, allowed, policy.LayerResource},
		{"root delegates", alice, texts{repository: pullBy("Allow", aws(root))}, implicit, policy.LayerIdentity},
		{"digits delegate", alice, texts{repository: pullBy("Allow", aws(owner))}, implicit, policy.LayerIdentity},
		{"repository denies the account", alice, texts{identity: pull, repository: pullBy("Deny", aws(owner))}, explicit, policy.LayerResource},
		{"identity denies what the repository allows", alice, texts{identity: noPull, repository: pullBy("Allow", aws(alice))},
			explicit, policy.LayerIdentity},

		{"boundary limits identity", alice, texts{identity: pull, boundary: listOnly}, implicit, policy.LayerBoundary},
		{"boundary alone", alice, texts{boundary: pull}, implicit, policy.LayerIdentity},
		{"user ARN passes the boundary", alice, texts{boundary: listOnly, repository: pullBy("Allow", aws(alice))}, allowed,
			policy.LayerResource},
		{"boundary denies", alice, texts{boundary: noPull, repository: pullBy("Allow", aws(alice))}, explicit, policy.LayerBoundary},

		{"session limits identity", session, texts{identity: pull, session: listOnly}, implicit, policy.LayerSession},
		{"session and identity", session, texts{identity: pull, session: pull}, allowed, policy.LayerIdentity},
		{"session ARN passes all", session, texts{boundary: listOnly, session: listOnly,
			repository: pullBy("Allow", aws(session))}, allowed, policy.LayerResource},
		{"session denies", session, texts{session: noPull, repository: pullBy("Allow", aws(session))}, explicit, policy.LayerSession},
		{"role ARN", session, texts{repository: pullBy("Allow", aws(role))}, allowed, policy.LayerResource},
		{"role ARN under a boundary", session, texts{boundary: listOnly, repository: pullBy("Allow", aws(role))}, implicit, policy.LayerBoundary},
		{"role ARN under a session policy", session, texts{session: listOnly, repository: pullBy("Allow", aws(role))}, implicit,
			policy.LayerSession},
		{"role ARN, both allow", session, texts{boundary: pull, session: pull, repository: pullBy("Allow", aws(role))}, allowed,
			policy.LayerResource},
		{"* passes the boundary", session, texts{boundary: listOnly, repository: pullBy("Allow", `"*"`)}, allowed, policy.LayerResource},
		{"* under a session policy", session, texts{session: listOnly, repository: pullBy("Allow", `"*"`)}, implicit, policy.LayerSession},
		{"another session", session, texts{repository: pullBy("Allow", aws(session+"2"))}, implicit, policy.LayerIdentity},
		{"federated user ARN", fed, texts{boundary: listOnly, session: listOnly, repository: pullBy("Allow", aws(fed))},
			allowed, policy.LayerResource},

		{"across: identity only", foreign, texts{identity: pull}, implicit, policy.LayerResource},
		{"across: repository only", foreign, texts{repository: pullBy("Allow", aws(other))}, implicit, policy.LayerIdentity},
		{"across: both, account", foreign, texts{identity: pull, repository: pullBy("Allow", aws(other))}, allowed, policy.LayerResource},
		{"across: both, role", foreign, texts{identity: pull, repository: pullBy("Allow", aws(foreigns))}, allowed, policy.LayerResource},
		{"across: both, session", foreign, texts{identity: pull, repository: pullBy("Allow", aws(foreign))}, allowed, policy.LayerResource},
		{"across: both, *", foreign, texts{identity: pull, repository: pullBy("Allow", `"*"`)}, allowed, policy.LayerResource},
		{"across: the role is not enough", foreign, texts{repository: pullBy("Allow", aws(foreign))}, implicit, policy.LayerIdentity},
		{"across: another account", foreign, texts{identity: pull, repository: pullBy("Allow", aws("333333333333"))}, implicit,
			policy.LayerResource},
		{"across: boundary", foreign, texts{identity: pull, boundary: listOnly, repository: pullBy("Allow", aws(foreign))},
			implicit, policy.LayerBoundary},
		{"across: session", foreign, texts{identity: pull, session: listOnly, repository: pullBy("Allow", aws(foreign))},
			implicit, policy.LayerSession},
		{"across: identity denies", foreign, texts{identity: noPull, repository: pullBy("Allow", `"*"`)}, explicit, policy.LayerIdentity},
		{"across: repository denies", foreign, texts{identity: pull, repository: pullBy("Allow", `"*"`) + "," +
			pullBy("Deny", aws(other))}, explicit, policy.LayerResource},

		{"root", root, texts{}, allowed, policy.NoLayer},
		{"root under a resource deny", root, texts{repository: pullBy("Deny", `"*"`)}, explicit, policy.LayerResource},
		{"root under an SCP", root, texts{scp: []string{listOnly}}, implicit, policy.LayerSCP},
		{"root of another account", "arn:aws:iam::222222222222:root", texts{}, implicit, policy.LayerResource},
		{"root of another account, granted", "arn:aws:iam::222222222222:root", texts{repository: pullBy("Allow", aws(other))},
			allowed, policy.LayerResource},

		{"SCP of one level", alice, texts{identity: pull, scp: []string{pull, listOnly}}, implicit, policy.LayerSCP},
		{"SCP of both levels", alice, texts{identity: pull, scp: []string{pull, pull}}, allowed, policy.LayerIdentity},
		{"SCP denies", alice, texts{identity: pull, scp: []string{pull + "," + noPull}}, explicit, policy.LayerSCP},
		{"SCP grants nothing", alice, texts{scp: []string{pull}}, implicit, policy.LayerIdentity},
		{"SCP over a user ARN", alice, texts{scp: []string{listOnly}, repository: pullBy("Allow", aws(alice))}, implicit, policy.LayerSCP},
		{"RCP", alice,
			texts{identity: pull, rcp: []string{`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`}}, implicit, policy.LayerRCP},
		{"RCP allows", alice,
			texts{identity: pull, rcp: []string{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`}}, allowed, policy.LayerIdentity},
		{"RCP denies anonymous", "anonymous", texts{repository: pullBy("Allow", `"*"`),
			rcp: []string{`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`}}, explicit, policy.LayerRCP},

		{"service", codebuild, texts{repository: pullBy("Allow", service)}, allowed, policy.LayerResource},
		{"service, not named", codebuild, texts{repository: pullBy("Allow", `{"Service":"lambda.amazonaws.com"}`)}, implicit,
			policy.LayerResource},
		{"service by an account", codebuild, texts{repository: pullBy("Allow", aws(owner))}, implicit, policy.LayerResource},
		{"service has no SCP", codebuild, texts{repository: pullBy("Allow", service), scp: []string{noPull}}, allowed, policy.LayerResource},
		{"service denied", codebuild, texts{repository: pullBy("Allow", service) + "," + pullBy("Deny", `"*"`)}, explicit, policy.LayerResource},
		{"anonymous", "anonymous", texts{repository: pullBy("Allow", `"*"`)}, allowed, policy.LayerResource},
		{"anonymous, account named", "anonymous", texts{repository: pullBy("Allow", aws(owner))}, implicit, policy.LayerResource},
		{"anonymous has no identity", "anonymous", texts{identity: pull}, implicit, policy.LayerResource},

		{"registry V2 allows alone", alice, texts{registry: pullBy("Allow", aws(alice))}, allowed, policy.LayerResource},
		{"registry V2 across", foreign, texts{identity: pull, registry: pullBy("Allow", aws(other))}, allowed, policy.LayerResource},
		{"registry V2 denies", alice, texts{identity: pull, registry: pullBy("Deny", `"*"`)}, explicit, policy.LayerResource},
		{"registry V1 does not count", alice, texts{registry: pullBy("Allow", aws(alice)), v1: true}, implicit, policy.LayerIdentity},
		{"registry V1 does not deny", alice, texts{identity: pull, registry: pullBy("Deny", `"*"`), v1: true}, allowed, policy.LayerIdentity},

		{"NotPrincipal spares the user", alice, texts{identity: pull, repository: notBy(alice, root)}, allowed, policy.LayerIdentity},
		{"NotPrincipal without the account", alice, texts{identity: pull, repository: notBy(alice)}, explicit, policy.LayerResource},
		{"NotPrincipal with the account alone", alice, texts{identity: pull, repository: notBy(root)}, explicit, policy.LayerResource},
		{"NotPrincipal with the account spares root", root, texts{repository: notBy(root)}, allowed, policy.NoLayer},
		{"NotPrincipal spares the session", session, texts{identity: pull, repository: notBy(session, role, root)}, allowed,
			policy.LayerIdentity},
		{"NotPrincipal without the session", session, texts{identity: pull, repository: notBy(role, root)}, explicit, policy.LayerResource},
		{"NotPrincipal and a boundary", alice, texts{identity: pull, boundary: pull, repository: notBy(alice, root)}, explicit,
			policy.LayerResource},
		{"NotPrincipal denies anonymous", "anonymous", texts{repository: pullBy("Allow", `"*"`) + "," + notBy(alice, root)},
			explicit, policy.LayerResource},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, r := test.p.compile(t), pullRequest(t, test.caller)
			got := policy.Evaluate(p, r)
			if got.Verdict != test.verdict || got.Layer != test.layer {
				t.Errorf("%s with %+v: got %s by %q, want %s by %q", test.caller, test.p, got.Verdict, got.Layer, test.verdict, test.layer)
			}
			if why := policy.Explain(p, r); why.Decision != got {
				t.Errorf("Explain decides %+v, Evaluate %+v", why.Decision, got)
			}
		})
	}
}

func notBy(arns ...string) string {
	return `{"Effect":"Deny","NotPrincipal":{"AWS":["` + strings.Join(arns, `","`) + `"]},"Action":"ecr:*"}`
}

// Contract §5.8: without an allow in its trust policy, a role cannot be assumed, whatever other policies allow.
func TestEvaluateTrust(t *testing.T) {
	t.Parallel()
	assume := func(principal string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}`
	}
	const mayAssume = `{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}`
	provider := "arn:aws:iam::111111111111:oidc-provider/token.example.com"
	for what, test := range map[string]struct {
		caller string
		p      texts
		want   policy.Verdict
		layer  policy.Layer
	}{
		"user named":                {alice, texts{trust: assume(aws(alice))}, allowed, policy.LayerTrust},
		"account, no identity":      {alice, texts{trust: assume(aws(root))}, implicit, policy.LayerIdentity},
		"account and identity":      {alice, texts{trust: assume(aws(root)), identity: mayAssume}, allowed, policy.LayerIdentity},
		"identity, trust of others": {alice, texts{trust: assume(aws(other)), identity: mayAssume}, implicit, policy.LayerTrust},
		"root of the account":       {root, texts{trust: assume(aws(other))}, implicit, policy.LayerTrust},
		"across, trust only":        {foreign, texts{trust: assume(aws(foreigns))}, implicit, policy.LayerIdentity},
		"across, both":              {foreign, texts{trust: assume(aws(foreigns)), identity: mayAssume}, allowed, policy.LayerTrust},
		"across, identity only":     {foreign, texts{trust: assume(aws(alice)), identity: mayAssume}, implicit, policy.LayerTrust},
		"provider":                  {provider, texts{trust: assume(`{"Federated":"` + provider + `"}`)}, allowed, policy.LayerTrust},
		"another provider":          {provider, texts{trust: assume(`{"Federated":"accounts.example.com"}`)}, implicit, policy.LayerTrust},
		"deny beats identity and user": {alice, texts{trust: assume(aws(alice)) + "," +
			strings.Replace(assume(`"*"`), "Allow", "Deny", 1), identity: mayAssume}, explicit, policy.LayerTrust},
	} {
		r := &policy.Request{Action: "sts:AssumeRole", Resource: role, ResourceAccount: name.MustAccount(owner)}
		if test.caller == provider {
			r.Caller = policy.Caller{Kind: policy.Federated, ARN: provider}
		} else {
			r.Caller = callerOf(t, test.caller)
		}
		if got := policy.Evaluate(test.p.compile(t), r); got.Verdict != test.want || got.Layer != test.layer {
			t.Errorf("%s: got %s by %q, want %s by %q", what, got.Verdict, got.Layer, test.want, test.layer)
		}
	}
}

// Control policies do not apply to service-linked roles.
func TestServiceLinkedRolesAreNotControlled(t *testing.T) {
	t.Parallel()
	p := texts{identity: pull, scp: []string{noPull},
		rcp: []string{`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`}}.compile(t)
	r := pullRequest(t, session)
	if got := policy.Evaluate(p, r); got.Layer != policy.LayerRCP || got.Verdict != explicit {
		t.Errorf("plain role: got %+v, want an explicit deny by an RCP", got)
	}
	r.Caller.ServiceLinked = true
	if got := policy.Evaluate(p, r); !got.Allowed() {
		t.Errorf("service-linked role: got %+v, want allowed", got)
	}
}

// A registry policy of the scope V1 applies to three actions.
func TestRegistryV1Actions(t *testing.T) {
	t.Parallel()
	p := texts{registry: `{"Effect":"Allow","Principal":"*","Action":"ecr:*"}`, v1: true}.compile(t)
	for _, action := range policy.Actions() {
		r := pullRequest(t, "anonymous")
		r.Action = action
		want := action == "ecr:ReplicateImage" || action == "ecr:BatchImportUpstreamImage" || action == "ecr:CreateRepository"
		if got := policy.Evaluate(p, r); got.Allowed() != want {
			t.Errorf("%s: got %s, want allowed %v", action, got.Verdict, want)
		}
	}
}

// A decision names the first of the statements of a policy that decide alike.
func TestFirstOfEqualStatements(t *testing.T) {
	t.Parallel()
	const everything = `"Action":"*","Resource":"*"}`
	for effect, want := range map[string]policy.Verdict{"Allow": allowed, "Deny": explicit} {
		one := func(sid string) string { return `{"Sid":"` + sid + `","Effect":"` + effect + `",` + everything }
		p := texts{identity: one("first") + "," + one("second")}.compile(t)
		if got := policy.Evaluate(p, pullRequest(t, alice)); got.Verdict != want || got.Sid != "first" || got.Statement != 0 {
			t.Errorf("%s: got %+v, want %v by the statement first", effect, got, want)
		}
	}
}

func TestFitsV1(t *testing.T) {
	t.Parallel()
	for element, want := range map[string]bool{
		`"Action":["ecr:CreateRepository","ecr:replicateimage"]`: true, `"Action":"ecr:BatchImport*"`: true,
		`"Action":"ecr:*"`: false, `"Action":["ecr:ReplicateImage","ecr:PutImage"]`: false, `"NotAction":"ecr:PutImage"`: false,
	} {
		if got := policy.FitsV1(mustParse(t, statement(element))); got != want {
			t.Errorf("%s: got %v, want %v", element, got, want)
		}
	}
}

func TestFullAccess(t *testing.T) {
	t.Parallel()
	p := texts{identity: pull}.compile(t)
	p.SCP = [][]policy.Named{{policy.FullAccess(policy.ServiceControl)}}
	p.RCP = [][]policy.Named{{policy.FullAccess(policy.ResourceControl)}}
	if got := policy.Evaluate(p, pullRequest(t, alice)); !got.Allowed() {
		t.Errorf("got %+v, want allowed", got)
	}
	const prefix = "arn:aws:organizations::aws:policy/"
	for kind, want := range map[policy.Kind][2]string{
		policy.ServiceControl:  {"FullAWSAccess", prefix + "service_control_policy/p-FullAWSAccess"},
		policy.ResourceControl: {"RCPFullAWSAccess", prefix + "resource_control_policy/p-RCPFullAWSAccess"},
	} {
		if got := policy.FullAccess(kind); got.Name != want[0] || got.ARN != want[1] {
			t.Errorf("kind %v: got %q, %q, want %q", kind, got.Name, got.ARN, want)
		}
	}
}

// Principals that are bound to unique ids: a later entity of the same name does not inherit rights, and a renamed
// entity keeps its rights.
func TestBinding(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		principal, caller, id string
		bound                 string // "" means deleted
		want                  policy.Verdict
	}{
		{alice, alice, "AIDA1", "AIDA1", allowed},
		{alice, alice, "AIDA2", "AIDA1", implicit},
		{alice, alice, "AIDA1", "", implicit},
		{alice, alice, "", "AIDA1", allowed}, // the id of the caller is unknown
		{alice, strings.Replace(alice, "alice", "renamed", 1), "AIDA1", "AIDA1", allowed},
		{role, session, "AROA1", "AROA1", allowed},
		{role, session, "AROA2", "AROA1", implicit},
		{session, session, "AROA1", "AROA1", allowed},
		{session, session, "AROA2", "AROA1", implicit},
	} {
		d, err := policy.Parse(`{"Statement":`+pullBy("Allow", aws(test.principal))+`}`, policy.Repository)
		if err != nil {
			t.Fatal(err)
		}
		p := &policy.Policies{Repository: policy.Compile(d, func(policy.Principal) (string, bool) { return test.bound, test.bound != "" })}
		r := pullRequest(t, test.caller)
		r.Caller.UniqueID = test.id
		if got := policy.Evaluate(p, r); got.Verdict != test.want {
			t.Errorf("%+v: got %s", test, got.Verdict)
		}
	}
}

// A statement that names a user also names the federated users of that user.
func TestFederatedUserOfUser(t *testing.T) {
	t.Parallel()
	p := texts{repository: pullBy("Allow", aws(alice)), session: pull}.compile(t)
	r := pullRequest(t, fed)
	r.Caller.Issuer = alice
	if got := policy.Evaluate(p, r); !got.Allowed() {
		t.Errorf("with a session policy that allows: got %+v, want allowed", got)
	}
	p = texts{repository: pullBy("Allow", aws(alice)), session: listOnly}.compile(t)
	if got := policy.Evaluate(p, r); got.Verdict != implicit || got.Layer != policy.LayerSession {
		t.Errorf("with a session policy that does not allow: got %+v, want a denial", got)
	}
}
