package meta

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// MaxHosts is the maximum number of host names of an application.
const MaxHosts = 20

// ApplicationHost is a host name of a vendor at which the customers of one application pull.
type ApplicationHost struct {
	Host        string // in lower case, without a port
	Account     name.Account
	Application string // id
	CreatedAt   time.Time
	CreatedBy   string // ARN
}

// PutApplicationHost stores a host name of an application. One that the application has stays as it is.
//
// Errors: fault.ObjectNotFound (the application), fault.ObjectAlreadyExists (another application has it), fault.LimitExceeded.
func (s *Store) PutApplicationHost(ctx context.Context, h ApplicationHost) (ApplicationHost, error) {
	err := s.write.do(ctx, func(t *tx) error {
		var account, has, by string
		found, err := t.one(`SELECT account FROM applications WHERE id = $1`, args{h.Application}, &account)
		if err == nil && (!found || account != h.Account.String()) {
			err = noApplication(h.Application)
		}
		if err != nil {
			return err
		}
		var created int64
		switch found, err = t.one(`SELECT application, created_at, created_by FROM application_hosts WHERE host = $1`, args{h.Host}, &has,
			&created, &by); {
		case err != nil:
			return err
		case found && has != h.Application:
			return fault.ObjectAlreadyExists.New("another application has the host %s", h.Host)
		case found:
			h.CreatedAt, h.CreatedBy = fromMicros(created), by
			return nil
		}
		if err := t.room(`SELECT COUNT(*) FROM application_hosts WHERE application = $1`, h.Application, MaxHosts,
			"host names of an application"); err != nil {
			return err
		}
		now := micros(s.now())
		h.CreatedAt = fromMicros(now)
		t.touch(scope{kind: scopeIdentity})
		_, err = t.exec(`INSERT INTO application_hosts (host, account, application, created_at, created_by) VALUES ($1, $2, $3, $4, $5)`,
			h.Host, h.Account.String(), h.Application, now, h.CreatedBy)
		return err
	})
	return h, err
}

// DeleteApplicationHost deletes a host name of an application. Errors: fault.ObjectNotFound.
func (s *Store) DeleteApplicationHost(ctx context.Context, application, host string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM application_hosts WHERE host = $1 AND application = $2`, host, application)
		if err == nil && n == 0 {
			err = fault.ObjectNotFound.New("the application has no host %s", name.Clip(host))
		}
		t.touch(scope{kind: scopeIdentity})
		return err
	})
}

// ApplicationHosts returns the host names of an application, or of all for "", in their order. They change with IdentityGeneration.
func (s *Store) ApplicationHosts(ctx context.Context, application string) (all []ApplicationHost, err error) {
	query, values := `SELECT host, account, application, created_at, created_by FROM application_hosts`, args{}
	if application != "" {
		query, values = `SELECT host, account, application, created_at, created_by FROM application_hosts WHERE application = $1`,
			args{application}
	}
	err = s.read.rows(ctx, query, values, func(scan func(...any) error) error {
		var h ApplicationHost
		var account string
		var created int64
		err := scan(&h.Host, &account, &h.Application, &created, &h.CreatedBy)
		if err == nil {
			h.Account, err = name.ParseAccount(account)
		}
		h.CreatedAt = fromMicros(created)
		all = append(all, h)
		return err
	})
	slices.SortFunc(all, func(a, b ApplicationHost) int { return cmp.Compare(a.Host, b.Host) })
	return all, err
}
