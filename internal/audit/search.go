package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/fault"
)

// Query says which events are looked for: those for which every field that is not zero holds.
type Query struct {
	Since, Until time.Time // Since ≤ time < Until; lines have whole seconds
	Account      string    // in whose trail
	Principal    string    // a part of the caller's ARN or of its session's issuer; or its user name, key or unique id
	EventName    string
	Resource     string // a part of the ARN of a resource
	RequestID    string
	OnlyDenied   bool // refused for want of rights, or of credentials that hold
	OnlyChanges  bool // not read-only
	OldestFirst  bool
}

// Event is what a search found.
type Event struct {
	Record Record
	Line   []byte // as it stands in the file, without the newline
}

// Page is a part of what a search finds.
type Page struct {
	Events []Event
	// Next is where to go on. It is "" when the newest-first search is at its end; the oldest-first search always has
	// one, with which later events are found when they have come.
	Next string
	// Newest goes on after all events that were there when the search began, oldest first.
	Newest string
}

const (
	pageDefault = 50
	pageMost    = 1000
	pageBytes   = 4 << 20 // lines of one page
)

// Search reads the trail, newest first unless the query says otherwise. It begins at a cursor, which is "" or from an
// earlier page, and answers at most limit events (0 stands for 50, the most are 1,000), fewer when their lines are long.
// Among lines that were written within 15 minutes the order is that of their writing. Files that retention deletes
// meanwhile are passed over.
//
// Errors: fault.InvalidParameter for a cursor that no search gave; the error of a ctx that ends.
func (l *Log) Search(ctx context.Context, q Query, cursor string, limit int) (Page, error) {
	if limit <= 0 {
		limit = pageDefault
	}
	s := search{Query: q, limit: min(limit, pageMost), needles: q.needles()}
	from, err := parsePosition(cursor)
	if err != nil {
		return Page{}, err
	}
	_ = l.Flush(ctx) // what cannot be written now is not found; the background says so
	files, err := l.snapshot(ctx)
	if err != nil {
		return Page{}, err
	}
	end := position{}
	if n := len(files); n > 0 {
		end = position{files[n-1].number, files[n-1].size}
	}
	s.page.Newest = end.String()
	if q.OldestFirst {
		s.page.Next = s.page.Newest
	} else {
		slices.Reverse(files)
	}
	if from.after(end) {
		from = position{} // the files that it meant are gone, and their numbers began anew
	}
	for _, f := range files {
		if done, err := l.searchFile(ctx, &s, f, from, cursor != ""); done || err != nil {
			return s.page, err
		}
	}
	return s.page, nil
}

// search is one call of Search.
type search struct {
	Query
	limit   int
	needles [][]byte
	page    Page
	bytes   int
}

func (l *Log) searchFile(ctx context.Context, s *search, f file, from position, resumed bool) (done bool, err error) {
	lo, hi := int64(0), f.size
	switch {
	case !resumed:
	case s.OldestFirst && f.number < from.number, !s.OldestFirst && f.number > from.number:
		return false, nil
	case f.number == from.number && s.OldestFirst:
		lo = min(from.offset, hi)
	case f.number == from.number:
		hi = min(from.offset, hi)
	}
	err = l.read(ctx, f, lo, hi, s.Since, s.Until, !s.OldestFirst, func(at int64, block []byte) bool {
		for _, n := range s.needles {
			if !bytes.Contains(block, n) {
				return true
			}
		}
		next := lines(block, !s.OldestFirst)
		for begin, line := next(); line != nil; begin, line = next() {
			if !s.keep(line) {
				continue
			}
			if s.full() {
				p := position{f.number, at + int64(begin)}
				if !s.OldestFirst {
					p.offset += int64(len(line)) + 1 // search goes on before this offset, and this line was not given
				}
				s.page.Next, done = p.String(), true
				s.page.Events = s.page.Events[:len(s.page.Events)-1]
				return false
			}
		}
		return true
	})
	return done, err
}

// keep adds a line to the page if it is one that is looked for.
func (s *search) keep(line []byte) bool {
	for _, n := range s.needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	if seconds, ok := lineTime(line); !ok || !s.inTime(seconds) {
		return false
	}
	r, err := Parse(line)
	if err != nil || !s.matches(&r) {
		return false
	}
	s.page.Events = append(s.page.Events, Event{Record: r, Line: bytes.Clone(line)})
	s.bytes += len(line)
	return true
}

// full tells that the event kept last is one too many.
func (s *search) full() bool {
	return len(s.page.Events) > s.limit || len(s.page.Events) > 1 && s.bytes > pageBytes
}

func (q *Query) inTime(seconds int64) bool {
	t := time.Unix(seconds, 0)
	return (q.Since.IsZero() || !t.Before(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

func (q *Query) matches(r *Record) bool {
	return (q.Account == "" || r.Account == q.Account) &&
		(q.EventName == "" || r.Name == q.EventName) &&
		(q.RequestID == "" || r.RequestID == q.RequestID) &&
		(!q.OnlyDenied || r.denied()) &&
		(!q.OnlyChanges || !r.ReadOnly) &&
		(q.Principal == "" || r.Identity.is(q.Principal)) &&
		(q.Resource == "" || slices.ContainsFunc(r.Resources, func(x Resource) bool { return strings.Contains(x.ARN, q.Resource) }))
}

func (i *Identity) is(who string) bool {
	return strings.Contains(i.ARN, who) || i.Session != nil && strings.Contains(i.Session.Issuer.ARN, who) ||
		who == i.UserName || who == i.AccessKeyID || who == i.PrincipalID
}

// needles are texts that every line that is looked for has, so that most others are passed over without being read.
func (q *Query) needles() (all [][]byte) {
	for _, text := range []string{q.RequestID, q.Resource, q.Principal, q.EventName, q.Account} {
		if text != "" {
			n := appendString(nil, text, len(text))
			all = append(all, n[1:len(n)-1])
		}
	}
	if q.OnlyDenied {
		all = append(all, []byte(`"errorCode":`))
	}
	if q.OnlyChanges {
		all = append(all, []byte(`"readOnly":false`))
	}
	return all
}

// lines answers a function that gives the lines of a block, one at each call, and nil at the end.
func lines(block []byte, backward bool) func() (begin int, line []byte) {
	if !backward {
		at := 0
		return func() (int, []byte) {
			if at >= len(block) {
				return 0, nil
			}
			begin := at
			if i := bytes.IndexByte(block[at:], '\n'); i >= 0 {
				at += i + 1
				return begin, block[begin : at-1]
			}
			at = len(block)
			return begin, block[begin:]
		}
	}
	end := len(block)
	return func() (int, []byte) {
		if end <= 0 {
			return 0, nil
		}
		line := bytes.TrimSuffix(block[:end], []byte("\n"))
		begin := bytes.LastIndexByte(line, '\n') + 1
		end = begin
		return begin, line[begin:]
	}
}

// snapshot is the files as they are now, oldest first.
func (l *Log) snapshot(ctx context.Context) ([]file, error) {
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	defer l.give()
	all := make([]file, len(l.files))
	for i, f := range l.files {
		all[i] = *f
		if i < len(l.files)-1 && f.last == 0 {
			f.last = lastTime(ctx, f)
			all[i].last = f.last
		}
	}
	return all, nil
}

// never is the time of the last line of a file that has none that can be read.
const never = 1 << 62

// lastTime looks up the time of a file's last line. Whoever asks while the lines grow would get another answer later.
func lastTime(ctx context.Context, f *file) int64 {
	in, err := os.Open(f.path)
	if err != nil {
		return never
	}
	defer in.Close()
	found := int64(never)
	err = blocks(ctx, in, 0, f.size, true, func(_ int64, block []byte) bool {
		next := lines(block, true)
		for _, line := next(); line != nil; _, line = next() {
			if seconds, ok := lineTime(line); ok {
				found = seconds
				return false
			}
		}
		return true
	})
	if err != nil {
		return 0 // not known yet
	}
	return found
}

// read is blocks for one file of the trail, unless it has no line between two times. A zero time is no bound.
func (l *Log) read(ctx context.Context, f file, from, to int64, since, until time.Time, backward bool, each func(at int64, block []byte) bool) error {
	const slack = lateness + 1 // for the part of a second that a line does not have
	if !until.IsZero() && f.start-slack > until.Unix() || !since.IsZero() && f.last != 0 && f.last+slack < since.Unix() {
		return nil
	}
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return blocks(ctx, in, from, to, backward, each)
}

// known tells which of the ids the lines between two times have.
func (l *Log) known(ctx context.Context, ids map[ID]bool, since, until time.Time) (found map[ID]bool, err error) {
	found = map[ID]bool{}
	files, err := l.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	slices.Reverse(files)
	for _, f := range files {
		err := l.read(ctx, f, 0, f.size, since, until, true, func(_ int64, block []byte) bool {
			for line := range bytes.Lines(block) {
				// A torn line may have its id: it is not there unless all of it is.
				if id := lineID(line); ids[id] && json.Valid(line) {
					found[id] = true
				}
			}
			return len(found) < len(ids)
		})
		if err != nil || len(found) == len(ids) {
			return found, err
		}
	}
	return found, nil
}

// position is a place between two lines.
type position struct {
	number int64 // of the file
	offset int64
}

func (p position) after(q position) bool {
	return cmp.Or(cmp.Compare(p.number, q.number), cmp.Compare(p.offset, q.offset)) > 0
}

func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.number, 10) + "." + strconv.FormatInt(p.offset, 10)))
}

func parsePosition(s string) (p position, err error) {
	if s == "" {
		return p, nil
	}
	text, err1 := base64.RawURLEncoding.DecodeString(s)
	number, offset, _ := strings.Cut(string(text), ".")
	var err2, err3 error
	p.number, err2 = strconv.ParseInt(number, 10, 64)
	p.offset, err3 = strconv.ParseInt(offset, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || p.number < 0 || p.offset < 0 {
		return p, fault.InvalidParameter.New("the cursor is not one that a search of the audit trail gave").Because(err)
	}
	return p, nil
}
