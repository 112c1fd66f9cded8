package audit_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// marked returns the files with the marks of complete files of the trail.
func marked(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.marks"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Denied requests and changes are found by marks: also after a restart, when the marks are lost, wrong or of another file, and when a file
// has very many of them.
func TestMarkedLinesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := audit.Options{MaxBytes: 8 << 10}
	l := openLog(t, dir, opts)
	var denied, changes []string
	for i := range 200 {
		r := numbered(i, i)
		r.ReadOnly = i%17 != 0
		if i%13 == 0 {
			r.ErrorCode = "AccessDenied"
			denied = append(denied, strconv.Itoa(i))
		}
		if !r.ReadOnly {
			changes = append(changes, strconv.Itoa(i))
		}
		appendAll(t, l, r)
	}
	check := func(what string, l *audit.Log) {
		t.Helper()
		for _, limit := range []int{1, 3, 0} {
			for _, q := range []audit.Query{{OnlyDenied: true}, {OnlyChanges: true}} {
				want := denied
				if q.OnlyChanges {
					want = changes
				}
				want = slices.Clone(want)
				q.OldestFirst = true
				if got := found(t, l, q, limit); got != strings.Join(want, " ") {
					t.Errorf("%s, %+v by %d: got %q, want %q", what, q, limit, got, want)
				}
				q.OldestFirst = false
				if got := found(t, l, q, limit); got != reversed(strings.Join(want, " ")) {
					t.Errorf("%s, %+v by %d, newest first: got %q, want %q", what, q, limit, got, want)
				}
			}
		}
	}
	check("while they are written", l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files := marked(t, dir)
	if len(files) != len(names(t, dir)) || len(files) < 5 {
		t.Fatalf("got %d files with marks of %d", len(files), len(names(t, dir)))
	}
	l = openLog(t, dir, opts)
	check("after a restart", l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		text := map[int]string{0: "", 1: "x", 2: `{"size":5}`, 3: `{"size":-1,"refused":{"at":[1]}}`}[i%5]
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	l = openLog(t, dir, opts)
	check("with marks that are lost or wrong", l)
	check("once more", l)
	if got := len(marked(t, dir)); got < len(files)-1 { // that of the file that is open is made when it is complete
		t.Errorf("got %d files with marks after the search, want %d again", got, len(files)-1)
	}
}

// A deleted file takes its marks with it.
func TestMarksGoWithTheirFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{MaxBytes: 2 << 10, Keep: 6 << 10})
	for i := range 100 {
		appendAll(t, l, numbered(i, i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range marked(t, dir) {
		if _, err := os.Stat(strings.TrimSuffix(path, ".marks")); err != nil {
			t.Errorf("the marks of a deleted file: %v", err)
		}
	}
}

// A file with more marked lines than are kept is read as a whole.
func TestManyMarkedLines(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	const many = 5000
	for i := range many {
		r := numbered(i, 0)
		r.ErrorCode = "AccessDenied"
		l.Append(r)
	}
	got := strings.Fields(found(t, l, audit.Query{OnlyDenied: true}, 0))
	if len(got) != many || got[0] != strconv.Itoa(many-1) {
		t.Errorf("got %d lines, want %d", len(got), many)
	}
}

// A search that may read a part of the trail finds all by its pages, of both logs in the order of time.
func TestSearchReadsAPart(t *testing.T) {
	t.Parallel()
	l := openLogs(t, t.TempDir(), audit.Options{MaxBytes: 64 << 10})
	var want []string
	for i := range 300 {
		r := numbered(i, i)
		r.Name = "Other"
		if i%29 == 0 {
			r.Name = "Wanted"
			want = append(want, r.RequestID)
		}
		l.Append(i%58 == 0, r)
	}
	slices.Reverse(want)
	for _, oldestFirst := range []bool{false, true} {
		var all []string
		pages, cursor := 0, ""
		for {
			page, err := l.Search(t.Context(), audit.Query{EventName: "Wanted", OldestFirst: oldestFirst, MaxBytes: 1}, cursor, 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				all = append(all, e.Record.RequestID)
			}
			pages++
			if cursor = page.Next; cursor == "" || oldestFirst && len(page.Events) == 0 && pages > 40 {
				break
			}
		}
		if oldestFirst {
			slices.Reverse(all)
		}
		if !slices.Equal(all, want) || pages < 3 {
			t.Errorf("oldest first %t: got %q in %d pages, want %q", oldestFirst, all, pages, want)
		}
	}
}
