package meta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// postgresWriter runs the writes of this process on one connection. In the whole database one write transaction runs
// at a time: each begins with an update of the only row of the table epochs, whose lock the next one waits for. See
// docs/design/metadata.md.
type postgresWriter struct {
	*grouper
	link        *link
	node        string
	token       string // identifies this writer in the rows of changes
	now         func() time.Time
	committed   func(number int64, scopes []scope)
	sealedBy    *atomic.Pointer[string] // see tx.fence
	unreachable bool                    // the last group failed because the server could not be reached

	tx        *tx   // the current transaction
	ids, last int64 // the transaction may use the identifiers above ids, up to last
}

const (
	// idBlock is how many identifiers a transaction reserves at once.
	idBlock = 1 << 10
	// maxAttempts limits how often a transaction runs that the server undoes because of concurrent ones.
	maxAttempts = 5
	// keptChanges is how many rows of changes are kept for processes that have not read them. It must be greater than
	// maxGap.
	keptChanges = 10_000
	// pruneEvery is the number of transactions after which old rows of changes are deleted.
	pruneEvery = 1000
)

// takeTurn waits until no other write transaction runs, and reserves identifiers.
const takeTurn = `UPDATE epochs SET number = number + 1, last_id = GREATEST(last_id, $1) + $2 WHERE id = 1 RETURNING number, last_id, pg_current_xact_id()::text`

func newPostgresWriter(l *link, node string, at *place, now func() time.Time, sealedBy *atomic.Pointer[string],
	committed func(int64, []scope)) *postgresWriter {
	w := &postgresWriter{link: l, node: node, token: randomID(), now: now, sealedBy: sealedBy, committed: committed}
	w.grouper = newGrouper(at.guard(w.transact), unwritten)
	go w.run()
	return w
}

func (w *postgresWriter) close() error {
	w.end()
	return w.link.close()
}

// newID returns the next reserved identifier. If all are used, it reserves another block.
func (w *postgresWriter) newID(at time.Time) (int64, error) {
	if w.ids == w.last {
		if err := w.tx.row(w.tx.ctx, `UPDATE epochs SET last_id = GREATEST(last_id, $1) + $2 WHERE id = 1 RETURNING last_id`,
			args{firstID(at), idBlock}, &w.last); err != nil {
			return 0, fmt.Errorf("taking identifiers: %w", err)
		}
		w.ids = w.last - idBlock
	}
	w.ids++
	return w.ids, nil
}

// transact runs a group. It runs it again if the server has undone it because of concurrent transactions, or if the
// connection was lost before the commit: then nothing is stored. While the server cannot be reached it retries for as
// long as a statement may take; after that has failed, later groups try once.
func (w *postgresWriter) transact(group []*write) (began bool, err error) {
	limit := time.Now().Add(w.link.limit)
	bare := true
	for try := 1; ; try++ {
		began, err = w.attempt(group, bare)
		if err == nil {
			w.unreachable = false
			return true, nil
		}
		settle(group, errors.Is(err, errUnknown))
		if errors.Is(err, errNeedsSavepoint) {
			bare = false
			continue
		}
		if errors.Is(err, errUndone) && time.Now().Before(limit) {
			continue // on the connection that outcome has made
		}
		broken := w.link.broken(err)
		if broken {
			w.link.drop()
			began = false // committing each write alone would wait for the same error
		}
		switch {
		case errors.Is(err, errUnknown), w.unreachable && broken, time.Now().After(limit):
		case retryable(err) && try < maxAttempts:
			continue
		case broken && w.wait():
			continue
		}
		w.unreachable = broken
		return began, err
	}
}

// wait waits until an attempt to connect is due. It returns false if the writer is closed meanwhile.
func (w *postgresWriter) wait() bool {
	select {
	case <-time.After(max(time.Until(w.link.dial.due()), minPause/10)):
		return true
	case <-w.stop:
		return false
	}
}

// errUnknown marks the error of a commit whose outcome is not known.
var errUnknown = errors.New("the connection was lost at the commit, and its outcome is not known")

// attempt runs a group in one transaction, without savepoints if bare.
func (w *postgresWriter) attempt(group []*write, bare bool) (began bool, err error) {
	fresh, err := w.link.connect()
	if err != nil {
		return false, err
	}
	if fresh { // acknowledged changes must be on the disk, whatever the default of the database is
		if _, err := w.link.simple(`SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`); err != nil {
			return false, fmt.Errorf("setting up the connection: %w", err)
		}
	}
	t := &tx{statements: w.link.stmts, ctx: context.Background(), ids: w, bare: bare, remote: true,
		sealedBy: w.sealedBy}
	w.tx = t
	if _, err := w.link.simple(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`); err != nil {
		return false, fmt.Errorf("beginning a transaction: %w", err)
	}
	undo := func(err error) error {
		if err != nil && w.link.broken(err) {
			return err // the server has rolled back
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
	wrote, err := t.runGroup(group, postgresDialect.refusal)
	if err != nil || !wrote {
		return true, undo(err)
	}
	if err := w.insertChange(t, number); err != nil {
		return true, undo(err)
	}
	if err := w.commitTx(number, id); err != nil {
		return true, err
	}
	w.committed(number, t.scopes)
	settle(group, true)
	return true, nil
}

// insertChange inserts the rows that other processes and the audit trail read: what the transaction made stale, and
// its audit lines.
func (w *postgresWriter) insertChange(t *tx, number int64) error {
	if _, err := t.exec(`INSERT INTO changes (number, writer, scopes) VALUES ($1, $2, $3)`, number, w.token,
		scopesText(t.scopes)); err != nil {
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

// commitTx commits. If the connection is lost meanwhile, it finds out whether the transaction was committed.
func (w *postgresWriter) commitTx(number int64, id string) error {
	tag, err := w.link.simple(`COMMIT`)
	switch {
	case err == nil && tag == "COMMIT":
		return nil
	case err == nil: // the answer is ROLLBACK if a statement of the transaction has failed
		return fmt.Errorf("committing: the server answered %s", tag)
	case sqlState(err) != "" && !lost(err):
		return fmt.Errorf("committing: %w", err)
	}
	// The outcome is also looked up after errors by which the driver says that nothing was sent: pgx v5.11 returns
	// one when the connection ends while it waits for the answer.
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

// errUndone marks the error of a commit that has stored nothing.
var errUndone = errors.New("the connection was lost before the commit")

// outcome finds out whether a transaction was committed whose commit got no answer. If its process in the server
// still waits for a statement, outcome ends that process, because no client is left to end the transaction. known is
// false if the server cannot be reached, or does not remember the transaction.
func (w *postgresWriter) outcome(number int64, id string, pid uint32) (stored, known bool) {
	for limit := time.Now().Add(2 * w.link.limit); time.Now().Before(limit); {
		if _, err := w.link.connect(); err != nil {
			if !w.wait() {
				return false, false
			}
			continue
		}
		stored, ended, err := w.status(number, id, pid)
		switch {
		case err == nil && ended:
			return stored, true
		case err == nil:
			time.Sleep(minPause) // until the process has ended
		case w.link.broken(err):
			w.link.drop()
		default:
			return false, false
		}
	}
	return false, false
}

// status returns whether a transaction has ended, and whether its row in changes exists. The row must have this
// writer's token: on a server that has replaced another one, the same number may belong to a transaction of another
// writer.
func (w *postgresWriter) status(number int64, id string, pid uint32) (stored, ended bool, err error) {
	ctx := context.Background()
	var status string
	if err := w.link.stmts.row(ctx, `SELECT COALESCE(pg_xact_status($1::text::xid8), 'forgotten')`, args{id}, &status); err != nil {
		return false, false, err
	}
	if status == "in progress" {
		var n int
		err := w.link.stmts.row(ctx,
			`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = $1 AND backend_xid::text = $2::text::xid8::xid::text`, args{int64(pid), id}, &n)
		return false, false, err
	}
	err = w.link.stmts.row(ctx, `SELECT EXISTS (SELECT 1 FROM changes WHERE number = $1 AND writer = $2)`, args{number, w.token}, &stored)
	return stored, true, err
}
