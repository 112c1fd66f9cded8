package meta

import (
	"context"
	"strings"
	"unicode"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// PutInline sets an inline policy of a user, group or role. maxChars limits the characters of all its inline policies
// together, white space not counted. Errors: fault.LimitExceeded, fault.NoSuchEntity.
func (s *Store) PutInline(ctx context.Context, id string, p Inline, maxChars int) error {
	return s.ReplaceInline(ctx, id, p, maxChars, nil)
}

// ReplaceInline is PutInline, but only if check, which gets the text of the policy of now, "" for none, returns no error. check may run
// more than once; nil is none. Errors: those of PutInline and check.
func (s *Store) ReplaceInline(ctx context.Context, id string, p Inline, maxChars int, check func(now string) error) error {
	return s.identity(ctx, func(t *tx) error {
		if err := checkEntity(t, id); err != nil {
			return err
		}
		if check != nil {
			now := ""
			if _, err := t.one(`SELECT body FROM entity_policies WHERE entity = $1 AND name = $2`, args{id, p.Name}, &now); err != nil {
				return err
			}
			if err := check(now); err != nil {
				return err
			}
		}
		if _,
			err := t.exec(`INSERT INTO entity_policies (entity, name, body) VALUES ($1, $2, $3) ON CONFLICT (entity, name) DO UPDATE SET body = excluded.body`,
			id, p.Name, p.Text); err != nil {
			return err
		}
		total := 0
		err := t.rows(t.ctx, `SELECT body FROM entity_policies WHERE entity = $1`, args{id}, func(scan func(...any) error) error {
			var body string
			err := scan(&body)
			total += printed(body)
			return err
		})
		if err == nil && total > maxChars {
			err = fault.LimitExceeded.New(
				"Maximum policy size of %d bytes exceeded: all inline policies together have %d characters", maxChars, total)
		}
		return err
	})
}

// printed counts the characters of a policy that count against the limit of all inline policies together: all but
// white space, also inside strings, unlike the limit of a single policy. Source: IAM quotas.
func printed(text string) int {
	n := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// DeleteInline deletes an inline policy. Errors: fault.NoSuchEntity.
func (s *Store) DeleteInline(ctx context.Context, id, policyName string) error {
	return s.identity(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM entity_policies WHERE entity = $1 AND name = $2`, id, policyName)
		if err == nil && n == 0 {
			err = fault.NoSuchEntity.New("The policy with name %s cannot be found.", name.Clip(policyName))
		}
		return err
	})
}

// Inlines returns the inline policies of an entity, ordered by name.
func (s *Store) Inlines(ctx context.Context, id string) ([]Inline, error) {
	var all []Inline
	err := s.read.rows(ctx, `SELECT name, body FROM entity_policies WHERE entity = $1 ORDER BY name`, args{id},
		func(scan func(...any) error) error {
			var p Inline
			err := scan(&p.Name, &p.Text)
			all = append(all, p)
			return err
		})
	return all, err
}

// Attach attaches a managed policy; attaching it twice is not an error. A policy of a customer must exist at the time
// of the transaction. Errors: fault.LimitExceeded (more than maxCount), fault.NoSuchEntity (the policy, or the
// entity).
func (s *Store) Attach(ctx context.Context, id, policyARN string, maxCount int) error {
	return s.identity(ctx, func(t *tx) error {
		var owner string
		found, err := t.one(`SELECT account FROM entities WHERE id = $1`, args{id}, &owner)
		if err == nil && !found {
			err = noSuchID(id)
		}
		if err != nil {
			return err
		}
		account, err := name.ParseAccount(owner)
		if err != nil {
			return err
		}
		if err := policyExists(t, account, policyARN); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO entity_attachments (entity, policy) VALUES ($1, $2) ON CONFLICT (entity, policy) DO NOTHING`, id,
			policyARN); err != nil {
			return err
		}
		var n int
		_, err = t.one(`SELECT COUNT(*) FROM entity_attachments WHERE entity = $1`, args{id}, &n)
		if err == nil && n > maxCount {
			err = overQuota(attachmentQuota(id), maxCount)
		}
		return err
	})
}

// attachmentQuota returns IAM's name of the limit of attachments. The prefix of the unique id says the kind of the
// entity.
func attachmentQuota(id string) string {
	switch {
	case isUser(id):
		return "PoliciesPerUser"
	case strings.HasPrefix(id, "AGPA"):
		return "PoliciesPerGroup"
	}
	return "PoliciesPerRole"
}

// Detach removes an attachment. Errors: fault.NoSuchEntity.
func (s *Store) Detach(ctx context.Context, id, policyARN string) error {
	return s.identity(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM entity_attachments WHERE entity = $1 AND policy = $2`, id, policyARN)
		if err == nil && n == 0 {
			err = fault.NoSuchEntity.New("Policy %s was not found.", name.Clip(policyARN))
		}
		return err
	})
}

// Attachments returns the ARNs of the managed policies attached to an entity, sorted.
func (s *Store) Attachments(ctx context.Context, id string) ([]string, error) {
	var all []string
	err := s.read.rows(ctx, `SELECT policy FROM entity_attachments WHERE entity = $1 ORDER BY policy`, args{id},
		func(scan func(...any) error) error {
			var arn string
			err := scan(&arn)
			all = append(all, arn)
			return err
		})
	return all, err
}

// AttachedTo returns the entities of an account that a managed policy is attached to, then those whose boundary it
// is, each ordered by kind and name.
func (s *Store) AttachedTo(ctx context.Context, account name.Account, policyARN string) ([]Attached, error) {
	var all []Attached
	attached, err := s.entities(ctx, `SELECT `+entityColumnsOf+` FROM entity_attachments a JOIN entities e ON e.id = a.entity
		WHERE a.policy = $1 AND e.account = $2`, policyARN, account.String())
	if err != nil {
		return nil, err
	}
	byName(attached)
	for _, e := range attached {
		all = append(all, Attached{Entity: e})
	}
	bounded, err := s.entities(ctx, `SELECT `+entityColumns+
		` FROM entities WHERE account = $1 AND boundary = $2 AND boundary <> '' ORDER BY kind, name`,
		account.String(), policyARN)
	for _, e := range bounded {
		all = append(all, Attached{Entity: e, Boundary: true})
	}
	return all, err
}

// AttachmentCounts returns, for each managed policy that is in use in an account, how many entities it is attached to
// and of how many it is the boundary.
func (s *Store) AttachmentCounts(ctx context.Context, account name.Account) (attached, boundary map[string]int, err error) {
	attached, boundary = map[string]int{}, map[string]int{}
	into := func(counts map[string]int) func(func(...any) error) error {
		return func(scan func(...any) error) error {
			var arn string
			var n int
			err := scan(&arn, &n)
			counts[arn] = n
			return err
		}
	}
	if err := s.read.rows(ctx,
		`SELECT a.policy, COUNT(*) FROM entities e JOIN entity_attachments a ON a.entity = e.id WHERE e.account = $1 GROUP BY a.policy`,
		args{account.String()}, into(attached)); err != nil {
		return nil, nil, err
	}
	err = s.read.rows(ctx, `SELECT boundary, COUNT(*) FROM entities WHERE account = $1 AND boundary <> '' GROUP BY boundary`,
		args{account.String()}, into(boundary))
	return attached, boundary, err
}
