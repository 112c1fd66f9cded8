package meta

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// AccessState is the state of a request for access.
type AccessState int

// The states, as they are stored.
const (
	AccessOpen AccessState = iota
	AccessGranted
	AccessRefused
	AccessWithdrawn
	AccessEnded   // the grant
	AccessExpired // nobody has decided
)

// The times and limits of requests for access.
const (
	AccessOpenFor   = 30 * 24 * time.Hour // since a request was asked last
	AccessClosedFor = 24 * time.Hour      // a refused request cannot be asked again, and a withdrawn one holds its place
	AccessKeptFor   = 90 * 24 * time.Hour // closed requests
	// The places of requests that are open, or were refused or withdrawn in the last day.
	MaxAccessOfPrincipal = 20   // of one principal
	MaxAccessOfAccount   = 200  // of all principals of an account
	MaxAccessOfOwner     = 1000 // for the repositories of an account, by its own principals; and as many by all others
	MaxAccessShare       = 20   // of these, by the principals of one other account
	MaxAccessGrants      = 500  // of a repository, that have not ended
)

// AccessRequest is a request of a principal for access to a repository.
type AccessRequest struct {
	ID           int64
	Registry     name.Registry
	Name         name.Repo
	Repository   int64  // the number that the repository had when it was asked for; 0 if it did not exist
	Permission   string // PULL or PUSH
	Account      name.Account
	Principal    string // unique id of a user or role; the digits of an account for its root user
	PrincipalARN string
	Reason       string
	Asked        int64 // how often
	CreatedAt    time.Time
	AskedAt      time.Time
	State        AccessState
	Until        time.Time // when an open request expires, a grant ends, or another one can be asked again
	DecidedAt    time.Time // zero for an open request
	DecidedBy    string    // ARN
	Note         string    // of the decision
}

const accessColumns = `id, account, region, name, repository, permission, asking_account, principal, principal_arn, reason, asked, created_at,
	asked_at, state, until, decided_at, decided_by, note`

func scanAccess(scan func(...any) error) (r AccessRequest, err error) {
	var account, region, repo, asking string
	var created, asked, until, decided int64
	if err := scan(&r.ID, &account, &region, &repo, &r.Repository, &r.Permission, &asking, &r.Principal, &r.PrincipalARN, &r.Reason, &r.Asked,
		&created, &asked, &r.State, &until, &decided, &r.DecidedBy, &r.Note); err != nil {
		return AccessRequest{}, err
	}
	r.CreatedAt, r.AskedAt, r.Until, r.DecidedAt = fromMicros(created), fromMicros(asked), fromMicros(until), fromMicros(decided)
	var err1, err2, err3, err4 error
	r.Registry.Account, err1 = name.ParseAccount(account)
	r.Registry.Region, err2 = name.ParseRegion(region)
	r.Name, err3 = name.ParseRepo(repo)
	r.Account, err4 = name.ParseAccount(asking)
	return r, errors.Join(err1, err2, err3, err4)
}

// StateAt returns the state at a time: an open request expires and a grant ends without a change of its row.
func (r AccessRequest) StateAt(now time.Time) AccessState {
	switch {
	case r.State == AccessOpen && !now.Before(r.Until):
		return AccessExpired
	case r.State == AccessGranted && !now.Before(r.Until):
		return AccessEnded
	}
	return r.State
}

// pool returns the key of the places that a request takes: those for the principals of the owner, or those for all others.
func (r AccessRequest) pool() string {
	if r.Account == r.Registry.Account {
		return r.Registry.Account.String() + " own"
	}
	return r.Registry.Account.String() + " others"
}

// share returns the key of the part of the pool that the account of the principal may take.
func (r AccessRequest) share() string { return r.Registry.Account.String() + " " + r.Account.String() }

// event returns the event of a change of the request, by the caller of the write.
func (r AccessRequest) event(t *tx, action event.AccessAction, at time.Time) event.Event {
	e := event.Access{Action: action, Repository: r.Name, ID: strconv.FormatInt(r.ID, 10), Requester: r.PrincipalARN, Permission: r.Permission,
		Principal: t.by}
	if action == event.AccessGranted || action == event.AccessEnded {
		e.Until = r.Until
	}
	return event.AccessChanged(t.origin(r.Registry, at), e)
}

func noAccessRequest(id int64) error {
	return fault.ObjectNotFound.New("there is no request for access with the id %d", id)
}

// RequestAccess stores a request for access, of the fields up to Reason. A request that is open already is asked once more: its count
// grows, it expires later, and a reason replaces the earlier one. One that was withdrawn less than a day ago is opened again. Both have no
// event of their own, and hold the place that they have.
//
// Errors: fault.InvalidInput (the owner has refused it less than AccessClosedFor ago), fault.LimitExceeded (the places of the principal,
// its account or the owner are taken; nothing is replaced).
func (s *Store) RequestAccess(ctx context.Context, r AccessRequest) (out AccessRequest, merged bool, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		out, merged = r, false
		now := s.now()
		held, err := t.heldAccess(r.Principal, now)
		if err != nil {
			return err
		}
		for _, have := range held {
			if have.Registry != r.Registry || have.Name != r.Name || have.Repository != r.Repository || have.Permission != r.Permission {
				continue
			}
			if have.State == AccessRefused {
				return fault.InvalidInput.New("the owner has refused this request: it can be asked again after %s",
					have.Until.UTC().Format(time.RFC3339))
			}
			have.State, have.Asked, have.AskedAt, have.Until = AccessOpen, have.Asked+1, fromMicros(micros(now)), now.Add(AccessOpenFor)
			have.DecidedAt, have.DecidedBy, have.Note, have.PrincipalARN = time.Time{}, "", "", r.PrincipalARN
			if r.Reason != "" {
				have.Reason = r.Reason
			}
			out, merged = have, true
			return t.putAccess(have)
		}
		if err := t.roomForAccess(r, len(held), now); err != nil {
			return err
		}
		if out.ID, err = t.newID(now); err != nil {
			return err
		}
		out.State, out.Asked, out.CreatedAt, out.AskedAt = AccessOpen, 1, fromMicros(micros(now)), fromMicros(micros(now))
		out.Until = fromMicros(micros(now.Add(AccessOpenFor)))
		if _, err := t.exec(`INSERT INTO access_requests (`+accessColumns+`, pool, share, held_until)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
			out.ID, out.Registry.Account.String(), out.Registry.Region.String(), out.Name.String(), out.Repository, out.Permission,
			out.Account.String(), out.Principal, out.PrincipalARN, out.Reason, out.Asked, micros(out.CreatedAt), micros(out.AskedAt), out.State,
			micros(out.Until), 0, "", "", out.pool(), out.share(), micros(out.Until)); err != nil {
			return err
		}
		var one int
		owned, err := t.one(`SELECT 1 FROM accounts WHERE id = $1`, args{out.Registry.Account.String()}, &one)
		if err != nil || !owned { // nobody is told, and the caller does not learn that the account does not exist
			return err
		}
		return t.event(out.event(t, event.AccessRequested, now))
	})
	return out, merged, err
}

// heldAccess returns the requests of a principal that hold a place, at most about MaxAccessOfPrincipal.
func (t *tx) heldAccess(principal string, now time.Time) (all []AccessRequest, err error) {
	err = t.rows(t.ctx, `SELECT `+accessColumns+` FROM access_requests WHERE principal = $1 AND held_until > $2`,
		args{principal, micros(now)}, func(scan func(...any) error) error {
			r, err := scanAccess(scan)
			all = append(all, r)
			return err
		})
	return all, err
}

// roomForAccess checks that there is a place for one more request of a principal that holds some.
// Errors: fault.LimitExceeded.
func (t *tx) roomForAccess(r AccessRequest, held int, now time.Time) error {
	if held >= MaxAccessOfPrincipal {
		return fault.LimitExceeded.New("%s has %d requests for access, which is the maximum: withdraw one, or wait until one is decided",
			name.Clip(r.PrincipalARN), MaxAccessOfPrincipal)
	}
	at, owner, asking := micros(now), r.Registry.Account.String(), r.Account.String()
	for _, c := range []struct {
		text string
		key  string
		max  int
		what string
	}{
		{`SELECT COUNT(*) FROM (SELECT 1 FROM access_requests WHERE asking_account = $1 AND held_until > $2 LIMIT $3) q`,
			asking, MaxAccessOfAccount, "the principals of the account " + asking + " have"},
		{`SELECT COUNT(*) FROM (SELECT 1 FROM access_requests WHERE pool = $1 AND held_until > $2 LIMIT $3) q`,
			r.pool(), MaxAccessOfOwner, "the account " + owner + " has to decide about"},
		{`SELECT COUNT(*) FROM (SELECT 1 FROM access_requests WHERE share = $1 AND held_until > $2 LIMIT $3) q`,
			r.share(), MaxAccessShare, "of principals of the account " + asking + ", the account " + owner + " has"},
	} {
		if c.max == MaxAccessShare && r.Account == r.Registry.Account {
			continue
		}
		var n int
		if _, err := t.one(c.text, args{c.key, at, c.max}, &n); err != nil {
			return err
		}
		if n >= c.max {
			return fault.LimitExceeded.New("%s %d requests for access, which is the maximum: try again when some are decided", c.what, c.max)
		}
	}
	return nil
}

// putAccess stores what changes of a request.
func (t *tx) putAccess(r AccessRequest) error {
	held := micros(r.Until)
	if r.State != AccessOpen && r.State != AccessRefused && r.State != AccessWithdrawn {
		held = 0
	}
	_, err := t.exec(`UPDATE access_requests SET principal_arn = $2, reason = $3, asked = $4, asked_at = $5, state = $6, until = $7,
		held_until = $8, decided_at = $9, decided_by = $10, note = $11 WHERE id = $1`, r.ID, r.PrincipalARN, r.Reason, r.Asked,
		micros(r.AskedAt), r.State, micros(r.Until), held, micros(r.DecidedAt), r.DecidedBy, r.Note)
	return err
}

// accessIn returns a request, inside the transaction, if it has the given state now.
// Errors: fault.ObjectNotFound, fault.InvalidInput (it has another state).
func (t *tx) accessIn(id int64, want AccessState, now time.Time) (AccessRequest, error) {
	r, err := scanAccess(func(dest ...any) error {
		return t.row(t.ctx, `SELECT `+accessColumns+` FROM access_requests WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return r, noAccessRequest(id)
	}
	if is := r.StateAt(now); err == nil && is != want {
		err = fault.InvalidInput.New("the request for access %d is %s, and not %s", id, is, want)
	}
	return r, err
}

// String returns the word for a state.
func (a AccessState) String() string {
	return [...]string{"open", "granted", "refused", "withdrawn", "ended", "expired"}[a]
}

// AccessRequest returns a request for access. Errors: fault.ObjectNotFound.
func (s *Store) AccessRequest(ctx context.Context, id int64) (AccessRequest, error) {
	r, err := scanAccess(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+accessColumns+` FROM access_requests WHERE id = $1`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = noAccessRequest(id)
	}
	return r, err
}

func (s *Store) accessRows(ctx context.Context, text string, values ...any) (all []AccessRequest, err error) {
	err = s.read.rows(ctx, text, values, func(scan func(...any) error) error {
		r, err := scanAccess(scan)
		all = append(all, r)
		return err
	})
	return all, err
}

// AccessRequests lists requests for access to the repositories of a registry, the newest first: those with an id below the given one, at
// most limit.
func (s *Store) AccessRequests(ctx context.Context, r name.Registry, below int64, limit int) ([]AccessRequest, error) {
	return s.accessRows(ctx, `SELECT `+accessColumns+` FROM access_requests WHERE account = $1 AND region = $2 AND id < $3
		ORDER BY id DESC LIMIT $4`, r.Account.String(), r.Region.String(), below, limit)
}

// AccessRequestsIn is AccessRequests of those with a state. Ones that expired or ended in the last minute may be missing with these states.
func (s *Store) AccessRequestsIn(ctx context.Context, r name.Registry, state AccessState, below int64, limit int) ([]AccessRequest, error) {
	after := int64(-1)
	if state == AccessOpen || state == AccessGranted {
		after = micros(s.now())
	}
	return s.accessRows(ctx, `SELECT `+accessColumns+` FROM access_requests WHERE account = $1 AND region = $2 AND state = $3 AND id < $4
		AND until > $5 ORDER BY id DESC LIMIT $6`, r.Account.String(), r.Region.String(), state, below, after, limit)
}

// CountOpenAccessRequests counts the open requests for access to the repositories of a registry, up to a limit.
func (s *Store) CountOpenAccessRequests(ctx context.Context, r name.Registry, limit int) (n int, err error) {
	err = s.read.row(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM access_requests WHERE account = $1 AND region = $2 AND state = 0
		AND until > $3 LIMIT $4) counted`, args{r.Account.String(), r.Region.String(), micros(s.now()), limit}, &n)
	return n, err
}

// AccessRequestsOf lists the requests for access of a principal, as AccessRequests.
func (s *Store) AccessRequestsOf(ctx context.Context, principal string, below int64, limit int) ([]AccessRequest, error) {
	return s.accessRows(ctx, `SELECT `+accessColumns+` FROM access_requests WHERE principal = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
		principal, below, limit)
}

// AccessGrant is what was granted by a request: a policy of a repository, for one principal, until a time.
type AccessGrant struct {
	Request    int64 // id
	Repository int64
	Principal  string // as that of the request
	Policy     BoundPolicy
	EndsAt     time.Time
}

// GrantAccess grants an open request until a time. The repository must be the one that was asked for, and the principal must exist.
//
// Errors: fault.ObjectNotFound, fault.InvalidInput (the request is not open any more; the principal was deleted; the repository was made
// after the request), fault.RepositoryNotFound, fault.LimitExceeded.
func (s *Store) GrantAccess(ctx context.Context, r Repository, g AccessGrant, note string) (out AccessRequest, err error) {
	g.EndsAt = fromMicros(micros(g.EndsAt))
	err = s.write.do(ctx, func(t *tx) error {
		now := s.now()
		if out, err = t.accessIn(g.Request, AccessOpen, now); err != nil {
			return err
		}
		if err := checkRepository(t, r); err != nil {
			return err
		}
		if out.Repository != r.ID {
			return fault.InvalidInput.New("the repository '%s' was made after it was asked for: it must be asked for again", r.Name)
		}
		if err := t.principalExists(out); err != nil {
			return err
		}
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM access_grants WHERE repository = $1 AND ends_at > $2 LIMIT $3) q`,
			args{r.ID, micros(now), MaxAccessGrants}, &n); err != nil {
			return err
		}
		if n >= MaxAccessGrants {
			return fault.LimitExceeded.New("a repository can have at most %d grants of access: allow more by its policy", MaxAccessGrants)
		}
		t.touch(scope{kind: scopeAccess, repository: r.ID})
		if _, err := t.exec(`INSERT INTO access_grants (request, repository, principal, policy, policy_ids, ends_at)
			VALUES ($1, $2, $3, $4, $5, $6)`, out.ID, r.ID, out.Principal, g.Policy.Text, idsText(g.Policy.IDs), micros(g.EndsAt)); err != nil {
			return err
		}
		out.State, out.Until = AccessGranted, g.EndsAt
		out.DecidedAt, out.DecidedBy, out.Note = fromMicros(micros(now)), t.by, note
		if err := t.putAccess(out); err != nil {
			return err
		}
		return t.event(out.event(t, event.AccessGranted, now))
	})
	return out, err
}

// principalExists checks, inside the transaction, that the principal of a request was not deleted. Errors: fault.InvalidInput.
func (t *tx) principalExists(r AccessRequest) error {
	var one int
	text := `SELECT 1 FROM entities WHERE id = $1`
	if r.Principal == r.Account.String() {
		text = `SELECT 1 FROM accounts WHERE id = $1`
	}
	found, err := t.one(text, args{r.Principal}, &one)
	if err == nil && !found {
		err = fault.InvalidInput.New("%s, which has asked, does not exist any more", name.Clip(r.PrincipalARN))
	}
	return err
}

// CloseAccess refuses or withdraws an open request.
//
// Errors: fault.ObjectNotFound, fault.InvalidInput (the request is not open any more).
func (s *Store) CloseAccess(ctx context.Context, id int64, state AccessState, note string) (out AccessRequest, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now := s.now()
		if out, err = t.accessIn(id, AccessOpen, now); err != nil {
			return err
		}
		out.State, out.Until = state, fromMicros(micros(now.Add(AccessClosedFor)))
		out.DecidedAt, out.DecidedBy, out.Note = fromMicros(micros(now)), t.by, note
		if err := t.putAccess(out); err != nil || state != AccessRefused {
			return err
		}
		return t.event(out.event(t, event.AccessRefused, now))
	})
	return out, err
}

// RevokeAccess ends a grant now.
//
// Errors: fault.ObjectNotFound, fault.InvalidInput (it has ended, or nothing was granted).
func (s *Store) RevokeAccess(ctx context.Context, id int64, note string) (out AccessRequest, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now := s.now()
		if out, err = t.accessIn(id, AccessGranted, now); err != nil {
			return err
		}
		out.Until, out.DecidedAt, out.DecidedBy, out.Note = fromMicros(micros(now)), fromMicros(micros(now)), t.by, note
		return t.endAccess(out, now)
	})
	return out, err
}

// endAccess deletes the grant of a request and tells it.
func (t *tx) endAccess(r AccessRequest, now time.Time) error {
	r.State = AccessEnded
	if err := t.putAccess(r); err != nil {
		return err
	}
	t.touch(scope{kind: scopeAccess, repository: r.Repository})
	if _, err := t.exec(`DELETE FROM access_grants WHERE request = $1`, r.ID); err != nil {
		return err
	}
	return t.event(r.event(t, event.AccessEnded, now))
}

// AccessGrants returns the grants of access to a repository, also ones that have ended: the caller compares EndsAt with the time of its
// decision. The slice is shared with the cache and must not be changed.
func (s *Store) AccessGrants(ctx context.Context, repository int64) ([]AccessGrant, error) {
	return cached(&s.cache.grants, repository, func() (all []AccessGrant, err error) {
		err = s.read.rows(ctx, `SELECT request, principal, policy, policy_ids, ends_at FROM access_grants WHERE repository = $1
			AND ends_at > $2 ORDER BY ends_at`, args{repository, micros(s.now())}, func(scan func(...any) error) error {
			g := AccessGrant{Repository: repository}
			var ids string
			var ends int64
			err := scan(&g.Request, &g.Principal, &g.Policy.Text, &ids, &ends)
			if err == nil {
				g.Policy.IDs, err = idsOf(ids)
			}
			g.EndsAt = fromMicros(ends)
			all = append(all, g)
			return err
		})
		return all, err
	})
}

// TidyAccess stores what the time has changed, for at most limit requests: grants that have ended are told, open requests expire, and
// requests that were closed longer than AccessKeptFor ago are deleted. more reports whether there may be others.
func (s *Store) TidyAccess(ctx context.Context, limit int) (more bool, err error) {
	now := s.now()
	due := func(state AccessState, until time.Time) ([]AccessRequest, error) {
		return s.accessRows(ctx, `SELECT `+accessColumns+` FROM access_requests WHERE state = $1 AND until <= $2 ORDER BY until, id LIMIT $3`,
			state, micros(until), limit)
	}
	for _, state := range []AccessState{AccessGranted, AccessOpen} {
		all, err := due(state, now)
		if err != nil {
			return false, err
		}
		for _, r := range all {
			if err := s.passed(ctx, r, now); err != nil {
				return false, err
			}
		}
		more = more || len(all) == limit
	}
	for _, state := range []AccessState{AccessRefused, AccessWithdrawn, AccessEnded, AccessExpired} {
		all, err := due(state, now.Add(-AccessKeptFor))
		if err != nil {
			return false, err
		}
		if len(all) > 0 {
			if err := s.write.doMany(ctx, len(all), func(t *tx) error {
				for _, r := range all { // none of them can change any more: a withdrawn one is opened again within a day only
					if _, err := t.exec(`DELETE FROM access_requests WHERE id = $1`, r.ID); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return false, err
			}
		}
		more = more || len(all) == limit
	}
	return more, nil
}

// passed stores that a grant has ended or an open request has expired, unless another request has changed it meanwhile.
func (s *Store) passed(ctx context.Context, r AccessRequest, now time.Time) error {
	err := s.write.do(ctx, func(t *tx) error {
		have, err := t.accessIn(r.ID, r.StateAt(now), now)
		switch {
		case err != nil:
			return err
		case have.State != r.State: // it is stored already
			return nil
		case have.State == AccessGranted:
			return t.endAccess(have, now)
		}
		have.State = AccessExpired
		return t.putAccess(have)
	})
	if errors.Is(err, fault.ObjectNotFound) || errors.Is(err, fault.InvalidInput) {
		return nil
	}
	return err
}

// deleteAccess deletes the requests for access to the repositories of an account, and those of its principals. A later account with the
// same number gets none of them.
func (t *tx) deleteAccess(account name.Account) error {
	t.touch(scope{kind: scopeAccess})
	for _, of := range []struct{ key, grants, requests string }{
		{account.String() + " own", grantsOfPool, requestsOfPool},
		{account.String() + " others", grantsOfPool, requestsOfPool},
		{account.String(), `DELETE FROM access_grants WHERE request IN (SELECT id FROM access_requests WHERE asking_account = $1)`,
			`DELETE FROM access_requests WHERE asking_account = $1`},
	} {
		for _, text := range []string{of.grants, of.requests} {
			if _, err := t.exec(text, of.key); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	grantsOfPool   = `DELETE FROM access_grants WHERE request IN (SELECT id FROM access_requests WHERE pool = $1)`
	requestsOfPool = `DELETE FROM access_requests WHERE pool = $1`
)
