package audit

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Pending holds the lines of one commit, as they are stored in the database.
type Pending struct {
	ID    int64  // increases from commit to commit
	Lines []byte // one or more lines, each with its newline
}

// Source is a database that stores lines until they are in the files.
type Source interface {
	// PendingAudit returns up to limit commits with an ID above after, in ascending order of ID. A later commit
	// never has an ID below one that was returned.
	PendingAudit(ctx context.Context, after int64, limit int) ([]Pending, error)
	// DeleteAudit deletes the lines of all commits with an ID up to through, durably.
	DeleteAudit(ctx context.Context, through int64) error
}

const (
	// PumpEvery is the time between two calls of Pump.Flush in the background.
	PumpEvery    = 200 * time.Millisecond
	maxPumpBatch = 500 // maximum number of commits whose lines are moved at once
)

// Pump moves lines from a database to a Log: it appends them, waits until they are durable, and only then
// deletes them. If the process ends between the two, the next process looks for the event ids of pending lines
// in the files first, so that no line is lost or repeated.
type Pump struct {
	log    *Log
	source Source

	turn    chan struct{}
	unsure  bool  // pending lines may be in the files already
	moved   int64 // lines up to this ID are in the files
	deleted int64 // lines up to this ID are deleted from the database
}

// NewPump returns a pump. Flush must be called again and again, every PumpEvery.
func NewPump(l *Log, source Source) *Pump {
	return &Pump{log: l, source: source, turn: make(chan struct{}, 1), unsure: true}
}

// Flush moves all pending lines, and writes the lines that wait in the Log. A reader that must see every
// earlier change calls it first. Calls of it wait for each other.
func (p *Pump) Flush(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	for {
		n, err := p.batch(ctx)
		if err != nil {
			return err
		}
		if n < maxPumpBatch {
			return p.log.Flush(ctx)
		}
	}
}

// batch moves the lines of up to maxPumpBatch commits, and returns the number of commits.
func (p *Pump) batch(ctx context.Context) (int, error) {
	pending, err := p.source.PendingAudit(ctx, p.moved, maxPumpBatch)
	if err != nil {
		return 0, fmt.Errorf("reading pending audit lines: %w", err)
	}
	var all [][]byte
	for _, one := range pending {
		for line := range bytes.Lines(one.Lines) {
			if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
				all = append(all, line)
			}
		}
	}
	if len(all) > 0 && p.unsure {
		if all, err = p.unwritten(ctx, all); err != nil {
			return 0, err
		}
	}
	if len(all) > 0 {
		if err := p.log.AppendDurable(ctx, all); err != nil {
			p.unsure = true
			return 0, err
		}
	}
	if len(pending) > 0 {
		p.moved = pending[len(pending)-1].ID
	}
	if len(pending) < maxPumpBatch {
		p.unsure = false // all lines of an earlier process have been looked for
	}
	if p.moved > p.deleted {
		if err := p.source.DeleteAudit(ctx, p.moved); err != nil {
			return 0, fmt.Errorf("deleting audit lines that were moved: %w", err)
		}
		p.deleted = p.moved
	}
	return len(pending), nil
}

// unwritten returns those of the lines that are not in the files.
func (p *Pump) unwritten(ctx context.Context, all [][]byte) (rest [][]byte, err error) {
	ids := map[ID]bool{}
	var since, until time.Time
	for _, line := range all {
		seconds, ok := lineTime(line)
		id := lineID(line)
		if !ok || id == (ID{}) {
			continue
		}
		ids[id] = true
		if t := time.Unix(seconds, 0); len(ids) == 1 {
			since, until = t, t
		} else if t.Before(since) {
			since = t
		} else if t.After(until) {
			until = t
		}
	}
	if len(ids) == 0 {
		return all, nil
	}
	found, err := p.log.known(ctx, ids, since, until)
	if err != nil {
		return nil, fmt.Errorf("looking for audit lines in the files: %w", err)
	}
	for _, line := range all {
		if !found[lineID(line)] {
			rest = append(rest, line)
		}
	}
	return rest, nil
}
