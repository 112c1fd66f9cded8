package pullthrough

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// fetchKey returns the key of a fetch in the database, which has the same length for all.
func fetchKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// tidy deletes what this process left when it was killed.
func (s *Service) tidy() {
	left, err := s.meta.LeaveCacheFetches(s.ctx)
	for _, g := range left {
		err = errors.Join(err, s.registry.AbandonImport(s.ctx, registry.Arriving(g)))
	}
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("what the server left of layers when it ended last could not be deleted; the next collection deletes it", "error", err)
	}
}

// once fetches the layer, unless another process does: then it waits, and its readers read what that process writes.
func (l *Layer) once(ctx context.Context, f *fetch) error {
	s := l.s
	s.tidied()
	key := fetchKey(fmt.Sprintf("layer %s %d %s", s.place, l.q.Found.ID, l.Digest))
	for {
		held, mine, err := s.meta.TakeCacheFetch(ctx, key, s.limits.Lease)
		if err != nil {
			return err
		}
		if mine {
			return s.leased(ctx, held, func(ctx context.Context, arrives func(registry.Arriving)) error {
				if stored, err := l.stored(ctx, f); err != nil || stored { // the process that had the right before has stored it
					return err
				}
				return l.fetch(ctx, f, arrives)
			})
		}
		if ended, err := l.follow(ctx, f, held); err != nil || ended {
			return err
		}
	}
}

// follow waits for another process that fetches the layer, and lets the readers read what it writes. ended is false if it has ended
// without success.
func (l *Layer) follow(ctx context.Context, f *fetch, held meta.CacheFetch) (ended bool, err error) {
	tick := time.NewTicker(l.s.limits.Look)
	defer tick.Stop()
	for ok, reads := true, false; ; {
		if ok && held.Failure != "" {
			return true, parseFailure(held.Failure)
		}
		if stored, err := l.stored(ctx, f); err != nil || stored {
			return true, err
		}
		if !ok || !l.s.now().Before(held.Ends) {
			return false, nil
		}
		if !reads && held.Growing.Upload != "" {
			file, err := l.s.registry.PeekImport(ctx, registry.Arriving(held.Growing))
			switch {
			case err == nil:
				f.watch(file)
				reads = true
			case !errors.Is(err, fault.UploadNotFound): // it has just become a blob, or was dropped
				return true, err
			}
		}
		f.change(func() {}) // there may be more bytes
		select {
		case <-tick.C:
		case <-ctx.Done():
			return true, ctx.Err()
		}
		if held, ok, err = l.s.meta.CacheFetch(ctx, held.Key); err != nil {
			return true, err
		}
	}
}

// stored reports whether the repository holds the layer, and lets the readers read it.
func (l *Layer) stored(ctx context.Context, f *fetch) (bool, error) {
	file, _, err := l.s.registry.OpenBlob(ctx, l.q.Found, l.Digest)
	if errors.Is(err, fault.BlobNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at, ok := file.(registry.Growing)
	if !ok {
		at = &seeking{ReadSeekCloser: file}
	}
	f.watch(at)
	return true, nil
}

// seeking reads a file at any place by seeking.
type seeking struct {
	mu sync.Mutex
	io.ReadSeekCloser
}

// ReadAt implements io.ReaderAt.
func (s *seeking) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.ReadSeekCloser, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// across calls fetch, unless another process with the same database makes the same call: then it waits for that, and what failed there
// fails here. A process alone with its database makes no record of it.
func (s *Service) across(ctx context.Context, key string, fetch func(context.Context) error) error {
	if s.meta.Node() == "" {
		return fetch(ctx)
	}
	s.tidied()
	key = fetchKey(key)
	for {
		held, mine, err := s.meta.TakeCacheFetch(ctx, key, s.limits.Lease)
		if err != nil {
			return err
		}
		if mine {
			return s.leased(ctx, held, func(ctx context.Context, _ func(registry.Arriving)) error { return fetch(ctx) })
		}
		if ended, err := s.await(ctx, held); err != nil || ended {
			return err
		}
	}
}

// await waits for another process. ended is false if it has ended without success.
func (s *Service) await(ctx context.Context, held meta.CacheFetch) (ended bool, err error) {
	tick := time.NewTicker(s.limits.Look)
	defer tick.Stop()
	for ok := true; ; {
		switch {
		case !ok:
			return true, nil
		case held.Failure != "":
			return true, parseFailure(held.Failure)
		case !s.now().Before(held.Ends):
			return false, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return true, ctx.Err()
		}
		if held, ok, err = s.meta.CacheFetch(ctx, held.Key); err != nil {
			return true, err
		}
	}
}

// leased calls do, renews the right meanwhile, and gives it back. It ends the context of do if another process gets the right.
func (s *Service) leased(ctx context.Context, held meta.CacheFetch, do func(context.Context, func(registry.Arriving)) error) error {
	if held.Left.Upload != "" {
		if err := s.registry.AbandonImport(ctx, registry.Arriving(held.Left)); err != nil {
			s.log.Warn("what a process that was killed left of a layer could not be deleted; the next collection deletes it", "error", err)
		}
	}
	in, cancel := context.WithCancel(ctx)
	arrives := make(chan registry.Arriving, 1)
	var renewals sync.WaitGroup
	renewals.Go(func() { s.renew(in, held, arrives, cancel) })
	err := errors.New("a fetch panicked")
	defer func() {
		cancel()
		renewals.Wait()
		s.release(held, err)
	}()
	err = do(in, func(a registry.Arriving) { arrives <- a })
	return err
}

// renew renews the right until ctx ends; it calls lost if another process has it, or if it cannot be renewed in time.
func (s *Service) renew(ctx context.Context, held meta.CacheFetch, arrives <-chan registry.Arriving, lost func()) {
	tick := time.NewTicker(s.limits.Lease / 4)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case a := <-arrives:
			held.Growing = meta.CacheGrowth(a)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		ok, err := s.meta.RenewCacheFetch(ctx, held, s.limits.Lease)
		switch {
		case err == nil && ok:
			last = time.Now()
		case err == nil, time.Since(last) > s.limits.Lease:
			lost()
			return
		}
	}
}

// release gives the right back, with the failure if other processes are to know it.
func (s *Service) release(held meta.CacheFetch, failed error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), releaseTime)
	defer cancel()
	var err error
	if failed == nil {
		err = s.meta.EndCacheFetch(ctx, held)
	} else {
		text, span := formatFailure(failed)
		err = s.meta.FailCacheFetch(ctx, held, text, span)
	}
	if err != nil {
		s.log.Warn("the end of a fetch could not be recorded: other processes wait some seconds longer", "error", err)
	}
}

// releaseTime is the time to record the end of a fetch, also when the server stops.
const releaseTime = 5 * time.Second

// failureText is the form of a failure in the database: what of it is for clients and decisions.
type failureText struct {
	Reason upstream.Reason
	Host   string
	Public string
	Status int
	Code   string
	After  time.Duration
}

// formatFailure returns the text of a failure of the other registry, and how long it is remembered; "" and 0 for another one.
func formatFailure(err error) (string, time.Duration) {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return "", 0
	}
	text, err := json.Marshal(failureText{e.Reason, e.Host, e.Public, e.Status, e.Code, e.After})
	if err != nil {
		return "", 0
	}
	return string(text), spanOf(e)
}

// parseFailure returns the error of a text of formatFailure.
func parseFailure(text string) error {
	var f failureText
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return fmt.Errorf("reading why another process could not fetch: %w", err)
	}
	return &upstream.Error{Reason: f.Reason, Host: f.Host, Public: f.Public, Status: f.Status, Code: f.Code, After: f.After}
}
