package tlsauto_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// pair is a certificate with its key, in PEM form.
type pair struct{ cert, key []byte }

// newPair creates a pair for registry.test; each call returns a different one.
func newPair(t *testing.T, c *clock) pair {
	t.Helper()
	got, err := open(t, t.TempDir(), c).GetCertificate(&tls.ClientHelloInfo{ServerName: "registry.test"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(got.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: got.Certificate[0]}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

// files is a folder with a pair, and a Reloader for it.
type files struct {
	t    *testing.T
	c    *clock
	dir  string
	mu   sync.Mutex
	errs []error
	r    *tlsauto.Reloader
}

func newFiles(t *testing.T, p pair) *files {
	t.Helper()
	f := &files{t: t, c: newClock(), dir: t.TempDir()}
	f.write("tls.crt", p.cert)
	f.write("tls.key", p.key)
	var err error
	f.r, err = tlsauto.NewReloader(filepath.Join(f.dir, "tls.crt"), filepath.Join(f.dir, "tls.key"), f.c.now, func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.errs = append(f.errs, err)
	})
	if err != nil {
		t.Fatalf("NewReloader: %v", err)
	}
	return f
}

// write replaces a file by renaming, as renewal tools do, so that the file has a new inode.
func (f *files) write(name string, content []byte) {
	f.t.Helper()
	tmp := filepath.Join(f.dir, "tmp")
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

// serves fails the test unless the next handshake gets the pair p.
func (f *files) serves(what string, p pair) {
	f.t.Helper()
	got, err := f.r.GetCertificate(nil)
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	block, _ := pem.Decode(p.cert)
	if !bytes.Equal(got.Certificate[0], block.Bytes) {
		f.t.Errorf("%s: got another certificate", what)
	}
}

func (f *files) reported() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.errs)
}

func TestReloaderFollowsTheFiles(t *testing.T) {
	t.Parallel()
	c := newClock()
	first, second := newPair(t, c), newPair(t, c)
	f := newFiles(t, first)
	f.serves("at start", first)

	f.write("tls.crt", second.cert)
	f.write("tls.key", second.key)
	f.serves("within the second", first)
	f.c.add(time.Second)
	f.serves("a second later", second)
	if f.reported() != 0 {
		t.Errorf("reported %v, want nothing", f.errs)
	}
}

func TestReloaderKeepsTheOldPair(t *testing.T) {
	t.Parallel()
	c := newClock()
	first, second := newPair(t, c), newPair(t, c)
	f := newFiles(t, first)

	f.write("tls.crt", second.cert) // the key is still that of the first pair
	f.c.add(time.Second)
	f.serves("half of the pair replaced", first)
	if f.reported() != 1 {
		t.Fatalf("%d errors reported, want 1: %v", f.reported(), f.errs)
	}
	if !strings.Contains(f.errs[0].Error(), "tls.crt") {
		t.Errorf("the error names no file: %v", f.errs[0])
	}
	f.c.add(time.Second)
	f.serves("still half", first)
	if f.reported() != 1 {
		t.Errorf("%d errors reported for one change, want 1", f.reported())
	}

	f.write("tls.key", []byte("nothing of use"))
	f.c.add(time.Second)
	f.serves("key broken", first)
	if err := os.Remove(filepath.Join(f.dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	f.c.add(time.Second)
	f.serves("key gone", first)
	f.c.add(time.Second)
	f.serves("key still gone", first)
	if f.reported() != 3 {
		t.Errorf("%d errors reported for three changes, want 3: %v", f.reported(), f.errs)
	}

	f.write("tls.key", second.key)
	f.c.add(time.Second)
	f.serves("both halves there", second)
}

func TestReloaderSeesASwitchedLink(t *testing.T) {
	t.Parallel()
	c := newClock()
	first, second := newPair(t, c), newPair(t, c)
	dir := t.TempDir()
	stamp := time.Now()
	for name, p := range map[string]pair{"one": first, "two": second} {
		for file, content := range map[string][]byte{"tls.crt": p.cert, "tls.key": p.key} {
			path := filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			// All files have the same time, so that only the inode and perhaps the size differ.
			if err := os.Chtimes(path, stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
	}
	// As in mounted Kubernetes secrets, the path of the files contains a link that is replaced.
	link := filepath.Join(dir, "data")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	f := &files{t: t, c: c, dir: dir}
	var err error
	if f.r, err = tlsauto.NewReloader(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"), c.now, nil); err != nil {
		t.Fatal(err)
	}
	f.serves("first link", first)
	if err := os.Symlink("two", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	c.add(time.Second)
	f.serves("second link", second)
}

func TestReloaderNeedsAGoodPairAtStart(t *testing.T) {
	t.Parallel()
	if _, err := tlsauto.NewReloader("no-such.crt", "no-such.key", time.Now, nil); err == nil {
		t.Error("got no error for missing files")
	}
}

func TestReloaderUnderHandshakes(t *testing.T) {
	t.Parallel()
	c := newClock()
	pairs := []pair{newPair(t, c), newPair(t, c)}
	f := newFiles(t, pairs[0])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				f.c.add(time.Second)
				cert, err := f.r.GetCertificate(nil)
				if err != nil || cert == nil {
					t.Errorf("got certificate %v, error %v", cert, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		f.write("tls.crt", pairs[i%2].cert)
		f.write("tls.key", pairs[i%2].key)
	}
	wg.Wait()
	f.c.add(time.Second)
	f.serves("in the end", pairs[1])
}
