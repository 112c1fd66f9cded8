package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// row returns a line of n bytes with its newline, which begins with a number.
func row(number, n int) string {
	head := fmt.Sprintf("%04d", number)
	return head + strings.Repeat("x", n-len(head)-1) + "\n"
}

// rowsOf returns the numbers of the lines that blocks finds in a text, in the order in which it finds them.
func rowsOf(t *testing.T, text string, from, to int64, backward bool) (numbers []string, calls int) {
	t.Helper()
	err := blocks(t.Context(), strings.NewReader(text), from, to, backward, func(at int64, block []byte) bool {
		calls++
		if text[at:at+int64(len(block))] != string(block) {
			t.Fatalf("a block of %d bytes is not what the file has at %d", len(block), at)
		}
		next := lines(block, backward)
		for begin, line := next(); line != nil; begin, line = next() {
			if got := text[at+int64(begin):][:len(line)]; got != string(line) {
				t.Fatalf("a line at %d is not what the file has there: got %.20q, want %.20q", at+int64(begin), line, got)
			}
			numbers = append(numbers, string(line[:min(4, len(line))]))
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return numbers, calls
}

// Each line is found once, wherever the blocks begin and end: at the end of a line, at that of the file, or within a line.
func TestLinesAtTheEndsOfBlocks(t *testing.T) {
	t.Parallel()
	const part = blockBytes / 16
	for what, sizes := range map[string][]int{
		"nothing":                          {},
		"one line":                         {part},
		"a block":                          slices.Repeat([]int{part}, 16),
		"a block and a line":               slices.Repeat([]int{part}, 17),
		"two blocks":                       slices.Repeat([]int{part}, 32),
		"two blocks, of lines of a half":   slices.Repeat([]int{8 * part}, 4),
		"two blocks, of a line each":       {blockBytes, blockBytes},
		"a block of one line and a line":   {blockBytes, part},
		"a line and a block of one line":   {part, blockBytes},
		"lines that do not fill a block":   slices.Repeat([]int{part + 7}, 40),
		"one byte less than a block":       append(slices.Repeat([]int{part}, 15), part-1),
		"one byte more than a block":       append(slices.Repeat([]int{part}, 15), part+1, part),
		"a short line at the end":          append(slices.Repeat([]int{part}, 16), 6),
		"a short line at the beginning":    append([]int{6}, slices.Repeat([]int{part}, 16)...),
		"a block, begun by a short line":   append([]int{6, part - 6}, slices.Repeat([]int{part}, 31)...),
		"a block, ended by a short line":   append(slices.Repeat([]int{part}, 31), part-6, 6),
		"two blocks, with lines of 8 each": slices.Repeat([]int{8}, blockBytes/4),
	} {
		var text strings.Builder
		var want []string
		for i, n := range sizes {
			text.WriteString(row(i%10_000, n))
			want = append(want, fmt.Sprintf("%04d", i%10_000))
		}
		all := text.String()
		for _, ended := range []bool{true, false} {
			if !ended {
				all = strings.TrimSuffix(all, "\n")
			}
			if got, _ := rowsOf(t, all, 0, int64(len(all)), false); !slices.Equal(got, want) {
				t.Errorf("%s, ended %t: got %d lines forward, want %d: %.40v", what, ended, len(got), len(want), got)
			}
			got, calls := rowsOf(t, all, 0, int64(len(all)), true)
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s, ended %t: got %d lines backward, want %d: %.40v", what, ended, len(got), len(want), got)
			}
			if most := len(all)/(blockBytes/2) + 1; calls > most {
				t.Errorf("%s, ended %t: %d blocks backward, want at most %d", what, ended, calls, most)
			}
		}
		if len(sizes) < 3 || !strings.HasSuffix(what, "line") {
			continue
		}
		from, to := int64(sizes[0]), int64(len(text.String())-sizes[len(sizes)-1])
		for _, backward := range []bool{false, true} {
			got, _ := rowsOf(t, text.String(), from, to, backward)
			if backward {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want[1:len(want)-1]) {
				t.Errorf("%s, without its ends, backward %t: got %d lines, want %d", what, backward, len(got), len(want)-2)
			}
		}
	}
}

// After a block that ends the search no other is read, and none after the end of the context.
func TestBlocksEndEarly(t *testing.T) {
	t.Parallel()
	text := strings.Repeat(row(1, blockBytes/4), 12)
	for _, backward := range []bool{false, true} {
		calls := 0
		err := blocks(t.Context(), strings.NewReader(text), 0, int64(len(text)), backward, func(int64, []byte) bool {
			calls++
			return calls < 2
		})
		if err != nil || calls != 2 {
			t.Errorf("backward %t: got %d blocks, %v, want 2", backward, calls, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = blocks(ctx, strings.NewReader(text), 0, int64(len(text)), backward, func(int64, []byte) bool { cancel(); return true })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("backward %t: got %v, want the end of the context", backward, err)
		}
		err = blocks(t.Context(), strings.NewReader(text), 0, int64(len(text))+1, backward, func(int64, []byte) bool { return true })
		if err == nil {
			t.Errorf("backward %t: a file that is shorter than it was: got no error", backward)
		}
	}
}

// The record of lost lines has their number and the times of the first and the last of them, and the next one begins anew.
func TestLostLinesAreRecordedWithTheirTimes(t *testing.T) {
	t.Parallel()
	l := unattended(t)
	now := midday
	l.opts.Now = func() time.Time { return now }
	lose := func(lines int64, at time.Time) {
		now = at
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lose(lines)
	}
	var got []string
	for i, losses := range [][]int64{{2, 3, 0}, {1}, {4, 0, 5}} {
		begin := midday.Add(time.Duration(i) * time.Hour)
		for j, n := range losses {
			lose(n, begin.Add(time.Duration(j)*time.Minute))
		}
		now = begin.Add(30 * time.Minute)
		for range 2 { // the first call adds the record, and the second writes it
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	page, err := l.Search(t.Context(), Query{EventName: lostName, OldestFirst: true}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		r := e.Record
		got = append(got, r.Time.Format(time.TimeOnly)+" "+r.Service.JSON())
		if r.Source != "ecrin" || r.Type != TypeServiceEvent || !r.ReadOnly || r.Identity.Type != AWSService || r.Identity.InvokedBy != "ecrin" ||
			r.EventID == (ID{}) {
			t.Errorf("got the record %+v, want an event of the server itself", r)
		}
	}
	want := []string{
		`12:30:00 {"lines":5,"from":"2026-01-02T12:00:00Z","to":"2026-01-02T12:01:00Z"}`,
		`13:30:00 {"lines":1,"from":"2026-01-02T13:00:00Z","to":"2026-01-02T13:00:00Z"}`,
		`14:30:00 {"lines":9,"from":"2026-01-02T14:00:00Z","to":"2026-01-02T14:02:00Z"}`,
	}
	if !slices.Equal(got, want) || l.everLost.Load() != 15 {
		t.Errorf("got %d lost lines in the records\n%s\nwant 15 in\n%s", l.everLost.Load(), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Lines beyond what may wait in memory are lost, and counted; those that are being written count as waiting.
func TestWaitingLinesAreBounded(t *testing.T) {
	t.Parallel()
	l := unattended(t)
	l.Append(numberedAt(1, midday))
	one := len(l.buf)
	l.mu.Lock()
	l.busy = maxWaiting - one
	l.mu.Unlock()
	l.Append(numberedAt(2, midday))
	if got := l.everLost.Load(); got != 1 || len(l.buf) != one {
		t.Errorf("at the limit: got %d lost lines and %d bytes that wait, want 1 and %d", got, len(l.buf), one)
	}
	l.mu.Lock()
	l.busy--
	l.mu.Unlock()
	l.Append(numberedAt(3, midday))
	if got := l.everLost.Load(); got != 1 || len(l.buf) != 2*one {
		t.Errorf("one byte below the limit: got %d lost lines and %d bytes that wait, want 1 and %d", got, len(l.buf), 2*one)
	}
}

// The lines that could not be written come before those that were added in the meantime, and each file begins where it would have.
func TestLinesThatWaitAgainKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]struct {
		buf  string
		cuts []int
	}{
		0: {"aabbccdd", []int{0, 4, 6}}, 2: {"bbccdd", []int{2, 4}}, 4: {"ccdd", []int{0, 2}}, 6: {"dd", []int{0}},
	} {
		l := &Log{buf: []byte("dd"), cuts: []int{0}}
		l.putBack([]byte("aabbcc"), []int{0, 4, 6}, n) // the file at 6 is that of a durable line, which does not wait
		if string(l.buf) != want.buf || !slices.Equal(l.cuts, want.cuts) {
			t.Errorf("after %d bytes were written: got %q with files from %v, want %q and %v", n, l.buf, l.cuts, want.buf, want.cuts)
		}
	}
}

// Whatever the limit and the characters, Clip returns as much as fits, in whole characters.
func TestClipOfEachLength(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"x", "é", "€", "😀", "\"", "\u202e", "ab€"} {
		width := len(appendString(nil, unit, len(unit))) - 2
		for pad := range 5 {
			text := strings.Repeat("x", pad) + strings.Repeat(unit, 100)
			for limit := 20; limit <= 120; limit++ {
				got := Clip(text, limit)
				n := len(appendString(nil, got, len(got))) - 2
				body, cut := strings.CutSuffix(got, "…")
				if whole := pad+100*width <= limit; whole != (got == text) || whole == cut {
					t.Fatalf("%d and 100 of %q within %d: got %q", pad, unit, limit, got)
				}
				if n > limit || !utf8.ValidString(got) || !strings.HasPrefix(text, body) || cut && n < limit*3/4-2*width {
					t.Fatalf("%d and 100 of %q within %d: got %q, %d bytes in a line, want at most %d of its beginning", pad, unit, limit, got, n,
						limit)
				}
			}
		}
	}
}

// A block that was cut anywhere gives its lines, also the last one, which has no end.
func TestLinesOfABlock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "\n": "0:", "a": "0:a", "a\n": "0:a", "a\nb": "0:a 2:b", "a\n\nb\n": "0:a 2: 3:b", "\n\n": "0: 1:",
	} {
		for _, backward := range []bool{false, true} {
			var all []string
			next := lines([]byte(text), backward)
			for begin, line := next(); line != nil; begin, line = next() {
				all = append(all, fmt.Sprintf("%d:%s", begin, bytes.TrimSpace(line)))
			}
			if backward {
				slices.Reverse(all)
			}
			if got := strings.Join(all, " "); got != want {
				t.Errorf("%q, backward %t: got %q, want %q", text, backward, got, want)
			}
		}
	}
}
