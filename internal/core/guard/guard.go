// Package guard decides, for every door, whether a caller may do what it asks for, and records the decision.
//
// [Guard.Decide] is the only way to a permission: the rows of the operation tables, a mount, the creation of a repository
// by a push, a direct address of a layer and the check that a new policy does not lock its author out all call it. An [Ask]
// has two halves: what is asked, and what is known of the resource, which was read once when the target of the request was
// resolved. The action works on the same values.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Owner is the account that a resource belongs to. The zero Owner, [Unowned], is no account.
type Owner struct{ account name.Account }

// Unowned is the owner of what belongs to no account: a resource that does not exist, and the installation itself. No
// policy allows anything on it, and no account's audit trail records it as a resource of that account.
var Unowned Owner

// OwnedBy is the owner of an account's resource.
func OwnedBy(a name.Account) Owner { return Owner{a} }

// Account is the owning account, the zero Account for [Unowned].
func (o Owner) Account() name.Account { return o.account }

// Reserved says who can be allowed an action at all, whatever policies say. It is a column of the operation tables.
type Reserved uint8

// The values of Reserved.
const (
	ForPolicies Reserved = iota // whoever policies allow
	// ForRoot is for actions on the access keys of a whole account, those of its root user among them: a policy that allows
	// everything but IAM must not let a user become the root user. Users have the actions of IAM for their keys.
	ForRoot
	ForOperator // for actions on the installation, which belongs to no account
)

// Ask is one thing that a caller wants to do: an action on a resource.
type Ask struct {
	Action   string // such as ecr:PutImage
	Or       string // another action that is as good; "" for none
	Resource string // ARN, or "*" for an action without resource
	Owner    Owner
	Region   name.Region    // the region of the request
	Keys     []ConditionKey // condition keys of this operation
	Reserved Reserved

	Known
}

// Known is what is known of the resource of an Ask, as it was when the target of the request was resolved.
type Known struct {
	Repository *meta.Repository  // that Resource is the ARN of; nil for other resources and one that does not exist
	Image      Image             // in Repository; the zero Image for none
	Trust      *meta.BoundPolicy // trust policy of the role that Resource is the ARN of, for the actions of STS; nil for none
}

// Image is the image that a request names, for the condition keys ecrin:ImageTag and ecrin:ImageDigest.
type Image struct {
	name.Reference
	// Stored says that the image is read or deleted: without a tag, the tags that lead to its digest are values of
	// ecrin:ImageTag.
	Stored bool
}

// ConditionKey is a condition key of an operation with its values: one, or with List any number.
type ConditionKey struct {
	Name   string
	Values []string
	List   bool
}

// Origin is where a request came from.
type Origin struct {
	SourceIP  netip.Addr
	Secure    bool // by TLS, up to this server or to a trusted proxy
	UserAgent string
	Referer   string
}

// Record is what the log and the audit trail keep of a request's decision. The door names the operation before it
// decides; Decide sets Caller, Action, Resource and Owner. The audit trail keeps no Record without a Name.
type Record struct {
	Source   string // the API, such as ecr.amazonaws.com
	Name     string // the API's operation, such as PutImage
	Region   name.Region
	ReadOnly bool
	Docker   bool                // the request came by the docker door
	Params   func() audit.Params // of the request; called a few times at most, by one goroutine at a time

	Caller   identity.Caller
	Action   string // of the first Ask, or of the one that was denied
	Resource string // of the same Ask
	Owner    Owner  // of the first Ask
}

// Event is what is known of one request when it ends. Doors and the guard fill it in; the audit trail and the log read it.
type Event struct {
	RequestID string // UUID
	From      Origin
	Record
	Digest string // of the image or blob that was read or written; "" for none
	Err    error  // why the request failed, cause included; never shown to the client
}

// Denial is the cause of every fault.AccessDenied that policies decided: all that explains it.
type Denial struct {
	Request policy.Request
	Why     policy.Why
}

func (d *Denial) Error() string {
	return "denied by " + d.Why.Layer.String() + " policies: " + d.Why.Verdict.String()
}

// Guard decides. Safe for concurrent use.
type Guard struct {
	meta         *meta.Store
	identity     *identity.Service
	now          func() time.Time
	organization string
}

// New makes a guard. organization is the value of aws:ResourceOrgID, "" for none.
func New(m *meta.Store, id *identity.Service, now func() time.Time, organization string) *Guard {
	return &Guard{meta: m, identity: id, now: now, organization: organization}
}

// Decide decides a request by the policies as they are now: each ask must be allowed. It sets the caller, action, resource
// and owner of rec. The operator may do everything of the ecrin service and nothing else; no policy binds it.
//
// Errors: fault.AccessDenied in the words of AWS, with a *Denial as its cause where policies decided; fault.NoSuchEntity and
// fault.AccountNotFound (the principal was deleted); an error without a code for a store that fails, a stored policy that
// cannot be read, or a request without an ask.
// Source: IAM user guide, policy evaluation logic; troubleshooting access denied messages.
func (g *Guard) Decide(ctx context.Context, by identity.Caller, from Origin, rec *Record, asks ...Ask) error {
	rec.Caller = by
	if len(asks) == 0 {
		return fmt.Errorf("guard: %s asks for nothing", rec.Name)
	}
	rec.Action, rec.Resource, rec.Owner = asks[0].Action, asks[0].Resource, asks[0].Owner
	for i := range asks {
		a := &asks[i]
		if a.Action == "" {
			continue // the identity of the caller is enough
		}
		err := g.one(ctx, by, from, a)
		if err != nil && a.Or != "" && errors.Is(err, fault.AccessDenied) {
			other := *a
			other.Action, other.Or = a.Or, ""
			if err = g.one(ctx, by, from, &other); err == nil {
				rec.Action = other.Action
			}
		}
		if err != nil {
			rec.Action, rec.Resource = a.Action, a.Resource
			return err
		}
	}
	return nil
}

// one decides one ask.
func (g *Guard) one(ctx context.Context, by identity.Caller, from Origin, a *Ask) error {
	if by.Kind == identity.Operator && strings.HasPrefix(a.Action, "ecrin:") {
		return nil
	}
	if by.Kind == identity.Operator || by.Kind == identity.NoPrincipal || a.Reserved == ForOperator {
		return fault.AccessDenied.New("%s", policy.Unallowed(policy.LayerIdentity, by.ARN, a.Action, a.Resource))
	}
	// Nor shall temporary credentials of the root user become lasting ones.
	if a.Reserved == ForRoot && (by.Kind != identity.Root || by.SessionKey != "") {
		return fault.AccessDenied.New("%s because only the root user of the account and the operator can", policy.Refusal(by.ARN, a.Action, a.Resource))
	}
	if err := sessionMay(by, a.Action); err != nil {
		return err
	}
	who, err := g.identity.Subject(ctx, by)
	if err != nil {
		return err
	}
	p, err := g.plan(ctx, who, from, a, false)
	if err != nil {
		return err
	}
	if p.evaluate().Allowed() {
		return nil
	}
	if p, err = g.plan(ctx, who, from, a, true); err != nil {
		return err
	}
	decided := p.evaluate()
	why := policy.Explain(&p.policies, &p.request)
	return fault.AccessDenied.New("%s", decided.Text(&p.request)).Because(&Denial{p.request, why})
}

// Explain decides asks for a principal by its name, as in identity.Service.Named, with all reasons. Of several asks it
// explains the first that is denied, otherwise the last.
//
// Errors: those of identity.Service.Named; fault.InvalidInput (no policy decides the action); an error without a code for no
// ask.
func (g *Guard) Explain(ctx context.Context, principal string, from Origin, asks ...Ask) (policy.Request, policy.Why, error) {
	fail := func(err error) (policy.Request, policy.Why, error) { return policy.Request{}, policy.Why{}, err }
	for i := range asks {
		a := &asks[i]
		if a.Reserved == ForOperator {
			return fail(fault.InvalidInput.New("%s is for the installation's operator alone: no policy can allow it", a.Action))
		}
		who, err := g.identity.Named(ctx, principal)
		if err != nil {
			return fail(err)
		}
		if a.Reserved == ForRoot && who.Caller.Kind != identity.Root {
			return fail(fault.InvalidInput.New("%s is for the root user of the account and the operator alone: no policy can allow it", a.Action))
		}
		if err := sessionMay(who.Caller, a.Action); err != nil {
			return fail(fault.InvalidInput.New("%s", fault.From(err).Public))
		}
		p, err := g.plan(ctx, who, from, a, true)
		if err != nil {
			return fail(err)
		}
		p.evaluate()
		if why := policy.Explain(&p.policies, &p.request); !why.Allowed() || i == len(asks)-1 {
			return p.request, why, nil
		}
	}
	return fail(errors.New("guard: nothing to explain"))
}

// sessionMay refuses the operations of IAM and STS to temporary credentials that AWS refuses there, whatever policies say.
// Source: IAM user guide, comparing AWS STS credentials.
func sessionMay(c identity.Caller, action string) error {
	service, operation, _ := strings.Cut(action, ":")
	if c.SessionKey == "" && c.Kind != identity.FederatedUser || c.Kind == identity.RoleSession || service != "iam" && service != "sts" {
		return nil
	}
	if c.Kind != identity.FederatedUser && (operation == "AssumeRole" || operation == "TagSession" || operation == "SetSourceIdentity") {
		return nil
	}
	return fault.AccessDenied.New("User: %s is not authorized to perform: %s: temporary credentials of GetSessionToken and GetFederationToken cannot call it; use the user's own access key, or those of a role", c.ARN, action)
}

// maxAttempts is how often a request starts again because its target changed between the decision and the action.
const maxAttempts = 20

// Settled runs a request that resolves its target, decides and acts. When the action finds that the target is not what was
// decided about any more (fault.TargetChanged), the request starts again from the beginning, with caches that know what other
// processes have changed. Errors: those of attempt; fault.Unavailable (the target changed each time; the database is away).
func (g *Guard) Settled(ctx context.Context, attempt func() error) error {
	for range maxAttempts {
		err := attempt()
		if !errors.Is(err, fault.TargetChanged) {
			return err
		}
		if err := g.meta.Refresh(ctx); err != nil {
			return err
		}
	}
	return fault.Unavailable.New("what the request is about is being changed by others all the time: try again")
}
