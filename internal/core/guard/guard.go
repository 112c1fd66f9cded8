// Package guard decides for every surface whether a caller has the permission for a request, and records the decision.
//
// All permissions are decided by [Guard.Decide]: those of the operation tables, of a mount, of the creation of a
// repository by a push and of a signed link to a layer, and the check that a new repository policy does not lock its
// author out. An [Ask] has two parts: the action with its resource, and what is known of the resource. The latter is
// read once, when the target of the request is resolved, and the operation acts on the same values.
package guard

import (
	"cmp"
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

// Owner is the account that a resource belongs to. The zero Owner is [Unowned].
type Owner struct{ account name.Account }

// Unowned is the owner of a resource that belongs to no account: a resource that does not exist, or the installation.
// No policy can allow an action on it, and the audit trail does not attribute it to an account.
var Unowned Owner

// OwnedBy returns the owner of the resources of an account.
func OwnedBy(a name.Account) Owner { return Owner{a} }

// Account returns the owning account; the zero Account for [Unowned].
func (o Owner) Account() name.Account { return o.account }

// Reserved restricts an action to some callers, independent of policies. It is a column of the operation tables.
type Reserved uint8

// The values of Reserved.
const (
	ForPolicies Reserved = iota // every caller that policies allow
	// ForRoot restricts an action to the root user of the account and the operator. It is for actions on all access
	// keys of an account, including those of its root user: a policy that allows everything except IAM must not permit
	// a user to become the root user. Users manage their access keys by the actions of IAM.
	ForRoot
	ForOperator // only the operator: for actions on the installation, which belongs to no account
)

// Ask is an action on a resource for which a caller needs the permission.
type Ask struct {
	Action string // such as ecr:PutImage; "" to require only an identified caller
	// Own without an Action needs no permission: the target is what the caller itself has made, or what the resolver has selected by the
	// permissions of the caller.
	Own      bool
	Or       string // an alternative action, the permission for which suffices; "" for none
	Resource string // ARN, or "*" for an action without a resource
	Owner    Owner
	Region   name.Region    // of the request
	Keys     []ConditionKey // condition keys of this operation
	Reserved Reserved

	Known
}

// resource returns Resource in the partition of the region of the request, for denials, explanations and the audit
// trail.
func (a *Ask) resource() string {
	if partition := a.Region.Partition(); partition != name.DefaultPartition {
		return name.InPartition(a.Resource, partition)
	}
	return a.Resource
}

// Known is what is known of the resource of an Ask, as it was when the target of the request was resolved.
type Known struct {
	Repository *meta.Repository   // the repository whose ARN is Resource; nil if it is no repository or does not exist
	Tags       []meta.ResourceTag // of a Repository that is not stored, so that its ID is 0
	Image      Image              // an image of Repository; zero for none
	Proposed   *meta.AccessGrant  // considered beside the grants of Repository that are stored, for a preview; nil for none
	Trust      *meta.BoundPolicy  // trust policy of the role whose ARN is Resource, for the actions of STS; nil for none
}

// Image is the image of a request, for the condition keys ecrin:ImageTag and ecrin:ImageDigest.
type Image struct {
	name.Reference
	// Stored is true if the request reads or deletes the image. Without a tag, ecrin:ImageTag then has the tags that
	// lead to the digest.
	Stored bool
}

// ConditionKey is a condition key of an operation.
type ConditionKey struct {
	Name   string
	Values []string // one value, or with List any number
	List   bool
}

// Origin is the origin of a request.
type Origin struct {
	SourceIP  netip.Addr
	Secure    bool // the client uses TLS to this server or to a trusted proxy
	UserAgent string
	Referer   string
}

// Record is what the log and the audit trail contain of a decision. The surface sets the fields up to Params before the
// decision; Decide sets the others. A Record without a Name is not recorded in the audit trail.
type Record struct {
	Source   string // the API, such as ecr.amazonaws.com
	Name     string // the API's operation, such as PutImage
	Region   name.Region
	ReadOnly bool
	Docker   bool                // the request came by the OCI distribution API
	Params   func() audit.Params // returns the parameters of the request; called a few times, by one goroutine at a time

	Caller   identity.Caller
	Action   string // of the first Ask, or of the one that was denied
	Resource string // of the same Ask
	Owner    Owner  // of the first Ask
}

// Event describes a request when it ends. The surface and the guard fill it in; the audit trail and the log read it.
type Event struct {
	RequestID string // UUID
	From      Origin
	Record
	Digest string // digest of the image or blob that was read or written; "" for none
	Tag    string // by which an image was looked up; "" for none, and for several
	Err    error  // why the request failed, with its cause; nil on success; not shown to the client
}

// Denial is the cause of every fault.AccessDenied that policies decided. It contains what is needed to explain it.
type Denial struct {
	Request policy.Request
	Why     policy.Why
	Read    []string // the condition keys that the policies read, in lower case
}

// Error returns the layer that denied the request and its verdict.
func (d *Denial) Error() string {
	if d.Why.Excess {
		return "denied because the policies take too much work to match with the request"
	}
	return "denied by " + d.Why.Layer.String() + " policies: " + d.Why.Verdict.String()
}

// Guard decides requests. It is safe for concurrent use.
type Guard struct {
	meta         *meta.Store
	identity     *identity.Service
	now          func() time.Time
	organization string
	writers      bool // anonymous callers may do all that policies allow them
	turn         turn // of expensive decisions
}

// Options are the settings of a Guard.
type Options struct {
	Organization   string // value of aws:ResourceOrgID; "" for none
	AnonymousWrite bool   // anonymous callers may push, delete and so on where policies allow it, not only read
}

// New returns a Guard.
func New(m *meta.Store, id *identity.Service, now func() time.Time, o Options) *Guard {
	return &Guard{meta: m, identity: id, now: now, organization: o.Organization, writers: o.AnonymousWrite, turn: newTurn()}
}

// Decide returns nil if all asks are allowed by the current policies. It sets Caller, Action, Resource and Owner of
// rec. The operator is allowed all actions of the ecrin service and no others; policies do not apply to it.
//
// Errors: fault.AccessDenied in the words of AWS, with a *Denial as its cause if policies decided; fault.NoSuchEntity
// and fault.AccountNotFound (the principal was deleted); an error without a code if the store fails, a stored policy
// cannot be parsed, or there is no ask; the error of ctx if it ends before the decision. Source: IAM user guide, policy
// evaluation logic; troubleshooting access denied messages.
func (g *Guard) Decide(ctx context.Context, by identity.Caller, from Origin, rec *Record, asks ...Ask) error {
	rec.Caller = by
	if len(asks) == 0 {
		return fmt.Errorf("guard: the target of %s has no ask", rec.Name)
	}
	rec.Action, rec.Resource, rec.Owner = asks[0].Action, asks[0].resource(), asks[0].Owner
	for i := range asks {
		a := &asks[i]
		if a.Action == "" {
			continue // the caller need only be identified
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
			rec.Action, rec.Resource = a.Action, a.resource()
			return err
		}
	}
	return nil
}

// Allowed reports whether one ask is allowed by the current policies, without reasons and without a record. It takes as
// long for an ask that is denied as for one that is allowed.
//
// Errors: those of Decide, except fault.AccessDenied.
func (g *Guard) Allowed(ctx context.Context, by identity.Caller, from Origin, a Ask) (bool, error) {
	allowed, _, err := g.Lacking(ctx, by, from, a)
	return allowed, err
}

// Lacking is Allowed, and reports of an ask that is denied whether no more than a permission is missing. Otherwise a policy denies it.
//
// Errors: those of Allowed.
func (g *Guard) Lacking(ctx context.Context, by identity.Caller, from Origin, a Ask) (allowed, lacking bool, err error) {
	_, decided, err := g.decided(ctx, by, from, &a)
	if errors.Is(err, fault.AccessDenied) {
		return false, false, nil
	}
	return decided.Allowed(), err == nil && decided.Verdict == policy.ImplicitlyDenied && !decided.Excess, err
}

// allowed decides one ask without reasons, and returns the subject too. An ask that is denied to this kind of caller,
// whatever policies say, is fault.AccessDenied.
func (g *Guard) allowed(ctx context.Context, by identity.Caller, from Origin, a *Ask) (*identity.Subject, bool, error) {
	who, d, err := g.decided(ctx, by, from, a)
	return who, err == nil && d.Allowed(), err
}

// decided is allowed with the decision.
func (g *Guard) decided(ctx context.Context, by identity.Caller, from Origin, a *Ask) (*identity.Subject, policy.Decision, error) {
	none := policy.Decision{}
	if by.Kind == identity.Operator && strings.HasPrefix(a.Action, "ecrin:") {
		return nil, policy.Decision{Verdict: policy.Allowed}, nil
	}
	if by.Kind == identity.Operator || by.Kind == identity.NoPrincipal || a.Reserved == ForOperator {
		return nil, none, fault.AccessDenied.New("%s", policy.Unallowed(policy.LayerIdentity, by.ARN, a.Action, a.resource()))
	}
	// Temporary credentials of the root user must not obtain permanent ones.
	if a.Reserved == ForRoot && (by.Kind != identity.Root || by.SessionKey != "") {
		return nil, none, fault.AccessDenied.New("%s because only the root user of the account and the operator can",
			policy.Refusal(by.ARN, a.Action, a.resource()))
	}
	if err := cmp.Or(sessionMay(by, a.Action), g.anonymousMay(by, a)); err != nil {
		return nil, none, err
	}
	who, err := g.identity.Subject(ctx, by)
	if err != nil {
		return nil, none, err
	}
	p, err := g.plan(ctx, who, from, a, false)
	if err != nil {
		return nil, none, err
	}
	decided, err := p.evaluate(ctx)
	return who, decided, err
}

// one decides one ask. A denial has the reasons.
func (g *Guard) one(ctx context.Context, by identity.Caller, from Origin, a *Ask) error {
	who, allowed, err := g.allowed(ctx, by, from, a)
	if err != nil || allowed {
		return err
	}
	p, err := g.plan(ctx, who, from, a, true)
	if err != nil {
		return err
	}
	decided, err := p.evaluate(ctx)
	if err != nil {
		return err
	}
	why, err := p.explain(ctx)
	if err != nil {
		return err
	}
	return fault.AccessDenied.New("%s", decided.Text(&p.request)).Because(&Denial{p.request, why, p.policies.Keys()})
}

// Explain decides asks for a principal, named as for identity.Service.Named, and returns the decision with all reasons.
// Of several asks it explains the first that is denied, otherwise the last.
//
// Errors: those of identity.Service.Named; fault.InvalidInput (policies cannot allow the action to the principal); an
// error without a code if there is no ask.
func (g *Guard) Explain(ctx context.Context, principal string, from Origin, asks ...Ask) (policy.Request, policy.Why, error) {
	return g.explain(ctx, func() (*identity.Subject, error) { return g.identity.Named(ctx, principal) }, from, asks)
}

// ExplainStranger decides asks for a user of an account that does not exist here, whose own account allows it everything. See Explain.
func (g *Guard) ExplainStranger(ctx context.Context, from Origin, asks ...Ask) (policy.Request, policy.Why, error) {
	return g.explain(ctx, func() (*identity.Subject, error) { return g.identity.Stranger(ctx) }, from, asks)
}

// ExplainDelegated decides asks for a principal as if its own account allowed it everything. See Explain.
func (g *Guard) ExplainDelegated(ctx context.Context, principal string, from Origin, asks ...Ask) (policy.Request, policy.Why, error) {
	return g.explain(ctx, func() (*identity.Subject, error) { return g.identity.Delegated(ctx, principal) }, from, asks)
}

func (g *Guard) explain(ctx context.Context, subject func() (*identity.Subject, error), from Origin, asks []Ask) (
	policy.Request, policy.Why, error) {
	fail := func(err error) (policy.Request, policy.Why, error) { return policy.Request{}, policy.Why{}, err }
	for i := range asks {
		a := &asks[i]
		if a.Reserved == ForOperator {
			return fail(fault.InvalidInput.New("only the operator of the installation can do %s: no policy can allow it", a.Action))
		}
		who, err := subject()
		if err != nil {
			return fail(err)
		}
		if a.Reserved == ForRoot && who.Caller.Kind != identity.Root {
			return fail(fault.InvalidInput.New("only the root user of the account and the operator can do %s: no policy can allow it", a.Action))
		}
		if err := sessionMay(who.Caller, a.Action); err != nil {
			return fail(fault.InvalidInput.New("%s", fault.From(err).Public))
		}
		p, err := g.plan(ctx, who, from, a, true)
		if err != nil {
			return fail(err)
		}
		if _, err := p.evaluate(ctx); err != nil {
			return fail(err)
		}
		why, err := p.explain(ctx)
		if err != nil {
			return fail(err)
		}
		if err := g.anonymousMay(who.Caller, a); err != nil && why.Allowed() { // policies allow it and the settings do not
			return fail(fault.InvalidInput.New("%s", fault.From(err).Public))
		}
		if !why.Allowed() || i == len(asks)-1 {
			return p.request, why, nil
		}
	}
	return fail(errors.New("guard: no ask to explain"))
}

// anonymousMay returns fault.AccessDenied for an action of an anonymous caller that is not a read, unless the settings admit
// it: a policy that allows everyone all actions of ECR was probably not meant for strangers.
func (g *Guard) anonymousMay(by identity.Caller, a *Ask) error {
	if by.Kind != identity.Anonymous || g.writers {
		return nil
	}
	switch a.Action {
	case "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability", "ecr:ListImages",
		"ecr:DescribeImages", "ecr:DescribeRepositories":
		return nil
	}
	return fault.AccessDenied.New("%s because clients without credentials can only pull, list and describe: the setting anonymous_write lets policies allow more",
		policy.Refusal("", a.Action, a.resource()))
}

// sessionMay refuses the operations of IAM and STS that AWS refuses to temporary credentials, independent of policies.
//
// Errors: fault.AccessDenied.
// Source: IAM user guide, comparing AWS STS credentials.
func sessionMay(c identity.Caller, action string) error {
	service, operation, _ := strings.Cut(action, ":")
	if action == "iam:PassRole" { // it is the permission to name a role in calls of other services
		return nil
	}
	if c.SessionKey == "" && c.Kind != identity.FederatedUser || c.Kind == identity.RoleSession || service != "iam" && service != "sts" {
		return nil
	}
	if c.Kind != identity.FederatedUser && (operation == "AssumeRole" || operation == "TagSession" || operation == "SetSourceIdentity") {
		return nil
	}
	return fault.AccessDenied.New("User: %s is not authorized to perform: %s: temporary credentials of GetSessionToken and GetFederationToken cannot call it; use the user's own access key, or those of a role", c.ARN, action)
}

// maxAttempts is the maximum number of attempts of a request whose target changes between the decision and the action.
const maxAttempts = 20

// Settled calls attempt, which resolves the target of a request, decides and acts. If attempt returns
// fault.TargetChanged, because the target has changed since the decision, Settled refreshes the caches and calls it
// again, up to maxAttempts times.
//
// Errors: those of attempt; fault.Unavailable (the target changed each time; the database is unavailable).
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
	return fault.Unavailable.New("other requests keep changing the target of this request: try again")
}
