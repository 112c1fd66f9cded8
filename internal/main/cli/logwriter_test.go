package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// sink collects what is written, and counts the writes. While held is locked, writes wait.
type sink struct {
	held sync.Mutex

	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (s *sink) Write(p []byte) (int, error) {
	s.held.Lock()
	defer s.held.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.text.Write(p)
}

func (s *sink) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.text.String(), "\n"), "\n")
}

// Every line is there once after close, whole, and those of one goroutine in their order; many lines share a write.
func TestLogLinesAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	to := &sink{}
	l := newLogWriter(to)
	const writers, each = 8, 2000
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range each {
				fmt.Fprintf(l, "%d %d\n", w, i)
			}
		})
	}
	done.Wait()
	l.close()
	next := [writers]int{}
	for _, line := range to.lines() {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d", &w, &i); err != nil || w < 0 || w >= writers || next[w] != i {
			t.Fatalf("got the line %q after %d lines of its writer (%v)", line, next, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("writer %d: got %d lines, want %d", w, n, each)
		}
	}
	if to.writes > writers*each/10 {
		t.Errorf("got %d writes for %d lines, want batches", to.writes, writers*each)
	}
	fmt.Fprintln(l, "late")
	if got := to.lines(); got[len(got)-1] != "late" {
		t.Errorf("a line after close: got %q last", got[len(got)-1])
	}
	l.close()
}

// An error is written when it is logged, with what was logged before it.
func TestErrorsAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	to := &sink{}
	l := newLogWriter(to)
	defer l.close()
	log := slog.New(promptHandler{slog.NewJSONHandler(l, nil), l}).With("a", 1).WithGroup("g")
	log.Info("before")
	log.Error("failed")
	if got := to.lines(); len(got) != 2 || !strings.Contains(got[0], "before") || !strings.Contains(got[1], "failed") {
		t.Errorf("after an error: got %q, want both lines", got)
	}
}

// While nobody reads the log, memory is bounded: who logs waits.
func TestSlowLogIsBounded(t *testing.T) {
	t.Parallel()
	to := &sink{}
	l := newLogWriter(to)
	to.held.Lock()
	line := bytes.Repeat([]byte("x"), 1023)
	line = append(line, '\n')
	const lines = 4 * maxLogWaiting / 1024
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range lines {
			_, _ = l.Write(line)
		}
	}()
	l.mu.Lock()
	for len(l.waiting) < maxLogWaiting { // the writer comes to a stop
		l.mu.Unlock()
		l.mu.Lock()
	}
	if got := len(l.waiting); got > maxLogWaiting+len(line) {
		t.Errorf("%d bytes wait, want at most %d", got, maxLogWaiting+len(line))
	}
	l.mu.Unlock()
	select {
	case <-done:
		t.Error("all lines were taken while none can be written")
	default:
	}
	to.held.Unlock()
	<-done
	l.close()
	if got := len(to.lines()); got != lines {
		t.Errorf("got %d lines, want %d", got, lines)
	}
}
