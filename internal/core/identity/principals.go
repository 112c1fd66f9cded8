package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Bind returns the unique ids of the users and roles that a policy names, by their text in the policy. With these ids,
// the policy does not apply to a later user or role of the same name. missing is the first user, role or account in the
// policy that does not exist in this installation, nil if all exist; ids is nil if one is missing.
// Source: IAM user guide, policy element Principal.
func (s *Service) Bind(ctx context.Context, d *policy.Document) (ids map[string]string, missing *policy.Principal, err error) {
	ids = map[string]string{}
	for _, st := range d.Statements {
		for p := range st.Principal.All() {
			id, err := s.find(ctx, p)
			if errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) {
				return nil, &p, nil
			}
			if err != nil {
				return nil, nil, err
			}
			if id != "" {
				ids[p.Text] = id
			}
		}
	}
	return ids, nil, nil
}

// find returns the unique id of a principal, "" for a kind of principal that has none.
// Errors: fault.NoSuchEntity, fault.AccountNotFound.
func (s *Service) find(ctx context.Context, p policy.Principal) (string, error) {
	switch p.Kind {
	case policy.Account, policy.FederatedUser:
		_, err := s.meta.Account(ctx, p.Account)
		return "", err
	case policy.User, policy.Role, policy.RoleSession:
		kind := meta.Role
		if p.Kind == policy.User {
			kind = meta.User
		}
		e, err := s.meta.Entity(ctx, p.Account, kind, p.Name)
		if err == nil && p.Kind != policy.RoleSession && e.Path != p.Path {
			err = fault.NoSuchEntity.New("%s does not exist", name.Clip(p.Text))
		}
		return e.ID, err
	case policy.Customer:
		slug, id, _ := strings.Cut(p.Name, "/")
		a, err := s.meta.Application(ctx, p.Account, slug)
		if err == nil {
			_, err = s.meta.Customer(ctx, a, id)
		}
		if errors.Is(err, fault.ObjectNotFound) {
			err = fault.NoSuchEntity.New("%s does not exist", name.Clip(p.Text))
		}
		return "", err
	}
	return "", nil
}

// Show returns the text of a policy as it is shown: a principal by its current ARN, and a deleted principal by its
// unique id. Source: IAM user guide, policy element Principal.
func (s *Service) Show(ctx context.Context, p meta.BoundPolicy, kind policy.Kind) (string, error) {
	now := map[string]string{}
	for text, id := range p.IDs {
		e, err := s.meta.EntityByID(ctx, id)
		switch {
		case errors.Is(err, fault.NoSuchEntity):
			now[text] = id
		case err != nil:
			return "", err
		default:
			if arn, named, err := name.ParseEntityARN(text); err == nil && named.Kind != name.AssumedRole {
				if shown := name.InPartition(e.ARN(), arn.Partition); shown != text {
					now[text] = shown
				}
			}
		}
	}
	if len(now) == 0 {
		return p.Text, nil
	}
	d, err := policy.ParseStored(p.Text, kind)
	if err != nil {
		return "", err
	}
	return d.With(func(one policy.Principal) string {
		if text, ok := now[one.Text]; ok {
			return text
		}
		return one.Text
	}).String(), nil
}

// OfEntity returns the subject of a user, or of a role in a session. session is the name of the session; "" means
// "session". The subject has the current policies of the entity.
//
// Errors: an error without a code as for Subject, also for an entity that is neither a user nor a role.
func (s *Service) OfEntity(ctx context.Context, e meta.Entity, session string) (*Subject, error) {
	if e.Kind != meta.Role {
		return s.make(ctx, e.Account, &e, nil)
	}
	return s.make(ctx, e.Account, &e, &meta.Session{Kind: meta.RoleSession, Name: cmp.Or(session, "session"), IssuedAt: s.now()})
}

// Named returns the subject of a principal. principal is the ARN of a root user, user, role (in a session called
// "session"), role session, federated user or customer, the 12 digits of an account, a service such as lambda.amazonaws.com, or *
// for an anonymous caller.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (principal has none of these forms); an error without a code as for
// Subject.
func (s *Service) Named(ctx context.Context, principal string) (*Subject, error) {
	if principal == "*" {
		return s.outsider(Caller{Kind: Anonymous})
	}
	if !strings.HasPrefix(principal, "arn:") && strings.HasSuffix(principal, ".amazonaws.com") {
		return s.outsider(Caller{Kind: AWSService, ARN: principal})
	}
	p, err := policy.ParsePrincipal(principal)
	if err != nil {
		return nil, fault.InvalidInput.New("%q names no principal: give the ARN of one, 12 digits of an account, lambda.amazonaws.com, or *",
			name.Clip(principal)).Because(err)
	}
	id, err := s.find(ctx, p)
	if errors.Is(err, fault.AccountNotFound) {
		err = fault.NoSuchEntity.New("the account of %s does not exist here", name.Clip(principal))
	}
	if err != nil {
		return nil, err
	}
	switch p.Kind {
	case policy.Account:
		return s.make(ctx, p.Account, nil, nil)
	case policy.User, policy.Role, policy.RoleSession:
		e, err := s.meta.EntityByID(ctx, id)
		if err != nil {
			return nil, err
		}
		return s.OfEntity(ctx, e, p.Session)
	case policy.FederatedUser:
		// The session policies are not known. A session of the root user with all rights has the widest ones.
		in := meta.Session{Kind: meta.FederatedSession, Name: p.Name, IssuedAt: s.now(), PolicyARNs: []string{administrator}}
		return s.make(ctx, p.Account, nil, &in)
	case policy.Customer:
		return s.customer(ctx, Caller{Kind: Customer, Account: p.Account, ARN: p.Text})
	}
	return nil, fault.InvalidInput.New("%q is no principal that can call", name.Clip(principal))
}

// Delegated returns the subject of a principal, see Named, as if its own account allowed it everything.
//
// Errors: those of Named.
func (s *Service) Delegated(ctx context.Context, principal string) (*Subject, error) {
	u, err := s.Named(ctx, principal)
	if err != nil {
		return nil, err
	}
	free := *u
	free.Identity, free.Boundary, free.Session, free.ControlPolicies = []policy.Named{everything}, nil, nil, nil
	return &free, nil
}

// Stranger returns the subject of a user of an account that does not exist in this installation, to whom that account allows everything.
//
// Errors: those of the store.
func (s *Service) Stranger(ctx context.Context) (*Subject, error) {
	for number := int64(999_999_999_999); ; number-- { // the same account each time, so that answers are alike
		account, err := name.ParseAccount(fmt.Sprintf("%012d", number))
		if err != nil {
			return nil, err
		}
		if _, err := s.meta.Account(ctx, account); err == nil {
			continue
		} else if !errors.Is(err, fault.AccountNotFound) {
			return nil, err
		}
		arn := name.ARN{Partition: name.DefaultPartition, Service: "iam", Account: account, Resource: "user/stranger"}.String()
		u := &Subject{Caller: Caller{Kind: User, Account: account, ARN: arn},
			Policy: policy.Caller{Kind: policy.User, Account: account, ARN: arn}, Identity: []policy.Named{everything}}
		u.Keys.Set("aws:principalarn", arn)
		u.Keys.Set("aws:principaltype", "User")
		u.Keys.Set("aws:principalaccount", account.String())
		return u, nil
	}
}
