package audit_test

import (
	"fmt"
	"log/slog"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

func openLogs(t *testing.T, dir string, opts audit.Options) *audit.Logs {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	l, err := audit.OpenLogs(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// pageOf returns the numbers of the events of one page, and its next cursor.
func pageOf(t *testing.T, l *audit.Logs, q audit.Query, cursor string, limit int) (all []string, next string) {
	t.Helper()
	page, err := l.Search(t.Context(), q, cursor, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		all = append(all, strings.TrimPrefix(e.Record.RequestID, "request-"))
	}
	return all, page.Next
}

// A search finds the lines of both logs in the order of their times, each once, with every size of a page, also while lines are
// added.
func TestBothLogsAreSearchedAsOne(t *testing.T) {
	t.Parallel()
	for _, seed := range []int64{1, 2, 3, 4} {
		random := rand.New(rand.NewSource(seed)) //nolint:gosec // a test
		l := openLogs(t, t.TempDir(), audit.Options{MaxBytes: 3000})
		n := 0
		add := func(some int) {
			for range some {
				stranger := seed != 4 && random.Intn(3) == 0 || seed == 3
				l.Append(stranger, numbered(n, n))
				n++
			}
		}
		add(60)
		forward := make([]string, n)
		for i := range n {
			forward[i] = fmt.Sprint(i)
		}
		backward := slices.Clone(forward)
		slices.Reverse(backward)
		for _, limit := range []int{1, 2, 7, 59, 60, 61, 1000} {
			var got []string
			for cursor := ""; ; {
				page, next := pageOf(t, l, audit.Query{Until: noon.Add(60 * 1e9)}, cursor, limit)
				got = append(got, page...)
				if cursor = next; next == "" {
					break
				}
				add(1) // later lines do not move the pages
			}
			if !slices.Equal(got, backward) {
				t.Errorf("seed %d, newest first, pages of %d: got %v, want %v", seed, limit, got, backward)
			}
			got = nil
			for cursor := ""; ; {
				page, next := pageOf(t, l, audit.Query{OldestFirst: true, Until: noon.Add(60 * 1e9)}, cursor, limit)
				got = append(got, page...)
				if cursor = next; len(page) == 0 {
					break
				}
			}
			if !slices.Equal(got, forward) {
				t.Errorf("seed %d, oldest first, pages of %d: got %v, want %v", seed, limit, got, forward)
			}
		}
		// A search oldest first continues with the lines that are added later.
		_, cursor := pageOf(t, l, audit.Query{OldestFirst: true}, "", 1000)
		before := n
		add(5)
		got, next := pageOf(t, l, audit.Query{OldestFirst: true}, cursor, 1000)
		if len(got) != 5 || got[0] != fmt.Sprint(before) || next == "" {
			t.Errorf("seed %d: after the end: got %v and the cursor %q, want 5 lines from %d on", seed, got, next, before)
		}
	}
	l := openLogs(t, t.TempDir(), audit.Options{})
	for _, cursor := range []string{"x.y", "!.x", "x"} {
		if _, err := l.Search(t.Context(), audit.Query{}, cursor, 1); err == nil {
			t.Errorf("the cursor %q: got no error", cursor)
		}
	}
}

// The lines of strangers never replace lines of owners, and the newest of them are kept. Both together have the maximum size.
func TestStrangersHaveTheirOwnSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const keep = 256 << 10
	l := openLogs(t, dir, audit.Options{Keep: keep})
	for i := range 50 {
		l.Append(false, numbered(i, i))
	}
	const strangers = 4000
	for i := range strangers {
		r := numbered(100+i, 100)
		r.Account = "444455556666"
		l.Append(true, r)
		if i%100 == 0 { // so that files are written one after the other
			if err := l.Strangers.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	owners, _ := pageOf(t, l, audit.Query{Account: "111122223333"}, "", 1000)
	if len(owners) != 50 {
		t.Errorf("got %d lines of owners, want all 50", len(owners))
	}
	newest, _ := pageOf(t, l, audit.Query{Account: "444455556666"}, "", 10)
	if len(newest) != 10 || newest[0] != fmt.Sprint(100+strangers-1) {
		t.Errorf("the newest lines of strangers are %v, want the last", newest)
	}
	size := int64(0)
	files, err := filepath.Glob(filepath.Join(dir, audit.StrangersFolder, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > keep/8 || size < keep/16 {
		t.Errorf("the lines of strangers have %d bytes, want up to an eighth of %d", size, keep)
	}
}

// Both logs have several files, so that a full one loses only its oldest lines: most of the maximum size stays in use.
func TestFullLogsKeepMostOfTheirLines(t *testing.T) {
	t.Parallel()
	const keep = 128 << 10
	for stranger, share := range map[bool]int64{false: keep - keep/8, true: keep / 8} {
		dir := t.TempDir()
		l := openLogs(t, dir, audit.Options{Keep: keep})
		log, folder := l.Owners, dir
		if stranger {
			log, folder = l.Strangers, filepath.Join(dir, audit.StrangersFolder)
		}
		for i := range 1500 {
			l.Append(stranger, numbered(i, i))
			if i%5 != 0 {
				continue
			}
			if err := log.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, file := range names(t, folder) {
			if info, err := os.Stat(filepath.Join(folder, file)); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
		}
		if size > share || size < share*3/4 {
			t.Errorf("strangers %t: the files have %d bytes, want at most %d and at least three quarters of it", stranger, size, share)
		}
	}
}
