package meta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// postgresWriter runs the writes of this process on one connection. One write transaction runs at a time in the whole database,
// whichever process it is of: each begins by changing the one row of the table epochs, and the next waits for its end. See
// docs/design/metadata.md.
type postgresWriter struct {
	*grouper
	link      *link
	node      string
	token     string // of this writer, in the rows of changes
	now       func() time.Time
	committed func(number int64, scopes []scope)
	away      bool // the last group failed because the server could not be reached

	tx        *tx   // that runs now
	ids, last int64 // the identifiers above ids and up to last are the transaction's to give out
}

const (
	// idBlock is how many identifiers a transaction takes at once.
	idBlock = 1 << 10
	// maxAgain is how often a transaction that the server has undone because of others is run again.
	maxAgain = 5
	// keptChanges is how many rows of changes are kept for processes that have not read them; it must be more than maxGap.
	keptChanges = 10_000
	// pruneEvery is after how many transactions older rows are deleted.
	pruneEvery = 1000
)

// takeTurn waits until no other write transaction runs, and takes identifiers.
const takeTurn = `UPDATE epochs SET number = number + 1, last_id = GREATEST(last_id, $1) + $2 WHERE id = 1 RETURNING number, last_id, pg_current_xact_id()::text`

func newPostgresWriter(l *link, node string, now func() time.Time, committed func(int64, []scope)) *postgresWriter {
	w := &postgresWriter{link: l, node: node, token: randomID(), now: now, committed: committed}
	w.grouper = newGrouper(w.transact, unwritten)
	go w.run()
	return w
}

func (w *postgresWriter) close() error {
	w.end()
	return w.link.close()
}

// newID gives out identifiers of the block that the transaction has taken, or takes another one.
func (w *postgresWriter) newID(at time.Time) (int64, error) {
	if w.ids == w.last {
		if err := w.tx.row(w.tx.ctx, `UPDATE epochs SET last_id = GREATEST(last_id, $1) + $2 WHERE id = 1 RETURNING last_id`, args{firstID(at), idBlock}, &w.last); err != nil {
			return 0, fmt.Errorf("taking identifiers: %w", err)
		}
		w.ids = w.last - idBlock
	}
	w.ids++
	return w.ids, nil
}

// transact runs a group, again when the server has undone it because of others, or when the connection was lost before the commit:
// then nothing is stored. While the server is away it tries for as long as a statement may take; once that was in vain, later
// groups try once.
func (w *postgresWriter) transact(group []*write) (began bool, err error) {
	limit := time.Now().Add(w.link.limit)
	bare := true
	for try := 1; ; try++ {
		began, err = w.once(group, bare)
		if err == nil {
			w.away = false
			return true, nil
		}
		settle(group, errors.Is(err, errUnknown))
		if errors.Is(err, errWantsSavepoint) {
			bare = false
			continue
		}
		if errors.Is(err, errUndone) && time.Now().Before(limit) {
			continue // on the connection by which that was found out
		}
		broken := w.link.broken(err)
		if broken {
			w.link.drop()
			began = false // the writes of the group would only wait for the same answer
		}
		switch {
		case errors.Is(err, errUnknown), w.away && broken, time.Now().After(limit):
		case again(err) && try < maxAgain:
			continue
		case broken && w.wait():
			continue
		}
		w.away = broken
		return began, err
	}
}

// wait waits until an attempt to connect is due. It is false when the server is to stop.
func (w *postgresWriter) wait() bool {
	select {
	case <-time.After(max(time.Until(w.link.dial.due()), minPause/10)):
		return true
	case <-w.stop:
		return false
	}
}

// errUnknown marks the failure of a commit whose outcome could not be found out.
var errUnknown = errors.New("the connection was lost at the commit, and whether it was done could not be found out")

// once runs a group in one transaction, bare without savepoints.
func (w *postgresWriter) once(group []*write, bare bool) (began bool, err error) {
	fresh, err := w.link.connect()
	if err != nil {
		return false, err
	}
	if fresh { // what is acknowledged must be on the disk, whatever the database's default is
		if _, err := w.link.simple(`SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`); err != nil {
			return false, fmt.Errorf("setting up the connection: %w", err)
		}
	}
	t := &tx{statements: w.link.stmts, ctx: context.Background(), ids: w, bare: bare}
	w.tx = t
	if _, err := w.link.simple(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`); err != nil {
		return false, fmt.Errorf("beginning a transaction: %w", err)
	}
	undo := func(err error) error {
		if err != nil && w.link.broken(err) {
			return err // and so is the transaction
		}
		if _, rerr := w.link.simple(`ROLLBACK`); rerr != nil {
			w.link.drop()
		}
		return err
	}
	var number int64
	var id string
	if err := t.row(t.ctx, takeTurn, args{firstID(w.now()), idBlock}, &number, &w.last, &id); err != nil {
		return false, undo(fmt.Errorf("waiting for other writes: %w", err))
	}
	w.ids = w.last - idBlock
	wrote, err := t.body(group, postgresDialect.refusal)
	if err != nil || !wrote {
		return true, undo(err)
	}
	if err := w.leave(t, number); err != nil {
		return true, undo(err)
	}
	if err := w.commitNow(number, id); err != nil {
		return true, err
	}
	w.committed(number, t.scopes)
	settle(group, true)
	return true, nil
}

// leave writes the rows that tell others of the transaction: what it made stale, and its audit lines.
func (w *postgresWriter) leave(t *tx, number int64) error {
	if _, err := t.exec(`INSERT INTO changes (number, writer, scopes) VALUES ($1, $2, $3)`, number, w.token, scopesText(t.scopes)); err != nil {
		return fmt.Errorf("writing what a change makes stale: %w", err)
	}
	if len(t.lines) > 0 {
		if err := t.insertLines(number, w.node); err != nil {
			return err
		}
	}
	if number%pruneEvery == 0 {
		if _, err := t.exec(`DELETE FROM changes WHERE number <= $1`, number-keptChanges); err != nil {
			return fmt.Errorf("deleting old rows of what changes made stale: %w", err)
		}
	}
	return nil
}

// commitNow commits, and finds out what happened when the connection is lost meanwhile.
func (w *postgresWriter) commitNow(number int64, id string) error {
	tag, err := w.link.simple(`COMMIT`)
	switch {
	case err == nil && tag == "COMMIT":
		return nil
	case err == nil: // the server rolls back a transaction in which a statement has failed
		return fmt.Errorf("committing: the server answered %s", tag)
	case sqlState(err) != "" && !lost(err):
		return fmt.Errorf("committing: %w", err)
	}
	// Not even an error by which the driver says that nothing was sent is believed: pgx v5.11 gives one when the connection ends
	// while it waits for the answer.
	pid := w.link.pid
	w.link.drop()
	stored, known := w.outcome(number, id, pid)
	switch {
	case !known:
		return fault.Unavailable.New("the connection to the database was lost at the commit: whether the change was stored is not known; look before you repeat").Because(errors.Join(errUnknown, err))
	case !stored:
		return fmt.Errorf("committing: %w", errors.Join(errUndone, err))
	}
	return nil
}

// errUndone marks the failure of a commit of which nothing is stored.
var errUndone = errors.New("the connection was lost before the commit")

// outcome finds out what became of a transaction whose commit got no answer. Its process in the server is ended when it still
// waits, since nobody else will tell it what to do. known is false when the server cannot be reached, or has forgotten.
func (w *postgresWriter) outcome(number int64, id string, pid uint32) (stored, known bool) {
	for limit := time.Now().Add(2 * w.link.limit); time.Now().Before(limit); {
		if _, err := w.link.connect(); err != nil {
			if !w.wait() {
				return false, false
			}
			continue
		}
		stored, ended, err := w.ask(number, id, pid)
		switch {
		case err == nil && ended:
			return stored, true
		case err == nil:
			time.Sleep(minPause) // the process ends
		case w.link.broken(err):
			w.link.drop()
		default:
			return false, false
		}
	}
	return false, false
}

// ask reads whether a transaction has ended, and whether its row is there: on a server that took over from another, the same
// number may be of a transaction of somebody else.
func (w *postgresWriter) ask(number int64, id string, pid uint32) (stored, ended bool, err error) {
	ctx := context.Background()
	var status string
	if err := w.link.stmts.row(ctx, `SELECT COALESCE(pg_xact_status($1::text::xid8), 'forgotten')`, args{id}, &status); err != nil {
		return false, false, err
	}
	if status == "in progress" {
		var n int
		err := w.link.stmts.row(ctx, `SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = $1 AND backend_xid::text = $2::text::xid8::xid::text`, args{int64(pid), id}, &n)
		return false, false, err
	}
	err = w.link.stmts.row(ctx, `SELECT EXISTS (SELECT 1 FROM changes WHERE number = $1 AND writer = $2)`, args{number, w.token}, &stored)
	return stored, true, err
}
