package registry_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// worker runs a function that uses a Service whose stores it stops at each step. Of the workers of a schedule one runs at a time, so that
// the order in which they are advanced is all that determines what happens.
type worker struct {
	name   string
	resume chan struct{}
	events chan event
	freed  <-chan struct{} // of the collection for which the worker waits; nil if it does not wait
	at     string          // the step before which it stands
	taken  int             // number of steps at which it has stood
	ended  bool
	err    error
}

type event struct {
	at    string
	freed <-chan struct{}
	ended bool
	err   error
}

type workerKey struct{}

// collectorName is the name of the worker that collects.
const collectorName = "collection"

// start makes a worker, which stands before its first step. Steps of calls whose context is not that of a worker are not stopped.
func start(ctx context.Context, name string, do func(context.Context) error) *worker {
	w := &worker{name: name, at: "start", resume: make(chan struct{}), events: make(chan event)}
	go func() {
		<-w.resume
		err := do(context.WithValue(ctx, workerKey{}, w))
		w.events <- event{ended: true, err: err}
	}()
	return w
}

// can reports whether the worker can be advanced. One that waits for a collection stands before its next step when that has freed what it
// waits for.
func (w *worker) can() bool {
	if w.freed != nil {
		select {
		case <-w.freed:
			w.freed = nil
			w.note(<-w.events)
		default:
			return false
		}
	}
	return !w.ended
}

// advance lets the worker run to its next step.
func (w *worker) advance() {
	w.resume <- struct{}{}
	w.note(<-w.events)
}

func (w *worker) note(e event) {
	w.at, w.freed, w.ended, w.err = e.at, e.freed, e.ended, e.err
	if !e.ended && e.freed == nil {
		w.taken++
	}
}

// step stops the worker of a context until it is advanced.
func step(ctx context.Context, at string) {
	if w, ok := ctx.Value(workerKey{}).(*worker); ok {
		w.events <- event{at: at}
		<-w.resume
	}
}

// observe makes a Service over the stores stop its workers at their steps.
func observe(m *meta.Store, s *registry.Service) {
	m.ObserveSteps(func(ctx context.Context, at meta.Step) {
		w, ok := ctx.Value(workerKey{}).(*worker)
		if !ok {
			return
		}
		// A collection keeps nothing that it has read in a cache: its next step is the same moment.
		if method := calledMethod(); w.name != collectorName || at != meta.AfterRead && method != "CollectionState" {
			step(ctx, method+", "+string(at))
		}
	})
	s.ObserveWaits(func(ctx context.Context, freed <-chan struct{}) func() {
		w, ok := ctx.Value(workerKey{}).(*worker)
		if !ok {
			return func() {}
		}
		w.events <- event{at: "waiting for a collection", freed: freed}
		return func() { step(ctx, "after the wait for a collection") }
	})
}

// calledMethod returns the name of the method of the metadata store that was called.
func calledMethod() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	found := "?"
	for {
		f, more := frames.Next()
		if _, method, ok := strings.Cut(f.Function, "/meta.(*Store)."); ok {
			found, _, _ = strings.Cut(method, ".")
		}
		if !more {
			return found
		}
	}
}

// stepBlobs is a blob store whose calls are steps.
type stepBlobs struct{ blob.Store }

func (s stepBlobs) Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, blob.Info, error) {
	step(ctx, "before blob.Open")
	return s.Store.Open(ctx, d)
}

func (s stepBlobs) Stat(ctx context.Context, d name.Digest) (blob.Info, error) {
	step(ctx, "before blob.Stat")
	return s.Store.Stat(ctx, d)
}

func (s stepBlobs) Delete(ctx context.Context, d name.Digest) error {
	step(ctx, "before blob.Delete")
	return s.Store.Delete(ctx, d)
}

func (s stepBlobs) List(ctx context.Context, after name.Digest) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		step(ctx, "before blob.List")
		for info, err := range s.Store.List(ctx, after) {
			step(ctx, "blob.List, at a blob")
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s stepBlobs) Append(ctx context.Context, u blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	step(ctx, "before blob.Append")
	return s.Store.Append(ctx, u, r, limit)
}

func (s stepBlobs) Commit(ctx context.Context, u blob.Upload, last io.Reader, limit int64, want name.Digest) (blob.Info, error) {
	step(ctx, "before blob.Commit")
	return s.Store.Commit(ctx, u, last, limit, want)
}

func (s stepBlobs) Abort(ctx context.Context, u blob.Upload) error {
	step(ctx, "before blob.Abort")
	return s.Store.Abort(ctx, u)
}

// enumerated are the steps at which a worker stands, in their order.
type enumerated []string

func (e enumerated) String() string {
	var b strings.Builder
	for i, at := range e {
		fmt.Fprintf(&b, "%4d %s\n", i+1, at)
	}
	return b.String()
}

// String says where the worker stands.
func (w *worker) String() string {
	if w.ended {
		return fmt.Sprintf("%s: end, %v", w.name, w.err)
	}
	return w.name + ": " + w.at
}
