package ecrin

import (
	"errors"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A line of the trail gives its caller back, of every kind, or says that it does not have the whole of it.
func TestCallersOfRecordedRequests(t *testing.T) {
	t.Parallel()
	own := name.MustAccount("111122223333")
	session := &audit.Session{Issuer: audit.Issuer{PrincipalID: "AIDAISSUER"}}
	const arn, cut = "arn:aws:iam::111122223333:x", "arn:aws:iam::111122223333:x…"
	for what, c := range map[string]struct {
		line audit.Identity
		want identity.Caller
		bad  bool
	}{
		"the root user": {audit.Identity{Type: audit.Root, ARN: arn, PrincipalID: "111122223333", Account: "111122223333", AccessKeyID: "AKIA"},
			identity.Caller{Kind: identity.Root, Account: own, ARN: arn, UserID: "111122223333", Principal: "111122223333",
				AccessKey: "AKIA"}, false},
		"a user": {audit.Identity{Type: audit.IAMUser, ARN: cut, PrincipalID: "AIDA", Account: "111122223333", AccessKeyID: "AKIA"},
			identity.Caller{Kind: identity.User, Account: own, ARN: cut, UserID: "AIDA", Principal: "AIDA", AccessKey: "AKIA"}, false},
		"a session of a user": {audit.Identity{Type: audit.IAMUser, ARN: arn, PrincipalID: "AIDA", Account: "111122223333", AccessKeyID: "ASIA",
			Session: session}, identity.Caller{Kind: identity.User, Account: own, ARN: arn, UserID: "AIDA", Principal: "AIDA", AccessKey: "ASIA",
			SessionKey: "ASIA"}, false},
		"a role": {audit.Identity{Type: audit.AssumedRole, ARN: arn, PrincipalID: "AROA:run", Account: "111122223333", AccessKeyID: "ASIA",
			Session: session}, identity.Caller{Kind: identity.RoleSession, Account: own, ARN: arn, UserID: "AROA:run", Principal: "AROA",
			AccessKey: "ASIA", SessionKey: "ASIA"}, false},
		"a federated user": {audit.Identity{Type: audit.FederatedUser, ARN: arn, PrincipalID: "111122223333:fed", Account: "111122223333",
			AccessKeyID: "ASIA", Session: session}, identity.Caller{Kind: identity.FederatedUser, Account: own, ARN: arn,
			UserID: "111122223333:fed", Principal: "AIDAISSUER", AccessKey: "ASIA", SessionKey: "ASIA"}, false},
		"a federated user without its session": {audit.Identity{Type: audit.FederatedUser, ARN: arn, PrincipalID: "x"}, identity.Caller{}, true},
		"a web identity": {audit.Identity{Type: audit.WebIdentityUser, ARN: "y", PrincipalID: "x", IdentityProvider: "issuer"},
			identity.Caller{Kind: identity.WebIdentity, ARN: "issuer", UserID: "x"}, false},
		"a web identity, cut": {audit.Identity{Type: audit.WebIdentityUser, PrincipalID: "x", IdentityProvider: cut}, identity.Caller{}, true},
		"a service": {audit.Identity{Type: audit.AWSService, ARN: "lambda.amazonaws.com"},
			identity.Caller{Kind: identity.AWSService, ARN: "lambda.amazonaws.com"}, false},
		"a customer": {audit.Identity{Type: audit.Customer, ARN: arn, PrincipalID: "x"},
			identity.Caller{Kind: identity.Customer, ARN: arn, UserID: "x"}, false},
		"a customer, cut": {audit.Identity{Type: audit.Customer, ARN: cut, PrincipalID: "x"}, identity.Caller{}, true},
		"nobody": {audit.Identity{PrincipalID: "anonymous", Session: session, AccessKeyID: "x"},
			identity.Caller{Kind: identity.Anonymous, UserID: "anonymous", AccessKey: "x"}, false},
	} {
		got, err := callerOf(&audit.Record{Identity: c.line})
		if c.bad != errors.Is(err, errNotKept) || c.bad != (err != nil) || !c.bad && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v and an error %t", what, got, err, c.want, c.bad)
		}
	}
}

// The text for a request that cannot be decided again is the reason, and nothing private.
func TestWhyARequestIsNotDecidedAgain(t *testing.T) {
	t.Parallel()
	if got := publicText(errNotKept); got != errNotKept.Error() {
		t.Errorf("a name that was too long: got %q, want %q", got, errNotKept)
	}
	if got := publicText(fault.NoSuchEntity.New("The role is gone.").Because(errors.New("private"))); got != "The role is gone" {
		t.Errorf("an error with a code: got %q, want its text without a full stop", got)
	}
	if got := publicText(errors.New("private")); got == "private" {
		t.Errorf("another error: got %q, want a text that is not private", got)
	}
}

// A recorded request whose caller or resource is not known in full is not decided again: another one would be.
func TestPartsThatTheTrailCutAreNotDecidedAgain(t *testing.T) {
	t.Parallel()
	user := audit.Identity{Type: audit.IAMUser, ARN: "arn:aws:iam::111122223333:user/a", PrincipalID: "AIDA", Account: "111122223333"}
	for what, c := range map[string]struct {
		line audit.Record
		kept explain.Kept
	}{
		"a caller":        {audit.Record{Identity: audit.Identity{Type: audit.FederatedUser, PrincipalID: "x"}}, explain.Kept{}},
		"a kept resource": {audit.Record{Identity: user}, explain.Kept{Resource: "arn:aws:iam::aws:policy/x…"}},
		"a resource": {audit.Record{Identity: user,
			Resources: []audit.Resource{{ARN: "arn:aws:ecr:us-east-1:111122223333:repository/x…"}}}, explain.Kept{}},
	} {
		if _, err := (&Service{}).again(t.Context(), &c.line, &c.kept, kept{}); !errors.Is(err, errNotKept) {
			t.Errorf("%s: got %v, want %v", what, err, errNotKept)
		}
	}
	if _, err := (&Service{}).again(t.Context(), &audit.Record{Identity: user, Region: "no region"}, &explain.Kept{}, kept{}); err == nil {
		t.Error("an invalid region: got no error")
	}
	line := audit.Record{Identity: user, Region: "us-east-1"}
	again, err := (&Service{}).again(t.Context(), &line, &explain.Kept{Action: "ecr:ListImages"}, kept{})
	if err != nil || again.Ask.Resource != "*" || again.Ask.Action != "ecr:ListImages" || again.Caller.Principal != "AIDA" {
		t.Errorf("a request without a resource: got %+v, %v, want one on *", again, err)
	}
}
