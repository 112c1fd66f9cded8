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

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Query selects events: those that match every field that is not zero.
type Query struct {
	Since, Until time.Time // Since ≤ time < Until; lines have whole seconds
	Account      string    // the account whose lines are searched
	Principal    string    // a part of the ARN of the caller or of its session's issuer; or its whole user name, access key id or unique id
	EventName    string
	Resource     string // a part of the ARN of a resource
	RequestID    string
	OnlyDenied   bool // refused because rights or valid credentials were missing
	OnlyChanges  bool // only events that are not read-only
	OldestFirst  bool

	// MaxBytes limits the bytes of files that the search reads, in whole blocks: the page is then the events among them, and its Next finds
	// the others. 0 is no limit.
	MaxBytes int64
}

// Event is an event that a search found.
type Event struct {
	Record Record
	Line   []byte // as in the file, without the newline

	next position // where the search continues after the event
}

// Page is a part of the result of a search.
type Page struct {
	Events []Event
	// Next is the cursor of the next page. It is "" at the end of a search newest first. A search oldest first
	// always has a next cursor, which finds later events when they are written.
	Next string
	// Newest is the cursor for a search oldest first that begins after all events that existed when this search
	// began.
	Newest string

	reached time.Time // of a page that MaxBytes has ended: the time of the last line that was read
}

const (
	defaultPageSize = 50
	maxPageSize     = 1000
	maxPageBytes    = 4 << 20 // maximum size of the lines of one page
)

// Search returns a page of the events that match q, newest first unless q.OldestFirst is set. cursor is "" for
// the first page, or comes from an earlier page. The page has at most limit events (0 means 50; the maximum is
// 1,000), and fewer if their lines are long or q.MaxBytes were read. Events within 15 minutes of each other are ordered by the time of
// writing. Files that are deleted during the search are skipped.
//
// Errors: fault.InvalidParameter (the cursor is not from a search), the error of ctx.
func (l *Log) Search(ctx context.Context, q Query, cursor string, limit int) (Page, error) {
	if limit <= 0 {
		limit = defaultPageSize
	}
	s := search{Query: q, limit: min(limit, maxPageSize), needles: q.needles()}
	from, err := parsePosition(cursor)
	if err != nil {
		return Page{}, err
	}
	_ = l.Flush(ctx) // lines that cannot be written are not found; the background writer logs the error
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
		from = position{} // the files of the cursor are deleted, and numbers have started again
	}
	for _, f := range files {
		if done, err := l.searchFile(ctx, &s, f, from, cursor != ""); done || err != nil {
			return s.page, err
		}
	}
	return s.page, nil
}

// search is the state of one call of Search.
type search struct {
	Query
	limit   int
	needles [][]byte
	page    Page
	bytes   int
	read    int64 // bytes of files
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
	each := func(at int64, block []byte) bool {
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
			e := &s.page.Events[len(s.page.Events)-1]
			if e.next = (position{f.number, at + int64(begin)}); s.OldestFirst {
				e.next.offset += int64(len(line)) + 1
			}
			if s.full() {
				p := position{f.number, at + int64(begin)}
				if !s.OldestFirst {
					p.offset += int64(len(line)) + 1 // the next page ends at this offset, and must include this line
				}
				s.page.Next, done = p.String(), true
				s.page.Events = s.page.Events[:len(s.page.Events)-1]
				return false
			}
		}
		return true
	}
	if k, ok := s.mark(); ok && f.within(s.Since, s.Until) {
		if ended, err := l.marked(ctx, f, k, lo, hi, !s.OldestFirst, each); ended || err != nil {
			return done, err
		}
	}
	err = l.read(ctx, f, lo, hi, s.Since, s.Until, !s.OldestFirst, func(at int64, block []byte) bool {
		if !each(at, block) {
			return false
		}
		if s.read += int64(len(block)); s.MaxBytes == 0 || s.read < s.MaxBytes {
			return true
		}
		p := position{f.number, at}
		if s.OldestFirst {
			p.offset += int64(len(block))
		}
		s.page.Next, s.page.reached, done = p.String(), lastRead(block, !s.OldestFirst), true
		return false
	})
	return done, err
}

// lastRead returns the time of the line of a block that a search reads last, the zero time if no line has one.
func lastRead(block []byte, backward bool) time.Time {
	next := lines(block, !backward)
	for _, line := next(); line != nil; _, line = next() {
		if seconds, ok := lineTime(line); ok {
			return time.Unix(seconds, 0)
		}
	}
	return time.Time{}
}

// keep adds a line to the page if it matches the query.
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

// full reports whether the page has one event more than it may have.
func (s *search) full() bool {
	return len(s.page.Events) > s.limit || len(s.page.Events) > 1 && s.bytes > maxPageBytes
}

func (q *Query) inTime(seconds int64) bool {
	t := time.Unix(seconds, 0)
	return (q.Since.IsZero() || !t.Before(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

func (q *Query) matches(r *Record) bool {
	return (q.Account == "" || r.Account == q.Account) &&
		(q.EventName == "" || r.Name == q.EventName) &&
		(q.RequestID == "" || r.RequestID == q.RequestID || r.endsWith(q.RequestID)) &&
		(!q.OnlyDenied || r.denied()) &&
		(!q.OnlyChanges || !r.ReadOnly) &&
		(q.Principal == "" || r.Identity.is(q.Principal)) &&
		(q.Resource == "" || slices.ContainsFunc(r.Resources, func(x Resource) bool { return strings.Contains(x.ARN, q.Resource) }))
}

// CountedMember is the name of the member of additionalEventData of a line that stands for several requests, with their number
// ("requests"), and the ids of the first and the last of them ("firstRequestID", "lastRequestID").
const CountedMember = "counted"

// CountedCause is the member "scope" of CountedMember in a line that stands for requests with the same principal, action, error code
// and resource. A line with another scope stands for requests that failed for different reasons, and has the name CountedTogether.
const CountedCause = "cause"

// CountedTogether is the eventName of a line that stands for requests that failed for different reasons.
const CountedTogether = "RequestsCountedTogether"

// endsWith reports whether the line stands for several requests of which the given one is the last.
func (r *Record) endsWith(request string) bool {
	counted, ok := member(r.Additional.appendObject(nil), CountedMember)
	if !ok {
		return false
	}
	last, ok := member(counted, "lastRequestID")
	return ok && string(last) == string(appendString(nil, request, maxText))
}

func (i *Identity) is(principal string) bool {
	return strings.Contains(i.ARN, principal) || i.Session != nil && strings.Contains(i.Session.Issuer.ARN, principal) ||
		principal == i.UserName || principal == i.AccessKeyID || principal == i.PrincipalID
}

// needles returns texts that every matching line contains, so that other lines can be skipped without being
// parsed.
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

// lines returns an iterator over the lines of a block: each call returns one line, and nil at the end.
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

// snapshot returns the current files, oldest first.
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

// never is the time of the last line of a file without a readable line.
const never = 1 << 62

// lastTime returns the time of a file's last line. The result holds only as long as the file does not grow.
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
		return 0 // unknown
	}
	return found
}

// within reports whether the file can have a line between since and until. A zero time is no bound.
func (f *file) within(since, until time.Time) bool {
	const slack = maxLateness + 1 // lines have whole seconds
	return (until.IsZero() || f.start-slack <= until.Unix()) && (since.IsZero() || f.last == 0 || f.last+slack >= since.Unix())
}

// read calls blocks for one file of the trail, unless the file has no line between since and until. A zero time
// is no bound.
func (l *Log) read(ctx context.Context, f file, from, to int64, since, until time.Time, backward bool,
	each func(at int64, block []byte) bool) error {
	if !f.within(since, until) {
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

// known returns those of the ids that lines between two times have.
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
				// A torn line may contain the id, but counts only if all of it was written.
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

// position is an offset between two lines of a file.
type position struct {
	number int64 // number of the file
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
		return p, fault.InvalidParameter.New("the cursor is not from a search of the audit trail").Because(err)
	}
	return p, nil
}
