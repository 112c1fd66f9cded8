package registry_test

import (
	"bytes"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
)

// A verification that has to stop after each read goes on within a blob, and finds every damage once and nothing else.
func TestVerifyGoesOnWithinABlob(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, registry.Quirks{})
	for i := range 3 {
		content := blobtest.Bytes(uint64(i), 1_000_000)
		d := registry.Chunk{Body: bytes.NewReader(content), At: registry.AnyOffset, Length: registry.UnknownCount}
		if _, err := f.PutBlob(t.Context(), f.repo, d, blobtest.SHA256(content)); err != nil {
			t.Fatal(err)
		}
	}
	lost := blobtest.SHA256(blobtest.Bytes(1, 1_000_000))
	if err := f.blobs.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	f.StopVerifySoon()
	var all registry.Verified
	calls := 0
	for all.Next.Stage != registry.VerifyDone {
		part, err := f.Verify(t.Context(), all.Next, 0)
		if err != nil {
			t.Fatal(err)
		}
		all.Blobs, all.Bytes, all.Damages, all.Next = all.Blobs+part.Blobs, all.Bytes+part.Bytes, append(all.Damages, part.Damages...), part.Next
		if calls++; calls > 100 {
			t.Fatalf("after %d calls the place is %+v", calls, all.Next)
		}
	}
	if all.Blobs != 2 || all.Bytes != 2_000_000 || calls < 8 {
		t.Errorf("got %d blobs, %d bytes in %d calls, want 2, 2000000, several", all.Blobs, all.Bytes, calls)
	}
	if len(all.Damages) != 1 || all.Damages[0].Digest != lost.String() {
		t.Errorf("got the damages %+v, want %s alone", all.Damages, lost)
	}
}
