package tlsauto

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery is how often, at most, the files are looked at.
const checkEvery = time.Second

// Reloader serves a certificate from two PEM files and follows their changes. Its methods are safe for concurrent use.
type Reloader struct {
	certFile, keyFile string
	now               func() time.Time
	onError           func(error)
	current           atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	next time.Time // no look at the files before this
	seen [2]fs.FileInfo
}

// NewReloader reads the pair: certFile holds the leaf and then its intermediates, keyFile the leaf's key.
//
// onError is told of a changed pair that cannot be used, once per change and from within a handshake; it must be quick.
// It may be nil.
//
// Errors: a pair that cannot be read or does not fit together.
func NewReloader(certFile, keyFile string, now func() time.Time, onError func(error)) (*Reloader, error) {
	if onError == nil {
		onError = func(error) {}
	}
	r := &Reloader{certFile: certFile, keyFile: keyFile, now: now, onError: onError}
	r.seen = r.stat()
	cert, err := r.load()
	if err != nil {
		return nil, err
	}
	r.current.Store(cert)
	r.next = now().Add(checkEvery)
	return r, nil
}

// GetCertificate gives the pair as the files last had it. It is meant for tls.Config.GetCertificate.
//
// At most once a second it asks the file system whether a file changed (time, size, or another file under the name, as
// after a rename or a switched link), and then reads both. A pair that cannot be used is reported, and the last good one
// stays; that covers the moment in which a renewal has replaced only one of the files.
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	// A handshake that finds another one looking does not wait for it: the last good pair will do.
	if r.mu.TryLock() {
		r.follow()
		r.mu.Unlock()
	}
	return r.current.Load(), nil
}

// follow reloads the pair if it changed. The caller holds mu.
func (r *Reloader) follow() {
	now := r.now()
	// The second condition lets a clock that was set back do no more harm than one early look.
	if now.Before(r.next) && now.After(r.next.Add(-2*checkEvery)) {
		return
	}
	r.next = now.Add(checkEvery)
	// Asked before reading: a change in between differs from what was seen and is found next time.
	seen := r.stat()
	if same(seen[0], r.seen[0]) && same(seen[1], r.seen[1]) {
		return
	}
	r.seen = seen
	cert, err := r.load()
	if err != nil {
		r.onError(err)
		return
	}
	r.current.Store(cert)
}

func (r *Reloader) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate %s with the key %s: %w", r.certFile, r.keyFile, err)
	}
	return &cert, nil
}

// stat describes both files; nil stands for one that cannot be seen.
func (r *Reloader) stat() (infos [2]fs.FileInfo) {
	for i, path := range []string{r.certFile, r.keyFile} {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
