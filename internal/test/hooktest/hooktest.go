// Package hooktest has a receiver of webhooks for tests.
package hooktest

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
)

// Receiver is an https server that remembers what it gets. It is safe for concurrent use.
type Receiver struct {
	*httptest.Server
	CA string // PEM file of its certificate

	mu     sync.Mutex
	answer func(Got) int
	got    []Got
	change chan struct{} // closed when got has grown
}

// Got is one request.
type Got struct {
	Body, Signature string
	ID              string
	Action, Tag     string
	Digest          string
	At              time.Time
}

// New starts a receiver on a port of 127.0.0.1 that answers 204. It stops with the test.
func New(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{change: make(chan struct{}), CA: filepath.Join(t.TempDir(), "receiver.pem")}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Server.Close)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	if err := os.WriteFile(r.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// Answer sets the function that determines the status of each answer. It may wait.
func (r *Receiver) Answer(f func(Got) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *Receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the server has stopped
	}
	g := Got{Body: string(body), Signature: q.Header.Get(event.SignatureHeader), At: time.Now()}
	var e struct {
		ID     string
		Detail map[string]any
	}
	if err := json.Unmarshal(body, &e); err == nil {
		g.ID = e.ID
		g.Action, _ = e.Detail["action-type"].(string)
		g.Tag, _ = e.Detail["image-tag"].(string)
		g.Digest, _ = e.Detail["image-digest"].(string)
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		status = answer(g)
	}
	r.mu.Lock()
	r.got = append(r.got, g)
	close(r.change)
	r.change = make(chan struct{})
	r.mu.Unlock()
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "the text of the receiver")
}

// All returns the requests that were answered so far.
func (r *Receiver) All() []Got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Got(nil), r.got...)
}

// Wait returns the requests when enough is true for them. It ends the test after a minute.
func (r *Receiver) Wait(t testing.TB, what string, enough func([]Got) bool) []Got {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		r.mu.Lock()
		got, change := append([]Got(nil), r.got...), r.change
		r.mu.Unlock()
		if enough(got) {
			return got
		}
		select {
		case <-change:
		case <-limit:
			var texts []string
			for _, g := range got[max(0, len(got)-10):] {
				texts = append(texts, g.Action+" "+g.Tag)
			}
			t.Fatalf("%s: the receiver got %d requests, the last ones %q", what, len(got), texts)
		}
	}
}
