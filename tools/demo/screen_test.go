package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestScreenColours(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		terminal, colour, wantColour, wantLive bool
	}{
		"file":                   {},
		"terminal":               {terminal: true, colour: true, wantColour: true, wantLive: true},
		"terminal with NO_COLOR": {terminal: true, wantLive: true},
	} {
		var b bytes.Buffer
		s := &screen{w: &b, terminal: test.terminal, colour: test.colour}
		s.step("Push", "skopeo copy %s", "x")
		s.progress("1 of 2")
		s.progress("2 of 2")
		s.note("done")
		if got := strings.Contains(b.String(), "\x1b["+bold+"m"); got != test.wantColour {
			t.Errorf("%s: colours %t, want %t: %q", what, got, test.wantColour, b.String())
		}
		if got := strings.Contains(b.String(), "1 of 2\r\x1b[K     2 of 2\r\x1b[K     done\n"); got != test.wantLive {
			t.Errorf("%s: changing line %t, want %t: %q", what, got, test.wantLive, b.String())
		}
	}
}

func TestNewScreenOnFile(t *testing.T) {
	t.Parallel()
	s := newScreen(&bytes.Buffer{}, func(string) string { return "" }, false)
	if s.terminal || s.colour {
		t.Errorf("a buffer is taken for a terminal: %+v", s)
	}
}

// Names from archives must not move the cursor or change colours.
func TestScreenHostileNames(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := &screen{w: &b, verbose: true}
	s.note("%s", "a\x1b[2Jb\rc\u009bd")
	s.detail("%s", "line\x07\nnext")
	if got, want := b.String(), "     a.[2Jb.c.d\n     line.\n     next\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnimateStops(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := &screen{w: &b, terminal: true}
	stop := s.animate(func() { s.progress("working") })
	stop()
	before := b.Len() // no lock: the goroutine has ended, otherwise the race detector reports it
	s.note("done")
	if before == 0 || !strings.HasSuffix(b.String(), "done\n") {
		t.Errorf("got %q", b.String())
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		size(0):                                    "0 bytes",
		size(999):                                  "999 bytes",
		size(1000):                                 "1.0 kB",
		size(25_340_000):                           "25.3 MB",
		size(4_000_000_000):                        "4.00 GB",
		took(1500 * time.Microsecond):              "1 ms",
		took(2340 * time.Millisecond):              "2.3 s",
		rate(50_000_000, 500*time.Millisecond):     "100.0 MB/s",
		rate(1, 0):                                 "",
		shell([]string{"go", "-ldflags=-s -w"}):    "go '-ldflags=-s -w'",
		shell([]string{"it's", "", "$(x)", "a/b"}): `'it'\''s' '' '$(x)' a/b`,
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Without a terminal, a task that takes long is reported in a line now and then, one that is short not at all.
func TestWaitWithoutTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		s := &screen{w: &b}
		s.wait("nothing")()
		done := s.wait("building")
		time.Sleep(25 * time.Second) // of the clock of the bubble
		done()
		if got, want := b.String(), "     building … 10s\n     building … 20s\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(time.Minute)
		if got := strings.Count(b.String(), "\n"); got != 2 {
			t.Errorf("%d lines after the end, want 2", got)
		}
	})
}
