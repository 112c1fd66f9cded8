package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func insertVersion(t *tx, policyID string, v PolicyVersion) error {
	_, err := t.exec(`INSERT INTO policy_versions (policy, number, body, created_at) VALUES ($1, $2, $3, $4)`, policyID,
		v.Number, v.Text, micros(v.CreatedAt))
	return err
}

// CreatePolicyVersion adds a version to a managed policy, with the number after the highest one ever used. A policy
// has at most maxCount versions. With setDefault the version becomes the default. The policy's UpdatedAt is set to
// the current time. Errors: fault.LimitExceeded, fault.NoSuchEntity.
func (s *Store) CreatePolicyVersion(ctx context.Context, policyID, text string, setDefault bool, maxCount int) (PolicyVersion, error) {
	now := fromMicros(micros(s.now()))
	var v PolicyVersion
	err := s.identity(ctx, func(t *tx) error {
		var last, standard, n int
		found, err := t.one(`SELECT last_version, default_version FROM entities WHERE id = $1`, args{policyID}, &last, &standard)
		if err != nil {
			return err
		}
		if !found {
			return noSuchID(policyID)
		}
		if _, err := t.one(`SELECT COUNT(*) FROM policy_versions WHERE policy = $1`, args{policyID}, &n); err != nil {
			return err
		}
		if n >= maxCount {
			return fault.LimitExceeded.New("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxCount)
		}
		v = PolicyVersion{Number: last + 1, Text: text, CreatedAt: now}
		if setDefault {
			standard = v.Number
		}
		if err := insertVersion(t, policyID, v); err != nil {
			return err
		}
		_, err = t.exec(`UPDATE entities SET last_version = $2, default_version = $3, updated_at = $4 WHERE id = $1`, policyID,
			v.Number, standard, micros(now))
		return err
	})
	if err != nil {
		return PolicyVersion{}, err
	}
	return v, nil
}

// DeletePolicyVersion deletes a version. Errors: fault.NoSuchEntity, fault.DeleteConflict (the default version).
func (s *Store) DeletePolicyVersion(ctx context.Context, policyID string, number int) error {
	return s.identity(ctx, func(t *tx) error {
		var standard int
		if _, err := t.one(`SELECT default_version FROM entities WHERE id = $1`, args{policyID}, &standard); err != nil {
			return err
		}
		if number == standard {
			return fault.DeleteConflict.New("Cannot delete the default version of a policy.")
		}
		n, err := t.exec(`DELETE FROM policy_versions WHERE policy = $1 AND number = $2`, policyID, number)
		if err == nil && n == 0 {
			err = fault.NoSuchEntity.New("Version v%d does not exist.", number)
		}
		return err
	})
}

// PolicyVersions returns the versions of a managed policy, newest first.
func (s *Store) PolicyVersions(ctx context.Context, policyID string) ([]PolicyVersion, error) {
	var all []PolicyVersion
	err := s.read.rows(ctx, `SELECT number, body, created_at FROM policy_versions WHERE policy = $1 ORDER BY number DESC`,
		args{policyID}, func(scan func(...any) error) error {
			var v PolicyVersion
			var created int64
			err := scan(&v.Number, &v.Text, &created)
			v.CreatedAt = fromMicros(created)
			all = append(all, v)
			return err
		})
	return all, err
}
