package web_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func openSpool(t *testing.T, o spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An answer of up to 64 KiB is in memory, a longer one in a file; both arrive whole, written at once or in parts.
func TestRepliesArriveWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 300_000} {
		for _, part := range []int{0, 1000, 64 << 10} { // 0 for Whole
			var files *spool.Spool // a small answer needs none
			if size > 64<<10 {
				files = openSpool(t, spool.Options{MaxFiles: 1, MaxBytes: 1 << 20})
			}
			p := web.NewReply(files)
			all := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
			var err error
			if part == 0 {
				err = p.Whole(all)
			}
			for rest := all; part > 0 && len(rest) > 0 && err == nil; {
				var n int
				n, err = p.Write(rest[:min(part, len(rest))])
				rest = rest[n:]
			}
			w := httptest.NewRecorder()
			if err = errors.Join(err, p.Send(w)); err != nil || !bytes.Equal(w.Body.Bytes(), all) || w.Code != http.StatusOK {
				t.Errorf("%d bytes in parts of %d: got %d bytes, status %d, %v", size, part, w.Body.Len(), w.Code, err)
			}
			if got := w.Header().Get("Content-Length"); size > 64<<10 && got != strconv.Itoa(size) {
				t.Errorf("%d bytes: got Content-Length %q", size, got)
			}
			p.Close()
			p.Close()
		}
	}
}

// An answer that does not find room, or is given up for others, is an error that says to try again.
func TestRepliesThatFindNoRoomAreUnavailable(t *testing.T) {
	t.Parallel()
	large := make([]byte, 100_000)
	if err := web.NewReply(openSpool(t, spool.Options{MaxFiles: 1, MaxBytes: 70_000})).Whole(large); !errors.Is(err, fault.Unavailable) {
		t.Errorf("more than the spool holds: got %v, want Unavailable", err)
	}
	files := openSpool(t, spool.Options{MaxFiles: 2, MaxBytes: 1 << 20})
	var failed []error
	var all []*web.Reply
	for _, owner := range []string{"many", "many", "one"} {
		p := web.NewReply(files)
		p.Owner = owner
		defer p.Close()
		if err := p.Whole(large); err != nil {
			failed = append(failed, err)
			continue
		}
		all = append(all, p)
	}
	sent := 0
	for _, p := range all {
		w := httptest.NewRecorder()
		if err := p.Send(w); err != nil {
			failed = append(failed, err)
		} else if sent++; w.Body.Len() != len(large) {
			t.Errorf("got %d bytes, want %d", w.Body.Len(), len(large))
		}
	}
	if len(failed) != 1 || sent != 2 || !errors.Is(failed[0], fault.Unavailable) {
		t.Errorf("three answers of two: got %d sent and the errors %v, want 2 and Unavailable", sent, failed)
	}
}

// A body without a connection is received as one with it: whole, hashed, and refused if it is too long or ends early.
func TestReceiveWithoutAConnection(t *testing.T) {
	t.Parallel()
	files := openSpool(t, spool.Options{MaxFiles: 1, MaxBytes: 1 << 20})
	request := func(body io.Reader, length int64) *http.Request {
		return &http.Request{Body: io.NopCloser(body), ContentLength: length}
	}
	text := strings.Repeat("b", 50_000)
	b, err := web.Receive(request(strings.NewReader(text), -1), files, "a", 50_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Await(func() {}); err != nil {
		t.Errorf("waiting: %v", err)
	}
	for range 2 {
		if got, err := b.Bytes(); err != nil || string(got) != text || b.Size != 50_000 {
			t.Errorf("got %d bytes, size %d, %v, want 50000", len(got), b.Size, err)
		}
	}
	b.Close()
	small, err := web.Receive(request(strings.NewReader("small"), 5), files, "a", 5)
	if err != nil || small.Await(nil) != nil {
		t.Errorf("a small body: %v", err)
	}
	small.Close()
	for what, test := range map[string]struct {
		body   io.Reader
		length int64
		want   fault.Code
	}{
		"declared too long":    {strings.NewReader(text), 50_000, fault.RequestTooLarge},
		"too long":             {strings.NewReader(text), -1, fault.RequestTooLarge},
		"ends early":           {io.MultiReader(strings.NewReader(text[:30_000]), failingReader{}), 49_999, fault.MalformedRequest},
		"small and ends early": {io.MultiReader(strings.NewReader("12"), failingReader{}), 10, fault.MalformedRequest},
	} {
		if b, err := web.Receive(request(test.body, test.length), files, "a", 49_999); !errors.Is(err, test.want) {
			t.Errorf("%s: got %+v, %v, want %v", what, b, err, test.want)
		}
	}
	if b, err := web.Receive(request(strings.NewReader(text), -1), files, "a", 50_000); err != nil { // the refused have left no file
		t.Errorf("a good body after them: %v", err)
	} else {
		b.Close()
	}
	full := openSpool(t, spool.Options{MaxFiles: 1, MaxBytes: 20_000})
	if _, err := web.Receive(request(strings.NewReader(text), -1), full, "a", 50_000); !errors.Is(err, fault.Unavailable) {
		t.Errorf("more than the spool holds: got %v, want Unavailable", err)
	}
}
