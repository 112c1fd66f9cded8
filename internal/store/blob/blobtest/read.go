package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testList(t *testing.T, s blob.Store) {
	if got := list(t, s, name.Digest{}, -1); len(got) != 0 {
		t.Errorf("List of an empty store: got %v, want none", got)
	}
	var all []string
	for i := range 40 {
		data := Bytes(uint64(i), i)
		d := SHA256(data)
		if i%4 == 0 {
			d = SHA512(data)
		}
		commit(t, s, begin(t, s, name.SHA256), data, d)
		all = append(all, d.String())
	}
	appendBytes(t, s, begin(t, s, name.SHA256), []byte("an upload is not listed"))
	slices.Sort(all)

	if got := list(t, s, name.Digest{}, -1); !slices.Equal(got, all) {
		t.Errorf("List: got %d digests %v, want %d %v", len(got), got, len(all), all)
	}
	for _, page := range []int{1, 7, 40} {
		var got []string
		after := name.Digest{}
		for {
			next := list(t, s, after, page)
			if len(next) == 0 {
				break
			}
			got = append(got, next...)
			after, _ = name.ParseDigest(next[len(next)-1])
		}
		if !slices.Equal(got, all) {
			t.Errorf("List by pages of %d: got %d digests %v, want %d %v", page, len(got), got, len(all), all)
		}
	}
	// List after a digest that is not stored yields the digests that are greater.
	for _, absent := range []name.Digest{SHA256([]byte("absent")), SHA512([]byte("absent"))} {
		from, _ := slices.BinarySearch(all, absent.String())
		if got, want := list(t, s, absent, -1), all[from:]; !slices.Equal(got, want) {
			t.Errorf("List after %s: got %v, want %v", absent, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.List(ctx, name.Digest{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List with a cancelled context: got %v, want context.Canceled", err)
		}
	}
}

// list collects at most n digests; a negative n means all.
func list(t *testing.T, s blob.Store, after name.Digest, n int) []string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), after) {
		if err != nil {
			t.Fatalf("List after %q: %v", after, err)
		}
		if stat, err := s.Stat(t.Context(), info.Digest); err != nil || stat.Size != info.Size || !stat.StoredAt.Equal(info.StoredAt) {
			t.Fatalf("List returned %+v, Stat %+v, %v", info, stat, err)
		}
		all = append(all, info.Digest.String())
		if len(all) == n {
			break
		}
	}
	return all
}

func testStale(t *testing.T, s blob.Store) {
	begin(t, s, name.SHA256) // an upload without bytes is not listed
	a := appendBytes(t, s, begin(t, s, name.SHA256), []byte("a"))
	b := appendBytes(t, s, begin(t, s, name.SHA512), []byte("b"))
	done := appendBytes(t, s, begin(t, s, name.SHA256), []byte("c"))
	commit(t, s, done, nil, SHA256([]byte("c")))

	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	want := []string{a.ID, b.ID}
	slices.Sort(want)
	if got := stale(t, s, soon); !slices.Equal(got, want) {
		t.Errorf("Stale(in an hour): got %v, want %v", got, want)
	}
	if got := stale(t, s, past); len(got) != 0 {
		t.Errorf("Stale(an hour ago): got %v, want none", got)
	}
	// The garbage collector drops uploads by ID alone, while it iterates.
	for id, err := range s.Stale(t.Context(), soon) {
		if err == nil {
			err = s.Abort(t.Context(), blob.Upload{ID: id})
		}
		if err != nil {
			t.Fatalf("dropping stale upload %s: %v", id, err)
		}
	}
	if got := stale(t, s, soon); len(got) != 0 {
		t.Errorf("Stale after all were dropped: got %v, want none", got)
	}
}

func stale(t *testing.T, s blob.Store, before time.Time) []string {
	t.Helper()
	var all []string
	for id, err := range s.Stale(t.Context(), before) {
		if err != nil {
			t.Fatalf("Stale: %v", err)
		}
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func testDelete(t *testing.T, s blob.Store) {
	data := Bytes(1, 100)
	for range 2 { // a deleted blob can be stored again
		Put(t, s, data)
		wantBlob(t, s, SHA256(data), data)
		for range 2 {
			if err := s.Delete(t.Context(), SHA256(data)); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			wantAbsent(t, s, SHA256(data))
		}
	}
}

func testDeleteWhileOpen(t *testing.T, s blob.Store) {
	data := Bytes(2, 3<<20)
	Put(t, s, data)
	r, _, err := s.Open(t.Context(), SHA256(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), SHA256(data)); err != nil {
		t.Fatalf("Delete while open: %v", err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(head, rest...), data) {
		t.Errorf("reading on after Delete: got %d bytes, %v, want all %d", len(head)+len(rest), err, len(data))
	}
}

// A blob in quarantine is absent and can be stored again; what was stored again is left alone.
func testQuarantine(t *testing.T, s blob.Store) {
	data := Bytes(3, 1000)
	was := Put(t, s, data)
	quarantine := func(was blob.Info, want bool) {
		t.Helper()
		if moved, err := s.Quarantine(t.Context(), was); moved != want || err != nil {
			t.Errorf("Quarantine of %+v: got %t, %v, want %t", was, moved, err, want)
		}
	}
	quarantine(was, true)
	quarantine(was, false)
	wantAbsent(t, s, was.Digest)
	for _, err := range s.List(t.Context(), name.Digest{}) {
		t.Errorf("List yields a blob, %v, want none", err)
	}
	Put(t, s, data)
	quarantine(was, false)
	wantBlob(t, s, was.Digest, data)
	quarantine(blob.Info{}, false)
}

func testSeek(t *testing.T, s blob.Store) {
	data := Bytes(3, 100_000)
	Put(t, s, data)
	r, _, err := s.Open(t.Context(), SHA256(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if end, err := r.Seek(0, io.SeekEnd); err != nil || end != int64(len(data)) {
		t.Errorf("Seek to the end: got %d, %v, want %d", end, err, len(data))
	}
	if _, err := r.Seek(70_000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var part strings.Builder
	if _, err := io.CopyN(&part, r, 1000); err != nil || part.String() != string(data[70_000:71_000]) {
		t.Errorf("1000 bytes at 70000: got %d bytes, %v, not those of the blob", part.Len(), err)
	}
}
