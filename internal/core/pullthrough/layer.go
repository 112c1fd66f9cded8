package pullthrough

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Layer is a layer, or a config, that the repository does not hold and another registry has.
type Layer struct {
	Digest    name.Digest
	Size      int64 // bytes
	MediaType string

	s *Service
	o origin
	q Request
}

// Layer returns a layer that a stored image of the repository names and that a rule can bring; nil if there is none, or the caller may
// not import. Nothing is fetched.
func (s *Service) Layer(ctx context.Context, q Request, d name.Digest) (*Layer, error) {
	if q.Found.ID == 0 {
		return nil, nil
	}
	o, ok, err := s.from(ctx, q)
	if err != nil || !ok {
		return nil, err
	}
	by, err := s.meta.ReferrerOfBlob(ctx, q.Found.ID, d)
	if err != nil || by == (name.Digest{}) {
		return nil, err
	}
	body, err := s.meta.Body(ctx, by)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(body, "")
	if err != nil {
		return nil, fmt.Errorf("reading the stored manifest %s: %w", by, err)
	}
	may, err := s.allowed(ctx, q, actionImport)
	if err != nil || !may {
		return nil, err
	}
	for _, b := range m.Blobs() {
		if b.Digest == d && b.Size >= 0 && b.Size <= registry.MaxLayer {
			return &Layer{Digest: d, Size: b.Size, MediaType: b.MediaType, s: s, o: o, q: q}, nil
		}
	}
	return nil, nil
}

// Probe asks the other registry whether it has the layer.
//
// Errors: those of Open.
func (l *Layer) Probe(ctx context.Context) error {
	s := l.s
	key := l.key()
	if err := s.refused.of(s.now(), key, l.o.limitKey()); err != nil {
		return l.failed(err)
	}
	err := func() error {
		leave, err := s.places.enter(ctx, l.q.holder())
		if err != nil {
			return err
		}
		defer leave()
		var size int64
		var ok bool
		err = s.with(ctx, l.o, func(remote *upstream.Registry, o origin) (err error) {
			size, ok, err = remote.Exists(ctx, o.repo, l.Digest)
			return err
		})
		switch {
		case err != nil:
			return err
		case !ok:
			return &upstream.Error{Reason: upstream.NotFound, Host: l.o.rule.Host, Public: "it does not exist there"}
		case size >= 0 && size != l.Size:
			return &upstream.Error{Reason: upstream.Lied, Host: l.o.rule.Host, Public: "it has another size than its image says"}
		}
		return nil
	}()
	if err != nil && ctx.Err() == nil {
		s.remember(l.o, key, err)
	}
	return l.failed(err)
}

func (l *Layer) key() string { return fmt.Sprintf("layer %s %d %s", l.o.key(), l.q.Found.ID, l.Digest) }

func (l *Layer) failed(err error) error {
	if err == nil {
		return nil
	}
	return failed(fault.UnableToGetUpstreamLayer, err)
}

// Open begins to fetch the layer, or joins a fetch that runs, and returns when its first bytes may be read. The reader must be closed.
// The layer is stored while it is read; its last byte is given only after it was verified and stored.
//
// Errors: fault.UnableToGetUpstreamLayer, fault.Throttled, fault.Unavailable, fault.QuotaExceeded, that of ctx.
func (l *Layer) Open(ctx context.Context) (*Reader, error) {
	s := l.s
	key := l.key()
	if err := s.refused.of(s.now(), key, l.o.limitKey()); err != nil {
		return nil, l.failed(err)
	}
	r, err := s.layers.join(l, key)
	if err != nil {
		return nil, err
	}
	r.ctx = ctx
	if err := r.ready(); err != nil {
		r.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, l.failed(err)
	}
	return r, nil
}

// Pass opens the layer at the other registry, to be passed on without being stored. The reader verifies digest and size at its end, as
// upstream.Blob does; close frees what it takes. From the first byte on that is no place of requests to other registries, since the client
// may read slowly.
//
// Errors: those of Open.
func (l *Layer) Pass(ctx context.Context) (r io.Reader, closing func(), err error) {
	s := l.s
	if err := s.refused.of(s.now(), l.key(), l.o.limitKey()); err != nil {
		return nil, nil, l.failed(err)
	}
	leave, err := s.passes.enter(l.q.holder())
	if err != nil {
		return nil, nil, err
	}
	opened, err := s.places.enter(ctx, l.q.holder())
	if err != nil {
		leave()
		return nil, nil, err
	}
	var body *upstream.Blob
	err = s.with(ctx, l.o, func(remote *upstream.Registry, o origin) (err error) {
		body, err = remote.Blob(ctx, o.repo, l.Digest, upstream.BlobOptions{Size: l.Size, Unplaced: true})
		return err
	})
	opened()
	if err != nil {
		leave()
		if ctx.Err() == nil {
			s.remember(l.o, l.key(), err)
		}
		return nil, nil, l.failed(err)
	}
	s.counts.Misses.Add(1)
	s.tell(l.o, meta.CacheCount{Misses: 1})
	return body, func() { _ = body.Close(); leave() }, nil
}

// layers are the layers that are being fetched. The zero value is ready.
type layers struct {
	mu  sync.Mutex
	all map[string]*fetch
}

// fetch is a layer on its way. Its readers read the file into which it is written.
type fetch struct {
	size   int64
	cancel context.CancelFunc

	mu      sync.Mutex
	readers int
	idle    *time.Timer   // ends the fetch when it has no reader for idleFetch
	changed chan struct{} // closed and replaced when something below has changed, or bytes were written
	file    registry.Growing
	before  []registry.Growing // files that were read before: of other processes
	done    bool               // all bytes are stored
	err     error              // why the fetch failed
}

// idleFetch is the time for which a fetch goes on without a reader: a client whose connection broke asks again.
const idleFetch = 30 * time.Second

// layerTime returns the maximum time for a layer of a size: a slower registry than of 64 KiB a second holds no place for longer.
func layerTime(size int64) time.Duration {
	const base, most = 15 * time.Minute, 12 * time.Hour
	return min(most, base+time.Duration(size/(64<<10))*time.Second)
}

func (all *layers) join(l *Layer, key string) (*Reader, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if f := all.all[key]; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.readers++
		return &Reader{f: f, s: l.s}, nil
	}
	if l.s.ctx.Err() != nil {
		return nil, fault.Unavailable.New("the server stops")
	}
	ctx, cancel := context.WithTimeout(l.s.ctx, layerTime(l.Size))
	f := &fetch{size: l.Size, cancel: cancel, readers: 1, changed: make(chan struct{})}
	if all.all == nil {
		all.all = map[string]*fetch{}
	}
	all.all[key] = f
	l.s.counts.Misses.Add(1)
	l.s.tell(l.o, meta.CacheCount{Misses: 1})
	l.s.work.Go(func() {
		err := errors.New("the fetch of a layer panicked")
		defer func() {
			if err != nil {
				l.s.remember(l.o, key, err)
				l.s.reportFailure(l.o, l.q, name.Reference{}, l.failed(err), err)
			}
			all.mu.Lock()
			delete(all.all, key)
			all.mu.Unlock()
			f.end(err)
			cancel()
		}()
		if err = l.once(ctx, f); err == nil {
			err = f.check()
		}
	})
	return &Reader{f: f, s: l.s}, nil
}

// fetch fetches the layer into the store. arrives is called when its bytes begin to arrive.
func (l *Layer) fetch(ctx context.Context, f *fetch, arrives func(registry.Arriving)) error {
	s := l.s
	leave, err := s.places.enter(ctx, l.q.holder())
	if err != nil {
		return err
	}
	defer leave()
	var body *upstream.Blob
	err = s.with(ctx, l.o, func(remote *upstream.Registry, o origin) (err error) {
		body, err = remote.Blob(ctx, o.repo, l.Digest, upstream.BlobOptions{Size: l.Size, CallerVerifies: true})
		return err
	})
	if err != nil {
		return err
	}
	defer body.Close()
	in := &arriving{r: body, s: s, f: f}
	defer func() { s.tell(l.o, meta.CacheCount{Fetched: in.all}) }()
	err = s.registry.Import(ctx, l.q.By, l.q.Found, l.Digest, l.Size, in, func(a registry.Arriving, file registry.Growing) {
		f.watch(file)
		arrives(a)
	})
	if errors.Is(err, fault.DigestInvalid) {
		err = &upstream.Error{Reason: upstream.Lied, Host: l.o.rule.Host, Public: "the blob does not have its digest"}
	}
	return err
}

// announced is how many bytes arrive before the readers are told.
const announced = 128 << 10

// arriving counts what arrives and wakes the readers.
type arriving struct {
	r      io.Reader
	s      *Service
	f      *fetch
	untold int
	all    int64
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	a.s.counts.Fetched.Add(uint64(n))
	a.all += int64(n)
	if a.untold += n; a.untold >= announced || err != nil {
		a.untold = 0
		a.f.change(func() {})
	}
	return n, err
}

// change changes the state of a fetch and wakes its readers.
func (f *fetch) change(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set()
	close(f.changed)
	f.changed = make(chan struct{})
}

// check compares what the readers may have read of other files with the layer, which is stored: nobody has verified those files.
func (f *fetch) check() error {
	f.mu.Lock()
	file, before := f.file, f.before
	f.mu.Unlock()
	for _, other := range before {
		same, err := sameBytes(other, file)
		if err != nil {
			return fmt.Errorf("comparing a layer with what another process got of it: %w", err)
		}
		if !same {
			return fault.UnableToGetUpstreamLayer.New("another process, which has ended, got other bytes")
		}
	}
	return nil
}

// sameBytes reports whether a file begins with the bytes of another one.
func sameBytes(other, file registry.Growing) (bool, error) {
	if a, ok := other.(*os.File); ok {
		if b, ok := file.(*os.File); ok {
			one, err := a.Stat()
			two, err2 := b.Stat()
			if err == nil && err2 == nil && os.SameFile(one, two) {
				return true, nil
			}
		}
	}
	const step = 256 << 10
	was, is := make([]byte, step), make([]byte, step)
	for off := int64(0); ; off += step {
		n, err := other.ReadAt(was, off)
		if err != nil && err != io.EOF {
			return false, err
		}
		if m, err2 := file.ReadAt(is[:n], off); m < n {
			return false, err2
		}
		if !bytes.Equal(was[:n], is[:n]) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
	}
}

// watch lets the readers read a file in place of another one.
func (f *fetch) watch(file registry.Growing) {
	f.change(func() {
		if f.file != nil {
			f.before = append(f.before, f.file)
		}
		f.file = file
	})
}

func (f *fetch) end(err error) {
	f.change(func() {
		f.done, f.err = err == nil, err
		f.closeUnused()
	})
}

// closeUnused closes the file of a fetch that has ended and has no readers. The caller holds f.mu.
func (f *fetch) closeUnused() {
	if f.readers > 0 || !f.done && f.err == nil {
		return
	}
	for _, file := range append(f.before, f.file) {
		if file != nil {
			_ = file.Close() // it was only read
		}
	}
	f.before, f.file = nil, nil
}

// Reader reads a layer while it arrives. It is not safe for concurrent use.
type Reader struct {
	s   *Service
	f   *fetch
	ctx context.Context
	off int64
}

// ready waits until the fetch has begun to write, or has ended.
func (r *Reader) ready() error {
	for {
		r.f.mu.Lock()
		begun, err, changed := r.f.file != nil || r.f.done, r.f.err, r.f.changed
		r.f.mu.Unlock()
		if begun || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

// Read reads the next bytes, and waits for them.
//
// Errors: io.EOF after the last byte of a layer that is stored; those of Layer.Open.
func (r *Reader) Read(p []byte) (int, error) {
	f := r.f
	if len(p) == 0 {
		return 0, nil
	}
	for {
		f.mu.Lock()
		file, done, err, changed := f.file, f.done, f.err, f.changed
		f.mu.Unlock()
		if err != nil {
			return 0, err
		}
		end := f.size
		if !done {
			end-- // a client has no whole layer that is not verified
		} else if r.off >= end {
			return 0, io.EOF
		}
		if file != nil && r.off < end {
			n, err := file.ReadAt(p[:min(int64(len(p)), end-r.off)], r.off)
			if n > 0 {
				r.off += int64(n)
				r.s.counts.Sent.Add(uint64(n))
				return n, nil
			}
			if err != io.EOF {
				return 0, fmt.Errorf("reading a layer that arrives: %w", err)
			}
			if done {
				return 0, io.ErrUnexpectedEOF
			}
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

// Close ends the reading. A fetch without readers ends after idleFetch.
func (r *Reader) Close() {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers--; f.readers > 0 {
		return
	}
	f.closeUnused()
	if f.done || f.err != nil {
		return
	}
	if f.idle != nil {
		f.idle.Stop()
	}
	f.idle = time.AfterFunc(idleFetch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.readers == 0 {
			f.cancel()
		}
	})
}
