package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Pending are the lines of one commit, as they stand in the database.
type Pending struct {
	ID    int64  // grows from commit to commit
	Lines []byte // one line or more, each with its newline
}

// Source is a database that keeps lines until they are in the files.
type Source interface {
	// PendingAudit answers up to limit of them whose ID is above after, lowest first. One that is committed later never
	// has a lower ID than one that was answered.
	PendingAudit(ctx context.Context, after int64, limit int) ([]Pending, error)
	// DeleteAudit forgets those up to this ID, durably.
	DeleteAudit(ctx context.Context, through int64) error
}

const (
	pumpEvery = 200 * time.Millisecond
	pumpBatch = 500 // commits whose lines are moved at once
)

// Pump moves lines from a database to a Log: it appends them, waits until the disk keeps them, and only then deletes
// them. When the process ends between the two, the next one looks for their event ids in the files first, so that no
// line is lost and none stands there twice.
type Pump struct {
	log    *Log
	source Source
	logger *slog.Logger

	turn    chan struct{}
	unsure  bool  // lines may be in the files although they are pending
	moved   int64 // those up to here are in the files
	deleted int64 // and those up to here not in the database any more
	failing bool
}

// NewPump makes a pump; Run starts it.
func NewPump(l *Log, source Source, logger *slog.Logger) *Pump {
	return &Pump{log: l, source: source, logger: logger, turn: make(chan struct{}, 1), unsure: true}
}

// Run moves lines five times in a second until ctx ends, and then once more. It is called once, and the Log and the
// database are closed after it has returned.
func (p *Pump) Run(ctx context.Context) {
	tick := time.NewTicker(pumpEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			p.tell(ctx, p.Flush(ctx))
		case <-ctx.Done():
		}
	}
	// What was committed shall be readable in the files of a server that was stopped.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	p.tell(last, p.Flush(last))
}

// tell says once that lines cannot be moved, and once that they can again.
func (p *Pump) tell(ctx context.Context, err error) {
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
}

// Flush moves all that is pending now, and writes what waits in the Log. A reader that wants to see every change before
// it calls this first. It is safe beside Run.
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
		if n < pumpBatch {
			return p.log.Flush(ctx)
		}
	}
}

// batch moves the lines of up to pumpBatch commits and answers how many.
func (p *Pump) batch(ctx context.Context) (int, error) {
	pending, err := p.source.PendingAudit(ctx, p.moved, pumpBatch)
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
	if len(pending) < pumpBatch {
		p.unsure = false // all that was pending before has been looked for
	}
	if p.moved > p.deleted {
		if err := p.source.DeleteAudit(ctx, p.moved); err != nil {
			return 0, fmt.Errorf("deleting audit lines that were moved: %w", err)
		}
		p.deleted = p.moved
	}
	return len(pending), nil
}

// unwritten are those lines that are not in the files.
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
