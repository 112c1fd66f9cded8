package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// passBlobs is a blob store that counts how often all bytes of an upload are read to hash them: by a Hash that adds a hash to
// the state, and by a Commit whose digest has an algorithm that the state does not have.
type passBlobs struct {
	blob.Store
	passes, commits atomic.Int32
}

func (p *passBlobs) Hash(ctx context.Context, u blob.Upload, a name.Algorithm) (blob.Upload, name.Digest, error) {
	after, d, err := p.Store.Hash(ctx, u, a)
	if !bytes.Equal(after.State, u.State) {
		p.passes.Add(1)
	}
	return after, d, err
}

func (p *passBlobs) Commit(ctx context.Context, u blob.Upload, last io.Reader, limit int64, want name.Digest) (blob.Info, error) {
	p.commits.Add(1)
	if u.Size > 0 && !bytes.Contains(u.State, []byte(want.Algorithm())) {
		p.passes.Add(1)
	}
	return p.Store.Commit(ctx, u, last, limit, want)
}

func newPasses(t *testing.T) (fixture, *passBlobs) {
	t.Helper()
	var p *passBlobs
	c := newFixture(t, func(b blob.Store) blob.Store { p = &passBlobs{Store: b}; return p }, registry.Quirks{})
	return c, p
}

func (p *passBlobs) want(t *testing.T, what string, passes int32) {
	t.Helper()
	if got := p.passes.Load(); got != passes {
		t.Errorf("%s: the bytes were read %d times, want %d", what, got, passes)
	}
}

func sha512Of(s string) name.Digest { return registry.DigestOf(name.SHA512, []byte(s)) }

// 100 wrong digests in one completion cost one pass over the bytes for each algorithm, and a repeated call costs none. The
// right digest completes the upload afterwards, without another pass.
func TestWrongDigestsCostOnePass(t *testing.T) {
	t.Parallel()
	c, p := newPasses(t)
	u := c.begin(t)
	content := strings.Repeat("0123456789", int(registry.MinPart/10)+1)
	part := func(u meta.Upload, s string) {
		t.Helper()
		if _, err := c.UploadPart(t.Context(), c.repo, u, u.Blob.Size, u.Blob.Size+int64(len(s))-1, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	part(u, content)
	var wrong []name.Digest
	for i := range 50 {
		wrong = append(wrong, sha512Of(fmt.Sprint(i)), digest(fmt.Sprint(i)))
	}
	complete := func(digests ...name.Digest) error {
		t.Helper()
		now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.CompleteParts(t.Context(), c.repo, now, digests)
		return err
	}
	for call := range 3 {
		if err := complete(wrong...); !errors.Is(err, fault.InvalidLayer) {
			t.Errorf("call %d with 100 wrong digests: got %v, want InvalidLayer", call, err)
		}
		p.want(t, fmt.Sprint("after call ", call), 1)
	}
	// More bytes continue both hashes.
	now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	part(now, "the end")
	if err := complete(wrong...); !errors.Is(err, fault.InvalidLayer) {
		t.Errorf("after another part: got %v, want InvalidLayer", err)
	}
	if n := p.commits.Load(); n != 0 {
		t.Errorf("wrong digests led to %d attempts to store the blob, want 0", n)
	}
	if err := complete(append(wrong, sha512Of(content+"the end"))...); err != nil {
		t.Errorf("with the right digest at last: %v", err)
	}
	p.want(t, "in all", 1)
	if got := c.content(t, sha512Of(content+"the end")); got != content+"the end" {
		t.Errorf("the blob has %d bytes, want %d", len(got), len(content)+7)
	}
}

// Row 33: a wrong SHA-512 digest at the end of an upload that was begun with SHA-256 costs one pass, also with last bytes and
// with bytes between the attempts, and also if the client disconnects.
func TestWrongDigestsOfAnUploadCostOnePass(t *testing.T) {
	t.Parallel()
	c, p := newPasses(t)
	u := c.begin(t)
	if err := c.append(u, "some bytes"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	none := registry.Chunk{At: registry.AnyOffset, Length: 0}
	if _, err := c.Complete(gone, c.repo, now, none, sha512Of("wrong")); err == nil {
		t.Error("a wrong digest of a client that disconnected: got no error")
	}
	p.want(t, "after a client that disconnected", 1)
	for i, last := range []string{"", "", " and more", " and more"} {
		now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Complete(t.Context(), c.repo, now, text(last), sha512Of("wrong")); !errors.Is(err, fault.DigestInvalid) {
			t.Errorf("attempt %d: got %v, want DigestInvalid", i, err)
		}
		if err := c.append(u, fmt.Sprint(" ", i)); err != nil {
			t.Fatal(err)
		}
	}
	now, err = c.Upload(t.Context(), alice, c.repo, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	whole := "some bytes 0 1 2 3 end"
	if _, err := c.Complete(t.Context(), c.repo, now, text(" end"), sha512Of(whole)); err != nil {
		t.Errorf("the right digest: %v", err)
	}
	p.want(t, "in all", 1)
	if got := c.content(t, sha512Of(whole)); got != whole {
		t.Errorf("the blob is %q, want %q", got, whole)
	}
}
