package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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
	pumpEvery    = 200 * time.Millisecond
	maxPumpBatch = 500 // maximum number of commits whose lines are moved at once
)

// Pump moves lines from a database to a Log: it appends them, waits until they are durable, and only then
// deletes them. If the process ends between the two, the next process looks for the event ids of pending lines
// in the files first, so that no line is lost or repeated.
type Pump struct {
	// Report, if not nil, is called with the result of each attempt of Run and the kind of work LinesWork. It is set before Run.
	Report func(work string, err error)

	log    *Log
	source Source
	logger *slog.Logger

	turn    chan struct{}
	unsure  bool  // pending lines may be in the files already
	moved   int64 // lines up to this ID are in the files
	deleted int64 // lines up to this ID are deleted from the database
	failing bool
}

// NewPump returns a pump. Run starts it.
func NewPump(l *Log, source Source, logger *slog.Logger) *Pump {
	return &Pump{log: l, source: source, logger: logger, turn: make(chan struct{}, 1), unsure: true}
}

// Run moves lines five times per second until ctx ends, and then once more. It must be called only once. The
// Log and the database must stay open until it has returned.
func (p *Pump) Run(ctx context.Context) {
	tick := time.NewTicker(pumpEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			p.logState(ctx, p.Flush(ctx))
		case <-ctx.Done():
		}
	}
	// When the server stops, all committed lines are moved to the files, so that they can be read there.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	p.logState(last, p.Flush(last))
}

// logState logs the first error of moving lines, and the first success after errors.
func (p *Pump) logState(ctx context.Context, err error) {
	if ctx.Err() != nil && err != nil {
		return
	}
	switch {
	case err != nil && !p.failing:
		p.logger.Error("audit lines cannot be moved from the database to the files: they wait there", "cause", err)
	case err == nil && p.failing:
		p.logger.Info("audit lines are moved from the database again")
	}
	p.failing = err != nil
	if p.Report != nil {
		p.Report(LinesWork, err)
	}
}

// Flush moves all pending lines, and writes the lines that wait in the Log. A reader that must see every
// earlier change calls it first. It is safe to call while Run is running.
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
