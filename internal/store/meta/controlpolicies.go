package meta

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// RegistryPolicy returns a registry's policy; its Text is "" if there is none. The value is shared with the cache and
// must not be changed.
func (s *Store) RegistryPolicy(ctx context.Context, r name.Registry) (BoundPolicy, error) {
	return cached(&s.cache.registries, r, func() (p BoundPolicy, err error) {
		var ids string
		err = s.read.row(ctx, `SELECT policy, policy_ids FROM registry_policies WHERE account = $1 AND region = $2`,
			args{r.Account.String(), r.Region.String()}, &p.Text, &ids)
		if errors.Is(err, sql.ErrNoRows) {
			return BoundPolicy{}, nil
		}
		if err != nil {
			return BoundPolicy{}, err
		}
		p.IDs, err = idsOf(ids)
		return p, err
	})
}

// PutRegistryPolicy sets a registry's policy; an empty Text removes it. Errors: fault.AccountNotFound.
func (s *Store) PutRegistryPolicy(ctx context.Context, r name.Registry, p BoundPolicy) error {
	return s.write.do(ctx, func(t *tx) error { return s.putRegistryPolicy(t, r, p) })
}

// ReplaceRegistryPolicy is PutRegistryPolicy, but only if the registry still has the policy was. Errors: fault.AccountNotFound,
// fault.TargetChanged.
func (s *Store) ReplaceRegistryPolicy(ctx context.Context, r name.Registry, was, p BoundPolicy) error {
	return s.write.do(ctx, func(t *tx) error {
		now := ""
		if _, err := t.one(`SELECT policy FROM registry_policies WHERE account = $1 AND region = $2`,
			args{r.Account.String(), r.Region.String()}, &now); err != nil {
			return err
		}
		if now != was.Text {
			return fault.TargetChanged.New("the policy of the registry %s was set by another request", r)
		}
		return s.putRegistryPolicy(t, r, p)
	})
}

func (s *Store) putRegistryPolicy(t *tx, r name.Registry, p BoundPolicy) error {
	if err := accountExists(t, r.Account); err != nil {
		return err
	}
	t.touch(scope{kind: scopeRegistryPolicies})
	if p.Text == "" {
		n, err := t.exec(`DELETE FROM registry_policies WHERE account = $1 AND region = $2`, r.Account.String(), r.Region.String())
		if err != nil || n == 0 {
			return err
		}
		return t.policyChanged(r, name.Repo{}, event.PolicyChange{Type: event.PolicyRegistry, Deleted: true}, s.now())
	}
	if _, err := t.exec(`INSERT INTO registry_policies (account, region, policy, policy_ids) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account, region) DO UPDATE SET policy = excluded.policy, policy_ids = excluded.policy_ids`,
		r.Account.String(), r.Region.String(), p.Text, idsText(p.IDs)); err != nil {
		return err
	}
	return t.policyChanged(r, name.Repo{}, event.PolicyChange{Type: event.PolicyRegistry}, s.now())
}

// accountText returns an account as it is stored in a column: "" for the zero Account.
func accountText(a name.Account) string {
	if a == (name.Account{}) {
		return ""
	}
	return a.String()
}

// ControlPolicies returns all control policies, ordered by kind, account and name. A policy named FullAccess with an
// empty Text says that the full access, which every level has by default, is removed from this level.
func (s *Store) ControlPolicies(ctx context.Context) ([]ControlPolicy, error) {
	var all []ControlPolicy
	err := s.read.rows(ctx,
		`SELECT kind, account, name, body, updated_at FROM control_policies ORDER BY kind, account, name`, nil,
		func(scan func(...any) error) error {
			var p ControlPolicy
			var account string
			var updated int64
			err := scan(&p.Kind, &account, &p.Name, &p.Text, &updated)
			if err == nil && account != "" {
				p.Account, err = name.ParseAccount(account)
			}
			p.UpdatedAt = fromMicros(updated)
			all = append(all, p)
			return err
		})
	return all, err
}

// PutControlPolicy sets a control policy. Errors: fault.AccountNotFound.
func (s *Store) PutControlPolicy(ctx context.Context, p ControlPolicy) error {
	return s.identity(ctx, func(t *tx) error {
		if p.Account != (name.Account{}) {
			if err := accountExists(t, p.Account); err != nil {
				return err
			}
		}
		_, err := t.exec(`INSERT INTO control_policies (kind, account, name, body, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (kind, account, name) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at`,
			p.Kind, accountText(p.Account), p.Name, p.Text, micros(p.UpdatedAt))
		return err
	})
}

// DeleteControlPolicy deletes a control policy. Errors: fault.ControlPolicyNotFound.
func (s *Store) DeleteControlPolicy(ctx context.Context, kind ControlPolicyKind, account name.Account, policyName string) error {
	return s.identity(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM control_policies WHERE kind = $1 AND account = $2 AND name = $3`, kind, accountText(account), policyName)
		if err == nil && n == 0 {
			err = fault.ControlPolicyNotFound.New(
				"the control policy %s does not exist; `ecrin control-policy list` shows those that do", name.Clip(policyName))
		}
		return err
	})
}
