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

// checkEvery is the minimum interval between two checks of the files.
const checkEvery = time.Second

// Reloader serves a certificate from two PEM files and reloads them when they change. Its methods are safe for
// concurrent use.
type Reloader struct {
	certFile, keyFile string
	now               func() time.Time
	onError           func(error)
	current           atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	next time.Time // time of the next check of the files
	seen [2]fs.FileInfo
}

// NewReloader returns a Reloader for a certificate and its key: certFile has the leaf and then its
// intermediates, keyFile has the leaf's key.
//
// onError is called with the error of a changed pair that cannot be used, once per change and during a
// handshake, so that it must return quickly. It may be nil.
//
// Errors: the pair cannot be read, or the key does not match the certificate.
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

// GetCertificate returns the current pair. It is meant for tls.Config.GetCertificate.
//
// At most once per second it checks whether a file has changed (its time, size or inode, as after a rename or a
// replaced link), and then reads both files. If the new pair cannot be used, it reports the error and keeps the
// last valid pair; this includes the moment at which a renewal has replaced only one of the files.
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	// If another handshake is checking the files, this one uses the last valid pair without waiting.
	if r.mu.TryLock() {
		r.follow()
		r.mu.Unlock()
	}
	return r.current.Load(), nil
}

// follow reloads the pair if a file has changed. The caller holds mu.
func (r *Reloader) follow() {
	now := r.now()
	// The second condition limits the effect of a clock that was set back to one early check.
	if now.Before(r.next) && now.After(r.next.Add(-2*checkEvery)) {
		return
	}
	r.next = now.Add(checkEvery)
	// stat comes before the reads: a change in between differs from the result of stat and is found by the next
	// check.
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

// stat describes both files; nil means that a file cannot be accessed.
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
