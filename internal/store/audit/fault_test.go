package audit

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

var midday = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// unattended opens a log whose background writer has ended, so that only the test writes.
func unattended(t *testing.T) *Log {
	t.Helper()
	l, err := OpenLog(t.TempDir(), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l.stop()
	<-l.done
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// numberedAt returns a record with the request id n.
func numberedAt(n int, at time.Time) *Record {
	return &Record{EventID: NewID(), Time: at, RequestID: fmt.Sprint(n), Account: "111122223333"}
}

// broken replaces the open file of a log by another, and returns a function that undoes it.
func broken(t *testing.T, l *Log, path string, flag int) (mend func()) {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	good := l.out
	l.out = f
	return func() { l.out = good }
}

// requests returns the request ids of a search, oldest first, and how many lines the trail says are lost.
func requests(t *testing.T, l *Log, q Query) (ids []string, lost string) {
	t.Helper()
	q.OldestFirst = true
	page, err := l.Search(t.Context(), q, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		if e.Record.Name == lostName {
			n, _ := member([]byte(e.Record.Service.JSON()), "lines")
			lost = string(n)
			continue
		}
		ids = append(ids, e.Record.RequestID)
	}
	return ids, lost
}

// While a file cannot be written, lines wait; a durable line of an earlier day that failed meanwhile begins a file of its own
// when it is written again, so that it is found by its time.
func TestLateLineAfterAFailedWriteIsFoundByTime(t *testing.T) {
	t.Parallel()
	l := unattended(t)
	l.Append(numberedAt(1, midday))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Append(numberedAt(2, midday))
	mend := broken(t, l, l.files[0].path, os.O_RDONLY)
	yesterday := midday.Add(-24 * time.Hour)
	late := numberedAt(3, yesterday).AppendJSON(nil)
	for range 2 {
		if err := l.AppendDurable(t.Context(), [][]byte{late}); err == nil {
			t.Fatal("a durable line in a file that cannot be written: got no error")
		}
	}
	mend()
	if err := l.AppendDurable(t.Context(), [][]byte{late}); err != nil {
		t.Fatal(err)
	}
	if got, lost := requests(t, l, Query{}); fmt.Sprint(got) != "[1 2 3]" || lost != "" {
		t.Errorf("got the lines %v and %q lost ones, want 1, 2 and 3 once each", got, lost)
	}
	if got, _ := requests(t, l, Query{Until: yesterday.Add(time.Hour)}); fmt.Sprint(got) != "[3]" {
		t.Errorf("of the day before: got the lines %v, want 3", got)
	}
}

// Lines that cannot be made durable are recorded as lost, except for durable ones, which the caller still has.
func TestLinesThatCannotBeSyncedAreLost(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/null"); err != nil {
		t.Skip("needs a device that can be written and not synced")
	}
	l := unattended(t)
	l.Append(numberedAt(1, midday))
	durable := [][]byte{numberedAt(2, midday).AppendJSON(nil), numberedAt(3, midday).AppendJSON(nil)}
	if err := l.AppendDurable(t.Context(), durable[:1]); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		l.Append(numberedAt(10+n, midday))
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken(t, l, "/dev/null", os.O_RDWR)
	if err := l.AppendDurable(t.Context(), durable[1:]); err == nil {
		t.Fatal("a durable line in a file that cannot be synced: got no error")
	}
	if got := l.everLost.Load(); got != 4 {
		t.Errorf("got %d lost lines, want 4", got)
	}
	l.Append(numberedAt(20, midday))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, lost := requests(t, l, Query{}); fmt.Sprint(got) != "[1 2 20]" || lost != "4" {
		t.Errorf("got the lines %v and %q lost ones, want 1, 2 and 20, and 4 lost ones", got, lost)
	}
	if err := l.AppendDurable(t.Context(), durable[1:]); err != nil {
		t.Fatal(err)
	}
	if got, _ := requests(t, l, Query{}); fmt.Sprint(got) != "[1 2 20 3]" || l.everLost.Load() != 4 {
		t.Errorf("got the lines %v and %d lost ones, want 1, 2, 20 and 3, and no further loss", got, l.everLost.Load())
	}
}

// member finds only whole values of the outermost object. A line that is torn anywhere gives the value of the whole line or none.
func TestMemberOfALine(t *testing.T) {
	t.Parallel()
	const line = `{"a":"x\\","b\"":{"c":[1,{"c":"}\""}],"d":"]"},"":[],"c":-1.5,"e":true,"f":"\\\"","g":null}`
	want := map[string]string{"a": `"x\\"`, `b\"`: `{"c":[1,{"c":"}\""}],"d":"]"}`, "": "[]", "c": "-1.5", "e": "true", "f": `"\\\""`,
		"g": "null"}
	for name, value := range want {
		if got, ok := member([]byte(line), name); !ok || string(got) != value {
			t.Errorf("%q: got %q, %t, want %q", name, got, ok, value)
		}
		for end := range len(line) {
			if got, ok := member([]byte(line[:end]), name); ok && string(got) != value {
				t.Errorf("%q of a line torn at %d: got %q, want %q or none", name, end, got, value)
			}
		}
	}
	for _, name := range []string{"d", "x", "b", `"c`} {
		if got, ok := member([]byte(line), name); ok {
			t.Errorf("%q: got %q, want none", name, got)
		}
	}
	for _, bad := range []string{
		"", "[1]", `"c":1}`, `{c:1}`, `{"c"1}`, `{"x":1 "c":2}`, `{"x":1;"c":2}`, `{"x":1}"c":2}`, `{"c"`, `{"c":`, `{"c":"`,
	} {
		if got, ok := member([]byte(bad), "c"); ok {
			t.Errorf("of %q: got %q, want none", bad, got)
		}
	}
}
