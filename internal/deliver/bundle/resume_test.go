package bundle_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
)

// A file that ends at any place of a member is continued to the same bytes: at the first byte of its header, inside of it, right after
// it, inside of its content, at the end of its content and after its padding.
func TestContinuedFromAnyByte(t *testing.T) {
	t.Parallel()
	from, s := newSide(t), newSigner(t)
	pushAll(t, from)
	out := filepath.Join(t.TempDir(), "b.tar")
	var plan []byte
	maker := s.maker(from)
	maker.Each = func(bundle.Progress) {
		if b, err := os.ReadFile(out + bundle.PlanEnd); err == nil && len(b) > 0 {
			plan = b
		}
	}
	if _, err := maker.Create(t.Context(), out, from.all(t), false); err != nil {
		t.Fatal(err)
	}
	whole := read(t, out)
	cuts := map[int]bool{0: true, len(whole): true, len(whole) - 1: true, len(whole) - 512: true}
	at := bytes.NewReader(whole)
	for archive := tar.NewReader(at); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start := len(whole) - at.Len()
		for _, cut := range []int{start - 512, start - 511, start - 1, start, start + 1, start + int(h.Size)/2, start + int(h.Size) - 1,
			start + int(h.Size), start + int(h.Size) + 1, (start + int(h.Size) + 511) / 512 * 512} {
			cuts[min(max(cut, 0), len(whole))] = true
		}
	}
	if len(plan) == 0 || len(cuts) < 50 {
		t.Fatalf("got a plan of %d bytes and %d places", len(plan), len(cuts))
	}
	for cut := range cuts {
		for path, b := range map[string][]byte{out + bundle.PlanEnd: plan, out + bundle.PartialEnd: whole[:cut]} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
		made, err := s.maker(from).Create(t.Context(), out, from.all(t), false)
		if err != nil {
			t.Fatalf("after %d bytes: %v", cut, err)
		}
		if !bytes.Equal(read(t, out), whole) || made.Resumed > int64(cut) {
			t.Errorf("after %d bytes, of which %d were kept, the file is another one", cut, made.Resumed)
		}
	}
}
