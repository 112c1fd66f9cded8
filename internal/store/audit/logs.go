package audit

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"
)

// StrangersFolder is the name of the folder in the directory of the audit trail that has the lines of strangers.
const StrangersFolder = "strangers"

// strangersShare is the part of the maximum size of the audit trail that lines of strangers may have: one of this number.
const strangersShare = 8

// Logs is an audit trail of two logs: one of lines that the owners of resources caused, and one of lines that strangers can
// cause as often as they like. Each has a maximum size of its own, so that lines of strangers never replace lines of owners.
// All methods are safe for concurrent use.
type Logs struct {
	Owners    *Log
	Strangers *Log // in the folder StrangersFolder
}

// OpenLogs opens or creates the directory; see OpenLog. opts.Keep is the maximum size of both logs together.
func OpenLogs(dir string, opts Options) (*Logs, error) {
	if opts.Keep <= 0 {
		opts.Keep = defaultKeep
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	strangers := opts
	strangers.strangers = true
	strangers.Keep = max(1, opts.Keep/strangersShare)
	opts.Keep -= strangers.Keep
	// The oldest file is deleted as a whole, so that a log has several.
	strangers.MaxBytes, opts.MaxBytes = min(strangers.MaxBytes, max(1, strangers.Keep/8)), min(opts.MaxBytes, max(1, opts.Keep/8))
	own, err := OpenLog(dir, opts)
	if err != nil {
		return nil, err
	}
	other, err := OpenLog(filepath.Join(dir, StrangersFolder), strangers)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return &Logs{Owners: own, Strangers: other}, nil
}

// Append adds the lines of a record to one of the logs; see Log.Append.
func (l *Logs) Append(stranger bool, r *Record, accounts ...string) {
	if stranger {
		l.Strangers.Append(r, accounts...)
		return
	}
	l.Owners.Append(r, accounts...)
}

// Lost returns how many lines were lost since the logs were opened.
func (l *Logs) Lost() uint64 { return l.Owners.everLost.Load() + l.Strangers.everLost.Load() }

// Close closes both logs; see Log.Close.
func (l *Logs) Close() error { return errors.Join(l.Owners.Close(), l.Strangers.Close()) }

const (
	cursorMark = "." // between the cursors of the two logs
	ended      = "!" // the cursor of a log that has no more events
)

// Search returns a page of the events of both logs in the order of their times; see Log.Search.
func (l *Logs) Search(ctx context.Context, q Query, cursor string, limit int) (Page, error) {
	if limit <= 0 {
		limit = defaultPageSize
	}
	limit = min(limit, maxPageSize)
	var from [2]string
	from[0], from[1], _ = strings.Cut(cursor, cursorMark) // the cursor of an earlier version has no mark
	var pages [2]Page
	for i, one := range []*Log{l.Owners, l.Strangers} {
		if from[i] == ended {
			continue
		}
		var err error
		if pages[i], err = one.Search(ctx, q, from[i], limit); err != nil {
			return Page{}, err
		}
	}
	out := Page{Newest: pages[0].Newest + cursorMark + pages[1].Newest}
	var used [2]int
	for size := 0; len(out.Events) < limit; {
		pick := -1
		for i := range pages {
			if used[i] < len(pages[i].Events) && (pick < 0 || before(&pages[i].Events[used[i]], &pages[pick].Events[used[pick]], q.OldestFirst)) {
				pick = i
			}
		}
		if pick < 0 {
			break
		}
		e := pages[pick].Events[used[pick]]
		if other := &pages[1-pick]; used[1-pick] == len(other.Events) && beyond(&e, other.reached, q.OldestFirst) {
			break // the other log can have events before this one that its page has not come to
		}
		if size += len(e.Line); len(out.Events) > 0 && size > maxPageBytes {
			break
		}
		used[pick]++
		out.Events = append(out.Events, e)
	}
	var next [2]string
	for i := range pages {
		next[i] = after(&pages[i], from[i], used[i], q.OldestFirst)
	}
	if q.OldestFirst || next != [2]string{ended, ended} {
		out.Next = next[0] + cursorMark + next[1]
	}
	return out, nil
}

// beyond reports whether an event comes after the time to which a page of another log has come; a zero time is no bound.
func beyond(e *Event, reached time.Time, oldestFirst bool) bool {
	if oldestFirst {
		return !reached.IsZero() && e.Record.Time.After(reached)
	}
	return e.Record.Time.Before(reached)
}

// before reports whether an event of the log of strangers comes before one of owners.
func before(stranger, owner *Event, oldestFirst bool) bool {
	if oldestFirst {
		return stranger.Record.Time.Before(owner.Record.Time)
	}
	return stranger.Record.Time.After(owner.Record.Time)
}

// after returns the cursor after the used events of a page that begins at the cursor from.
func after(p *Page, from string, used int, oldestFirst bool) string {
	switch {
	case from == ended:
		return ended
	case used < len(p.Events) && used > 0:
		return p.Events[used-1].next.String()
	case used < len(p.Events) && (from != "" || oldestFirst):
		return from
	case used < len(p.Events):
		return p.Newest // where the search began, whatever is added until the next page
	case p.Next == "":
		return ended
	}
	return p.Next
}
