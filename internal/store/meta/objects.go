package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The kinds of objects, and of what uses them.
const (
	KindCloud       = "cloud-integration"
	KindRuntime     = "runtime"
	KindCluster     = "cluster"
	KindIntegration = "integration" // which is stored as an [Integration]
	KindRancher     = "rancher-environment"
)

// Object is a named thing of an account into whose settings no query looks.
type Object struct {
	Account   name.Account
	Kind      string
	Name      string       // of the account and the kind
	Settings  string       // JSON of the kind, without secrets
	Sealed    []byte       // its secrets, sealed with the ARN as the context; not empty
	Uses      []ObjectName // what it names; only for PutObject
	Version   int64        // changes with each change of the fields above
	TestedAt  time.Time
	Error     string // of the last test; "" after a success
	CreatedAt time.Time
	UpdatedAt time.Time
	CreatedBy string // ARN
}

// ObjectName names an object of the account of what uses it.
type ObjectName struct{ Kind, Name string }

// ARN returns the ARN of an object, which is the resource of its operations and the context of its seal.
func (o Object) ARN() string {
	return name.ARN{Partition: "aws", Service: "ecrin", Account: o.Account, Resource: o.Kind + "/" + o.Name}.String()
}

// MaxObjects limits the objects of each kind of an account; of environments of Rancher, whose rows are larger, it has MaxRancher.
const (
	MaxObjects = 500
	MaxRancher = 20
)

// labels are the kinds in messages.
var labels = map[string]string{KindCloud: "cloud integration", KindRuntime: "runtime", KindCluster: "cluster",
	KindIntegration: "integration", KindRancher: "Rancher environment"}

func noObject(kind, label string) error {
	return fault.ObjectNotFound.New("there is no %s %s in this account", labels[kind], name.Clip(label))
}

const objectColumns = `name, settings, sealed, version, tested_at, error, created_at, updated_at, created_by`

func scanObject(account name.Account, kind string, scan func(...any) error) (Object, error) {
	o := Object{Account: account, Kind: kind}
	var tested, created, updated int64
	err := scan(&o.Name, &o.Settings, &o.Sealed, &o.Version, &tested, &o.Error, &created, &updated, &o.CreatedBy)
	o.TestedAt, o.CreatedAt, o.UpdatedAt = fromMicros(tested), fromMicros(created), fromMicros(updated)
	return o, err
}

// PutObject stores an object. With the version 0 it is a new one, else it replaces the one with that version. It sets version and
// times, and forgets the last test.
//
// Errors: fault.AccountNotFound, fault.ObjectAlreadyExists, fault.ObjectNotFound (itself, or one that it uses), fault.TargetChanged
// (another request has changed it), fault.LimitExceeded.
func (s *Store) PutObject(ctx context.Context, o Object) (Object, error) {
	err := s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, o.Account); err != nil {
			return err
		}
		account := o.Account.String()
		var version, created int64
		found, err := t.one(`SELECT version, created_at FROM objects WHERE account = $1 AND kind = $2 AND name = $3`,
			args{account, o.Kind, o.Name}, &version, &created)
		now := micros(s.now())
		switch {
		case err != nil:
			return err
		case o.Version == 0 && found:
			return fault.ObjectAlreadyExists.New("the account already has a %s %s", labels[o.Kind], o.Name)
		case o.Version == 0:
			if err := t.roomForObject(o); err != nil {
				return err
			}
			created = now
		case !found:
			return noObject(o.Kind, o.Name)
		case version != o.Version:
			return fault.TargetChanged.New("the %s %s has been changed by another request", labels[o.Kind], o.Name)
		}
		if o.Version, err = t.newID(s.now()); err != nil {
			return err
		}
		o.CreatedAt, o.UpdatedAt, o.TestedAt, o.Error = fromMicros(created), fromMicros(now), time.Time{}, ""
		if _, err := t.exec(`INSERT INTO objects (account, kind, `+objectColumns+`) VALUES ($1, $2, $3, $4, $5, $6, 0, '', $7, $8, $9)
			ON CONFLICT (account, kind, name) DO UPDATE SET settings = excluded.settings, sealed = excluded.sealed, version = excluded.version,
			tested_at = 0, error = '', updated_at = excluded.updated_at`,
			account, o.Kind, o.Name, o.Settings, o.Sealed, o.Version, created, now, o.CreatedBy); err != nil {
			return err
		}
		if err := t.setUses(o.Account, o.Kind, o.Name, o.Uses); err != nil || o.Kind != KindCloud {
			return err
		}
		return t.configChanged(o.Account, fromMicros(now)) // integrations that name it have other credentials
	})
	return o, err
}

// roomForObject checks that the account has room for one more object of a kind. Errors: fault.LimitExceeded.
func (t *tx) roomForObject(o Object) error {
	n, limit := 0, MaxObjects
	if o.Kind == KindRancher {
		limit = MaxRancher
	}
	_, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM objects WHERE account = $1 AND kind = $2 LIMIT $3) q`,
		args{o.Account.String(), o.Kind, limit}, &n)
	if err == nil && n >= limit {
		err = fault.LimitExceeded.New("an account can have at most %d objects of the kind %s", limit, labels[o.Kind])
	}
	return err
}

// setUses stores what an object or an integration names, instead of what it named before. Errors: fault.ObjectNotFound.
func (t *tx) setUses(of name.Account, kind, label string, uses []ObjectName) error {
	account := of.String()
	if _, err := t.exec(`DELETE FROM object_uses WHERE account = $1 AND user_kind = $2 AND user_name = $3`, account, kind, label); err != nil {
		return err
	}
	for _, u := range uses {
		var one int
		found, err := t.one(`SELECT 1 FROM objects WHERE account = $1 AND kind = $2 AND name = $3`, args{account, u.Kind, u.Name}, &one)
		if err == nil && !found {
			err = noObject(u.Kind, u.Name)
		}
		if err == nil {
			_, err = t.exec(`INSERT INTO object_uses (account, user_kind, user_name, kind, name) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT DO NOTHING`, account, kind, label, u.Kind, u.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Object returns an object. Errors: fault.ObjectNotFound.
func (s *Store) Object(ctx context.Context, account name.Account, kind, label string) (Object, error) {
	return scanObject(account, kind, func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+objectColumns+` FROM objects WHERE account = $1 AND kind = $2 AND name = $3`,
			args{account.String(), kind, label}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noObject(kind, label)
		}
		return err
	})
}

// Objects returns the objects of a kind of an account, at most MaxObjects, in the order of their names.
func (s *Store) Objects(ctx context.Context, account name.Account, kind string) (all []Object, err error) {
	err = s.read.rows(ctx, `SELECT `+objectColumns+` FROM objects WHERE account = $1 AND kind = $2 ORDER BY name`,
		args{account.String(), kind}, func(scan func(...any) error) error {
			one, err := scanObject(account, kind, scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// ObjectTested stores how a test of an object has ended: problem is "" for success. A version that is not stored any more changes nothing.
func (s *Store) ObjectTested(ctx context.Context, o Object, problem string) error {
	if len(problem) > maxJobError {
		problem = cutText(problem, maxJobError)
	}
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE objects SET error = $4, tested_at = $5 WHERE account = $1 AND kind = $2 AND name = $3 AND version = $6`,
			o.Account.String(), o.Kind, o.Name, problem, micros(s.now()), o.Version)
		return err
	})
}

// DeleteObject deletes an object that nothing uses.
//
// Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Store) DeleteObject(ctx context.Context, account name.Account, kind, label string) error {
	return s.write.do(ctx, func(t *tx) error {
		var userKind, userName string
		found, err := t.one(`SELECT user_kind, user_name FROM object_uses WHERE account = $1 AND kind = $2 AND name = $3
			ORDER BY user_kind, user_name LIMIT 1`, args{account.String(), kind, label}, &userKind, &userName)
		if err == nil && found {
			err = fault.ObjectInUse.New("the %s %s is used by the %s %s", labels[kind], label, labels[userKind], userName)
		}
		if err == nil {
			err = t.setUses(account, kind, label, nil)
		}
		if err != nil {
			return err
		}
		n, err := t.exec(`DELETE FROM objects WHERE account = $1 AND kind = $2 AND name = $3`, account.String(), kind, label)
		if err == nil && n == 0 {
			err = noObject(kind, label)
		}
		return err
	})
}
