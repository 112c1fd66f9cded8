package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	const alice, bob = "arn:aws:iam::111122223333:user/alice", "arn:aws:sts::444455556666:assumed-role/deploy/bob"
	app, web := "arn:aws:ecr:eu-west-1:111122223333:repository/team/app", "arn:aws:ecr:eu-west-1:111122223333:repository/team/web \"1\""
	l := openLog(t, t.TempDir(), audit.Options{MaxBytes: 1500})
	for i, c := range []struct {
		account, who, name, resource, code string
		reads                              bool
	}{
		{"111122223333", alice, "PutImage", app, "", false},
		{"111122223333", alice, "BatchGetImage", app, "", true},
		{"444455556666", bob, "BatchGetImage", web, "AccessDenied", true},
		{"111122223333", bob, "BatchGetImage", web, "AccessDenied", true},
		{"111122223333", bob, "DescribeImages", web, "RepositoryNotFoundException", true},
		{"111122223333", alice, "CreateRepository", web, "RepositoryAlreadyExistsException", false},
		{"444455556666", bob, "GetCallerIdentity", "", "", true},
	} {
		r := numbered(i, i*60)
		r.Account, r.Identity.ARN, r.Name, r.ErrorCode, r.ReadOnly = c.account, c.who, c.name, c.code, c.reads
		if c.who == bob {
			r.Identity.AccessKeyID, r.Identity.PrincipalID, r.Identity.UserName = "ASIABOB", "AROABOB:bob", "bob"
			r.Identity.Session = &audit.Session{Issuer: audit.Issuer{ARN: "arn:aws:iam::444455556666:role/deploy"}}
		}
		if c.resource != "" {
			r.Resources = []audit.Resource{{ARN: c.resource}}
		}
		// The texts of the filters in a member that the filters do not search.
		r.Request.String("note", alice+app+"AccessDenied GetCallerIdentity 444455556666 request-0 ASIABOB")
		r.Request.Bool("readOnly", false)
		r.Request.String("errorCode", "AccessDenied")
		l.Append(r)
	}
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		q    audit.Query
		want string // oldest first
	}{
		{audit.Query{}, "0 1 2 3 4 5 6"},
		{audit.Query{Since: minute(2)}, "2 3 4 5 6"},
		{audit.Query{Until: minute(2)}, "0 1"},
		{audit.Query{Since: minute(1), Until: minute(3)}, "1 2"},
		{audit.Query{Since: minute(7)}, ""},
		{audit.Query{Account: "444455556666"}, "2 6"},
		{audit.Query{Account: "4444555566"}, ""},
		{audit.Query{Principal: alice}, "0 1 5"},
		{audit.Query{Principal: "deploy/bob"}, "2 3 4 6"},
		{audit.Query{Principal: "role/deploy"}, "2 3 4 6"},
		{audit.Query{Principal: "ASIABOB"}, "2 3 4 6"},
		{audit.Query{Principal: "AROABOB:bob"}, "2 3 4 6"},
		{audit.Query{Principal: "AROABOB"}, ""},
		{audit.Query{EventName: "BatchGetImage"}, "1 2 3"},
		{audit.Query{EventName: "GetImage"}, ""},
		{audit.Query{Resource: app}, "0 1"},
		{audit.Query{Resource: "team/web \"1\""}, "2 3 4 5"},
		{audit.Query{RequestID: "request-0"}, "0"},
		{audit.Query{RequestID: "request-"}, ""},
		{audit.Query{OnlyDenied: true}, "2 3"},
		{audit.Query{OnlyChanges: true}, "0 5"},
		{audit.Query{OnlyDenied: true, Account: "111122223333", Principal: "bob", EventName: "BatchGetImage", Resource: "web",
			Since: minute(3), Until: minute(4), RequestID: "request-3"}, "3"},
	} {
		for _, limit := range []int{1, 2, 0} {
			c.q.OldestFirst = true
			if got := found(t, l, c.q, limit); got != c.want {
				t.Errorf("%+v by %d: got %q, want %q", c.q, limit, got, c.want)
			}
			c.q.OldestFirst = false
			if got, want := found(t, l, c.q, limit), reversed(c.want); got != want {
				t.Errorf("%+v by %d: got %q, want %q", c.q, limit, got, want)
			}
		}
	}
}

// Following a search continues where the last page ended, across new lines and new files, and misses no line.
func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := audit.Options{MaxBytes: 1000}
	l := openLog(t, dir, opts)
	first, err := l.Search(t.Context(), audit.Query{}, "", 10)
	if err != nil || first.Next != "" || len(first.Events) != 0 {
		t.Fatalf("an empty trail: got %+v, %v", first, err)
	}
	follow := first.Newest
	var got []string
	for i := range 12 {
		appendAll(t, l, numbered(2*i, i), numbered(2*i+1, i))
		if i == 6 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, dir, opts)
		}
		for {
			page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, follow, 1)
			if err != nil {
				t.Fatal(err)
			}
			follow = page.Next
			if len(page.Events) == 0 {
				break
			}
			got = append(got, strings.TrimPrefix(page.Events[0].Record.RequestID, "request-"))
		}
	}
	var want []string
	for i := range 24 {
		want = append(want, fmt.Sprint(i))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want each of 24 once, in order", got)
	}
	newest, err := l.Search(t.Context(), audit.Query{}, "", 3)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, numbered(24, 24))
	page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, newest.Newest, 10)
	if err != nil || len(page.Events) != 1 || page.Events[0].Record.RequestID != "request-24" {
		t.Errorf("from the newest of a search: got %+v, %v, want the line that came after it", page.Events, err)
	}
}

// Paging newest first continues where the last page ended, although lines are added in between.
func TestPagesStayPut(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{MaxBytes: 1000})
	var all []string
	for i := range 10 {
		appendAll(t, l, numbered(i, i))
	}
	for cursor, i := "", 10; ; i++ {
		page, err := l.Search(t.Context(), audit.Query{}, cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, strings.TrimPrefix(e.Record.RequestID, "request-"))
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		appendAll(t, l, numbered(i, i))
	}
	if got := strings.Join(all, " "); got != "9 8 7 6 5 4 3 2 1 0" {
		t.Errorf("got %q, want 9 to 0", got)
	}
}

func TestCursorIsChecked(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	appendAll(t, l, numbered(1, 0))
	for _, bad := range []string{"x", "!", "MS4x.", "LTEuMQ", "MS4tMQ", "MQ"} { // "-1.1", "1.-1", "1"
		if _, err := l.Search(t.Context(), audit.Query{}, bad, 1); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("cursor %q: got %v, want InvalidParameter", bad, err)
		}
	}
	// A position inside a line and a position beyond the end give no error.
	for _, odd := range []string{"MS4xMA", "MS45OTk5OTk5", "OS4w"} { // "1.10", "1.9999999", "9.0"
		for _, oldest := range []bool{false, true} {
			if _, err := l.Search(t.Context(), audit.Query{OldestFirst: oldest}, odd, 1); err != nil {
				t.Errorf("cursor %q: %v", odd, err)
			}
		}
	}
}

// Files without a line of the requested time are not opened, so that an unreadable file among them causes no
// error.
func TestFilesAreSkippedByTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const day = 24 * 3600
	l := openLog(t, dir, audit.Options{})
	for i := range 5 {
		appendAll(t, l, numbered(i, i*day))
	}
	if _, err := l.Search(t.Context(), audit.Query{}, "", 1); err != nil { // also looks up the time of each file's last line
		t.Fatal(err)
	}
	all := names(t, dir)
	if len(all) != 5 {
		t.Fatalf("got files %q, want 5", all)
	}
	for i, name := range all {
		if i != 2 {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}
	}
	q := audit.Query{Since: noon.Add(47 * time.Hour), Until: noon.Add(49 * time.Hour)}
	if got := found(t, l, q, 0); got != "2" {
		t.Errorf("got %q, want 2", got)
	}
	if _, err := l.Search(t.Context(), audit.Query{}, "", 10); err == nil {
		t.Error("without a time: got no error, want one: the files were not read")
	}
}

func TestSearchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	appendAll(t, l, numbered(1, 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Search(ctx, audit.Query{}, "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Without a limit a page has 50 events, and with a greater one than 1,000 it has 1,000.
func TestSizeOfAPage(t *testing.T) {
	t.Parallel()
	l := openLogs(t, t.TempDir(), audit.Options{})
	for i := range 1002 {
		l.Append(i%2 == 0, numbered(i, i))
		l.Owners.Append(numbered(i, i))
	}
	for limit, want := range map[int]int{-1: 50, 0: 50, 1: 1, 50: 50, 51: 51, 999: 999, 1000: 1000, 1001: 1000, 5000: 1000} {
		for _, oldest := range []bool{false, true} {
			q := audit.Query{OldestFirst: oldest}
			one, err := l.Owners.Search(t.Context(), q, "", limit)
			both, err2 := l.Search(t.Context(), q, "", limit)
			if err != nil || err2 != nil || len(one.Events) != want || len(both.Events) != want {
				t.Errorf("limit %d: got %d events of one log and %d of both, %v, %v, want %d", limit, len(one.Events), len(both.Events), err,
					err2, want)
			}
		}
	}
}

// A page of long lines ends at its maximum size, and the next page continues after it.
func TestPageOfLongLines(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	const n = 100
	for i := range n {
		r := numbered(i, i)
		for _, p := range []*audit.Params{&r.Request, &r.Response, &r.Additional} {
			for range 60 {
				p.String("text", strings.Repeat("x", 1024))
			}
		}
		appendAll(t, l, r)
	}
	page, err := l.Search(t.Context(), audit.Query{}, "", 1000)
	size := 0
	for _, e := range page.Events {
		size += len(e.Line)
	}
	if err != nil || size > 4<<20 || len(page.Events) < 10 || page.Next == "" {
		t.Errorf("got %d events of %d bytes, %v, want at most 4 MiB and a cursor", len(page.Events), size, err)
	}
	for _, oldest := range []bool{false, true} {
		if got := len(strings.Fields(found(t, l, audit.Query{OldestFirst: oldest}, 1000))); got != n {
			t.Errorf("oldest first %t: got %d events by pages, want %d", oldest, got, n)
		}
	}
}

// BenchmarkSearch searches 64 MB for one request.
func BenchmarkSearch(b *testing.B) {
	l, err := audit.OpenLog(b.TempDir(), audit.Options{MaxBytes: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	size := int64(0)
	for i := 0; size < 64<<20; i++ {
		r := full()
		r.RequestID = fmt.Sprintf("request-%d", i)
		size += int64(len(r.AppendJSON(nil)) + 1)
		l.Append(&r)
		if i%1000 == 0 {
			if err := l.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.SetBytes(size)
	for b.Loop() {
		page, err := l.Search(b.Context(), audit.Query{RequestID: "request-0"}, "", 10)
		if err != nil || len(page.Events) != 1 {
			b.Fatalf("got %d events, %v, want 1", len(page.Events), err)
		}
	}
}

// A search by time finds lines that came late: those older than the name of their file, and those newer than
// its last line.
func TestLateLinesAreFoundByTime(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		seconds      []int
		since, until int
		want         string
	}{
		"older than the name":        {[]int{900, 0, 900}, -10, 10, "1"},
		"newer than the last line":   {[]int{0, 900, 10, 12 * 3600}, 890, 910, "1"},
		"of the second that is half": {[]int{0, 1, 12 * 3600}, 1, 2, "1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := openLog(t, t.TempDir(), audit.Options{})
			for i, s := range c.seconds {
				r := numbered(i, s)
				r.Time = r.Time.Add(600 * time.Millisecond)
				l.Append(r)
			}
			at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
			for _, oldest := range []bool{false, true} {
				if got := found(t, l, audit.Query{Since: at(c.since), Until: at(c.until), OldestFirst: oldest}, 0); got != c.want {
					t.Errorf("oldest first %t: got %q, want %q", oldest, got, c.want)
				}
			}
		})
	}
}

// The time of the last line of a large file is found too, so that a search by time does not skip the file.
func TestEndOfALargeFileIsFoundByTime(t *testing.T) {
	t.Parallel()
	const hour = 3600
	l := openLog(t, t.TempDir(), audit.Options{})
	for i := range 10 {
		r := numbered(i, i*hour)
		for _, p := range []*audit.Params{&r.Request, &r.Response, &r.Additional, &r.Service} {
			for range 60 {
				p.String("text", strings.Repeat("x", 1024))
			}
		}
		appendAll(t, l, r)
	}
	appendAll(t, l, numbered(10, 24*hour))
	q := audit.Query{Since: noon.Add(8 * time.Hour), Until: noon.Add(10 * time.Hour)}
	if got := found(t, l, q, 0); got != "9 8" {
		t.Errorf("got %q, want 9 and 8", got)
	}
}

func TestOnlyDenied(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	var want []string
	for i, c := range []struct {
		code   string
		denied bool
	}{
		{"", false}, {"AccessDenied", true}, {"AccessDeniedException", true}, {"Client.UnauthorizedOperation",
			true}, {"ExpiredTokenException", true},
		{"SignatureDoesNotMatch", true}, {"RepositoryNotFoundException", false}, {"ThrottlingException", false}, {"NotAccessDenied", false},
	} {
		r := numbered(i, i)
		r.ErrorCode = c.code
		l.Append(r)
		if c.denied {
			want = append(want, fmt.Sprint(i))
		}
	}
	// A line for requests that failed for different reasons, of which some may be denials; its code is that of one of them.
	mixed := numbered(50, 50)
	mixed.Name, mixed.ErrorCode = audit.CountedTogether, "RepositoryNotFoundException"
	l.Append(mixed)
	want = append(want, "50")
	if got := found(t, l, audit.Query{OnlyDenied: true, OldestFirst: true}, 0); got != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}
