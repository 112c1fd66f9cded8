package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Subject is a principal in a session, with its own policies, the control policies of its account and its condition
// keys, at one generation of the store. Read only: several requests use the same Subject at the same time.
type Subject struct {
	Caller          Caller // without Token; AccessKey only for sessions
	Policy          policy.Caller
	Identity        []policy.Named
	Boundary        []policy.Named
	Session         []policy.Named
	ControlPolicies [][]policy.Named
	Keys            policy.Context // condition keys of the principal: aws:PrincipalArn, aws:username, tags, …
	Conditional     bool           // at least one policy reads a condition key
	Images          bool           // at least one policy reads ecrin:ImageTag or ecrin:ImageDigest
	Application     string         // id, of a customer; "" for all others
	Releases        bool           // at least one entitlement depends on releases of the application
	Pushed          bool           // at least one entitlement depends on when the image was pushed

	generation uint64
}

// PolicyIn returns Policy with the ARNs of the caller and its issuer in the partition of a region.
func (u *Subject) PolicyIn(r name.Region) policy.Caller {
	c := u.Policy
	if partition := r.Partition(); partition != name.DefaultPartition {
		c.ARN, c.Issuer = name.InPartition(c.ARN, partition), name.InPartition(c.Issuer, partition)
	}
	return c
}

// subjectKey is the cache key of a subject: a principal has one subject for each of its sessions.
type subjectKey struct{ principal, sessionKey string }

const maxSubjects = 8192

// Subject returns the subject of a caller.
//
// Errors: fault.NoSuchEntity (the user or role was deleted), fault.AccountNotFound, fault.AccessKeyNotFound (the
// session was deleted); an error without a code for a policy that cannot be read, a failure of the store, or a caller
// without a principal.
func (s *Service) Subject(ctx context.Context, c Caller) (*Subject, error) {
	if c.Kind == Customer {
		return s.customer(ctx, c)
	}
	if c.Principal == "" {
		return s.outsider(c)
	}
	return s.subject(ctx, c.Principal, c.SessionKey)
}

// subject returns the subject of a principal, from the cache unless the store has changed. principal is the unique id
// of a user or role, or the digits of an account for its root user. sessionKey is the access key of its session, "" for
// none.
func (s *Service) subject(ctx context.Context, principal, sessionKey string) (*Subject, error) {
	key := subjectKey{principal, sessionKey}
	now := s.meta.IdentityGeneration()
	s.mu.RLock()
	have := s.subjects[key]
	s.mu.RUnlock()
	if have != nil && have.generation == now {
		return have, nil
	}
	made, err := s.gather(ctx, principal, sessionKey)
	if err != nil {
		return nil, err
	}
	made.generation = now
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.subjects) >= maxSubjects {
		clear(s.subjects)
	}
	s.subjects[key] = made
	return made, nil
}

// gather makes a subject from the store, without the cache.
func (s *Service) gather(ctx context.Context, principal, sessionKey string) (*Subject, error) {
	var in *meta.Session
	if sessionKey != "" {
		found, err := s.meta.Session(ctx, sessionKey)
		if err != nil {
			return nil, err
		}
		in = &found
	}
	var e *meta.Entity
	account, err := name.ParseAccount(principal)
	if err != nil {
		found, err := s.meta.EntityByID(ctx, principal)
		if err != nil {
			return nil, err
		}
		e, account = &found, found.Account
	} else if _, err := s.meta.Account(ctx, account); err != nil {
		return nil, err
	}
	return s.make(ctx, account, e, in)
}

// make returns the subject of the entity e, or of the account's root user if e is nil, in the session in unless that is
// nil.
func (s *Service) make(ctx context.Context, account name.Account, e *meta.Entity, in *meta.Session) (*Subject, error) {
	u := &Subject{Caller: Caller{Account: account, Principal: account.String()}, Policy: policy.Caller{Account: account}}
	if e != nil {
		u.Caller.Principal, u.Policy.UniqueID = e.ID, e.ID
		u.Policy.ServiceLinked = e.Service != ""
	}
	switch {
	case in != nil && in.Kind == meta.FederatedSession:
		u.Caller.Kind, u.Policy.Kind = FederatedUser, policy.FederatedUser
		u.Caller.ARN = FederatedARN(account, in.Name)
		u.Caller.UserID = account.String() + ":" + in.Name
		u.Policy.Issuer = RootARN(account)
		if e != nil {
			u.Policy.Issuer = e.ARN()
		}
	case e == nil:
		u.Caller.Kind, u.Policy.Kind = Root, policy.Account
		u.Caller.ARN, u.Caller.UserID = RootARN(account), account.String()
	case e.Kind == meta.User:
		u.Caller.Kind, u.Policy.Kind = User, policy.User
		u.Caller.ARN, u.Caller.UserID = e.ARN(), e.ID
	case e.Kind == meta.Role && in != nil:
		u.Caller.Kind, u.Policy.Kind = RoleSession, policy.RoleSession
		u.Caller.ARN = RoleSessionARN(account, e.Name, in.Name)
		u.Caller.UserID = e.ID + ":" + in.Name
		u.Policy.Issuer = e.ARN()
	default:
		return nil, fmt.Errorf("identity: %s is no principal", e.ID)
	}
	u.Policy.ARN = u.Caller.ARN
	if in != nil {
		u.Caller.SessionKey, u.Caller.AccessKey = in.AccessKey, in.AccessKey
	}
	if err := s.policiesOf(ctx, u, e, in); err != nil {
		return nil, err
	}
	return u, s.keysOf(ctx, u, e, in)
}

// policiesOf adds the control policies of the account, and the policies of the entity, its groups and the session.
func (s *Service) policiesOf(ctx context.Context, u *Subject, e *meta.Entity, in *meta.Session) error {
	controlPolicies, err := s.controlPolicies(ctx)
	if err != nil {
		return err
	}
	if !u.Policy.ServiceLinked {
		level := controlPolicies.of(meta.ServiceControl, u.Caller.Account)
		u.ControlPolicies, u.Conditional = level.Policies, u.Conditional || level.Conditional
	}
	if e != nil {
		if err := s.attached(ctx, u, *e); err != nil {
			return err
		}
		groups, err := s.meta.Containers(ctx, e.ID)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.Kind != meta.Group {
				continue // an instance profile
			}
			if err := s.attached(ctx, u, g); err != nil {
				return err
			}
		}
		if e.Boundary != "" {
			n, err := s.managed(ctx, u, e.Boundary, policy.Boundary)
			if err != nil {
				return err
			}
			u.Boundary = append(u.Boundary, n)
		}
	}
	if in == nil {
		return nil
	}
	if in.Kind == meta.FederatedSession && e == nil {
		u.Identity = append(u.Identity, everything) // a federated user of the root user
	}
	// A federated user has only the rights that its session policies allow, and never more than the user that made the
	// session. Source: STS API reference, GetFederationToken.
	if in.Kind == meta.FederatedSession && len(in.Policies)+len(in.PolicyARNs) == 0 {
		u.Session = append(u.Session, policy.Named{Name: "session without policies", Policy: nothing})
	}
	for _, text := range in.Policies {
		n, err := s.add(u, policy.Session, "session policy", "", meta.BoundPolicy{Text: text})
		if err != nil {
			return err
		}
		u.Session = append(u.Session, n)
	}
	for _, arn := range in.PolicyARNs {
		n, err := s.managed(ctx, u, arn, policy.Session)
		if err != nil {
			return err
		}
		u.Session = append(u.Session, n)
	}
	return nil
}

// attached adds the inline and managed policies of a user, group or role.
func (s *Service) attached(ctx context.Context, u *Subject, e meta.Entity) error {
	inline, err := s.meta.Inlines(ctx, e.ID)
	if err != nil {
		return err
	}
	for _, p := range inline {
		n, err := s.add(u, policy.Identity, p.Name, "", meta.BoundPolicy{Text: p.Text})
		if err != nil {
			return err
		}
		u.Identity = append(u.Identity, n)
	}
	arns, err := s.meta.Attachments(ctx, e.ID)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		n, err := s.managed(ctx, u, arn, policy.Identity)
		if err != nil {
			return err
		}
		u.Identity = append(u.Identity, n)
	}
	return nil
}

// managed returns a managed policy, of AWS or of a customer. A policy that does not exist becomes a policy that allows
// nothing: the deletion of a boundary or session policy must not add rights.
func (s *Service) managed(ctx context.Context, u *Subject, arn string, kind policy.Kind) (policy.Named, error) {
	text, err := s.ManagedText(ctx, arn)
	if errors.Is(err, fault.NoSuchEntity) {
		return policy.Named{Name: arn, ARN: arn, Policy: nothing}, nil
	}
	if err != nil {
		return policy.Named{}, err
	}
	return s.add(u, kind, arn[strings.LastIndexByte(arn, '/')+1:], arn, meta.BoundPolicy{Text: text})
}

// ManagedText returns the text of the default version of a managed policy, of AWS or of a customer.
// Errors: fault.NoSuchEntity.
func (s *Service) ManagedText(ctx context.Context, arn string) (string, error) {
	if m, ok := ManagedPolicy(arn); ok {
		return m.Text, nil
	}
	none := fault.NoSuchEntity.New("Policy %s does not exist or is not attachable.", name.Clip(arn))
	parsed, named, err := name.ParseEntityARN(arn)
	if err != nil || named.Kind != name.IAMPolicy || parsed.AWS {
		return "", none
	}
	e, err := s.meta.Entity(ctx, parsed.Account, meta.ManagedPolicy, named.Name)
	if errors.Is(err, fault.NoSuchEntity) || err == nil && e.ARN() != arn {
		return "", none
	}
	if err != nil {
		return "", err
	}
	versions, err := s.meta.PolicyVersions(ctx, e.ID)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(versions, func(v meta.PolicyVersion) bool { return v.Number == e.DefaultVersion })
	if at < 0 {
		return "", none
	}
	return versions[at].Text, nil
}

// add compiles a policy and updates Conditional and Images of the subject. It does not append the policy.
func (s *Service) add(u *Subject, kind policy.Kind, policyName, arn string, p meta.BoundPolicy) (policy.Named, error) {
	c, err := s.Compile(kind, p)
	if err != nil {
		return policy.Named{}, fmt.Errorf("reading the policy %s of %s: %w", policyName, u.Caller.ARN, err)
	}
	u.Conditional = u.Conditional || c.Conditional
	u.Images = u.Images || c.Images
	return policy.Named{Name: policyName, ARN: arn, Policy: c.Policy}, nil
}

// keysOf sets the condition keys of the principal. Source: IAM user guide, global condition context keys.
func (s *Service) keysOf(ctx context.Context, u *Subject, e *meta.Entity, in *meta.Session) error {
	k := &u.Keys
	principalARN, kind := u.Caller.ARN, "Account"
	tags := map[string]string{}
	if e != nil {
		var err error
		if tags, err = s.meta.EntityTags(ctx, e.ID); err != nil {
			return err
		}
	}
	switch u.Caller.Kind {
	case User:
		kind = "User"
		k.Set("aws:username", e.Name)
	case RoleSession:
		kind = "AssumedRole"
		principalARN = u.Policy.Issuer
	case FederatedUser:
		kind = "FederatedUser"
	}
	k.Set("aws:principalarn", principalARN)
	k.Set("aws:principalaccount", u.Caller.Account.String())
	k.Set("aws:principaltype", kind)
	k.Set("aws:userid", u.Caller.UserID)
	if s.organization != "" {
		k.Set("aws:principalorgid", s.organization)
		k.SetList("aws:principalorgpaths", s.organization+"/r-root/"+u.Caller.Account.String()+"/")
	}
	for key, value := range tags {
		k.Set("aws:principaltag/"+key, value)
	}
	if in == nil {
		return nil
	}
	for key, value := range in.Tags {
		k.Set("aws:principaltag/"+key, value)
	}
	for key, value := range in.Claims {
		k.Set(key, value)
	}
	k.Set("aws:multifactorauthpresent", "false")
	k.Set("aws:tokenissuetime", in.IssuedAt.UTC().Format("2006-01-02T15:04:05Z"))
	if in.Source != "" {
		k.Set("aws:sourceidentity", in.Source)
	}
	return nil
}

// outsider returns the subject of a caller that is no user, role or root user. The subject has no policies of its own.
func (s *Service) outsider(c Caller) (*Subject, error) {
	u := &Subject{Caller: c, Policy: policy.Caller{ARN: c.ARN}}
	switch c.Kind {
	case Anonymous:
		u.Policy.Kind = policy.Anyone
		u.Keys.Set("aws:principaltype", "Anonymous")
		u.Keys.Set("aws:userid", "anonymous")
	case WebIdentity:
		u.Policy.Kind = policy.Federated
		u.Keys.Set("aws:principaltype", "FederatedUser")
	case AWSService:
		u.Policy.Kind = policy.Service
		u.Keys.Set("aws:principalservicename", c.ARN)
	default:
		return nil, fmt.Errorf("identity: a caller of kind %d without a principal", c.Kind)
	}
	return u, nil
}
