package meta

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func newTestSpill(t testing.TB, max int64) *spill {
	t.Helper()
	s, err := newSpill(t.TempDir(), max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

// keep stores a value as a reader of the database does.
func keep(s *spill, key string, value []byte) {
	_, gen, _ := s.get([]byte(key))
	s.put([]byte(key), value, gen)
}

func wantSpilled(t *testing.T, s *spill, key string, want []byte) {
	t.Helper()
	got, _, ok := s.get([]byte(key))
	if ok != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("%q: got %.40q, %t, want %.40q", key, got, ok, want)
	}
}

func TestSpill(t *testing.T) {
	t.Parallel()
	s := newTestSpill(t, 1<<20)
	keep(s, "a", []byte("one"))
	keep(s, "empty", []byte{})
	keep(s, "large", make([]byte, 100_000))
	keep(s, "too large", make([]byte, maxSpillValue))
	wantSpilled(t, s, "a", []byte("one"))
	wantSpilled(t, s, "large", make([]byte, 100_000))
	wantSpilled(t, s, "too large", nil)
	wantSpilled(t, s, "absent", nil)
	if got, _, ok := s.get([]byte("empty")); !ok || len(got) > 0 {
		t.Errorf("an empty value: got %q, %t", got, ok)
	}
	keep(s, "a", []byte("two"))
	wantSpilled(t, s, "a", []byte("two"))
	s.drop([]byte("a"))
	wantSpilled(t, s, "a", nil)
	_, gen, _ := s.get([]byte("b"))
	s.drop([]byte("other"))
	s.put([]byte("b"), []byte("read before the drop"), gen)
	wantSpilled(t, s, "b", nil)
	s.reset()
	wantSpilled(t, s, "large", nil)
	if info, err := s.file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the file after a reset: got %v, %v, want no bytes", info, err)
	}
	var none *spill
	none.put([]byte("a"), nil, 0)
	none.drop()
	none.reset()
	if _, _, ok := none.get([]byte("a")); ok || none.close() != nil {
		t.Error("a nil spill keeps something")
	}
}

// The file never has more than its limit: a full one begins anew.
func TestSpillIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	s := newTestSpill(t, limit)
	for i := range 1000 {
		keep(s, fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 1000))
		wantSpilled(t, s, fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 1000))
	}
	if info, err := s.file.Stat(); err != nil || info.Size() > limit {
		t.Errorf("the file: got %v, %v, want at most %d bytes", info, err, limit)
	}
}

// A record that was overwritten or damaged is absent, and so is one of another key with the same hash.
func TestSpillReadsNothingWrong(t *testing.T) {
	t.Parallel()
	s := newTestSpill(t, 1<<20)
	keep(s, "a", bytes.Repeat([]byte("a"), 300))
	keep(s, "b", bytes.Repeat([]byte("b"), 300))
	at := s.index[hashOf(s, "a")]
	s.index[hashOf(s, "other")] = at
	wantSpilled(t, s, "other", nil)
	for offset := range int64(spillHeader + 1 + 300) {
		var was [1]byte
		if _, err := s.file.ReadAt(was[:], at.at()+offset); err != nil {
			t.Fatal(err)
		}
		if _, err := s.file.WriteAt([]byte{was[0] ^ 0x40}, at.at()+offset); err != nil {
			t.Fatal(err)
		}
		wantSpilled(t, s, "a", nil)
		if _, err := s.file.WriteAt(was[:], at.at()+offset); err != nil {
			t.Fatal(err)
		}
	}
	wantSpilled(t, s, "a", bytes.Repeat([]byte("a"), 300))
	s.index[hashOf(s, "beyond")] = newSpan(1<<30, 64)
	wantSpilled(t, s, "beyond", nil)
	if err := s.file.Truncate(at.at() + 10); err != nil {
		t.Fatal(err)
	}
	wantSpilled(t, s, "a", nil)
}

// After a write that failed nothing is kept, and nothing is wrong.
func TestSpillOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newTestSpill(t, 1<<20)
	keep(s, "a", []byte("one"))
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	s.file.Close()
	s.file = readOnly
	keep(s, "b", []byte("two"))
	wantSpilled(t, s, "a", nil)
	wantSpilled(t, s, "b", nil)
	keep(s, "b", []byte("two"))
	wantSpilled(t, s, "b", nil)
}

// Nothing is kept from a failed write until the next reset, even if the disk has room again.
func TestSpillKeepsNothingUntilTheNextReset(t *testing.T) {
	t.Parallel()
	s := newTestSpill(t, 1<<20)
	good := s.file
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	s.file = readOnly
	keep(s, "a", []byte("one"))
	s.file = good
	keep(s, "a", []byte("one"))
	wantSpilled(t, s, "a", nil)
	s.reset()
	keep(s, "a", []byte("one"))
	wantSpilled(t, s, "a", []byte("one"))
}

// A file of whole records is used to its last byte, a record is as large as it may be, and a generation is that of all keys.
func TestSpillUsesAllOfItsFile(t *testing.T) {
	t.Parallel()
	value := bytes.Repeat([]byte("v"), spillBlock-spillHeader-1)
	s := newTestSpill(t, 2*spillBlock)
	for _, key := range []string{"a", "b"} {
		keep(s, key, value)
	}
	wantSpilled(t, s, "a", value)
	wantSpilled(t, s, "b", value)
	keep(s, "c", value) // begins anew
	wantSpilled(t, s, "a", nil)
	wantSpilled(t, s, "c", value)
	if s.end != spillBlock || len(s.index) != 1 {
		t.Errorf("after it began anew: got %d bytes and %d records, want %d and 1", s.end, len(s.index), spillBlock)
	}
	large := newTestSpill(t, 1<<20)
	for _, n := range []int{0, 1} {
		value := make([]byte, maxSpillValue-spillHeader-1+n)
		keep(large, "k", value)
		if _, _, ok := large.get([]byte("k")); ok != (n == 0) {
			t.Errorf("a record of %d bytes: kept %t", maxSpillValue+n, ok)
		}
		large.reset()
	}
}

// A value is in memory while there is room, in the file when there is none, and in neither after a drop. Without a file memory
// makes room.
func TestTiersOfACache(t *testing.T) {
	t.Parallel()
	for _, file := range []bool{false, true} {
		c := tiered[name.Digest, []byte]{form: bodyForm{}}
		c.max = 2
		if file {
			c.spill = newTestSpill(t, 1<<20)
		}
		digests := []name.Digest{}
		for i := range 3 {
			d := name.NewDigest(name.SHA256, bytes.Repeat([]byte{byte(i)}, 32))
			digests = append(digests, d)
			_, gen, ok := c.get(d)
			if ok {
				t.Errorf("file %t: value %d is there before it was put", file, i)
			}
			c.put(d, []byte{byte(i)}, gen)
			if v, _, ok := c.get(d); !ok || !bytes.Equal(v, []byte{byte(i)}) {
				t.Errorf("file %t: value %d: got %v, %t", file, i, v, ok)
			}
		}
		if file {
			if got := len(c.spill.index); got != 1 {
				t.Errorf("the file has %d values, want the third", got)
			}
			gen := c.generations()
			c.drop(digests[2])
			if _, _, ok := c.get(digests[2]); ok {
				t.Error("a value of the file is there after its drop")
			}
			c.put(digests[2], []byte{2}, gen)
			if _, _, ok := c.get(digests[2]); ok {
				t.Error("a value that was read before the drop is kept")
			}
		}
		c.drop()
		for i, d := range digests {
			if _, _, ok := c.get(d); ok {
				t.Errorf("file %t: value %d is there after all were dropped", file, i)
			}
		}
	}
}

// Readers beside writers that overwrite the file again and again get the right value or none.
func TestSpillConcurrently(t *testing.T) {
	t.Parallel()
	s := newTestSpill(t, 16<<10)
	var done sync.WaitGroup
	for w := range 4 {
		done.Go(func() {
			for i := range 3000 {
				n := (i*7 + w) % 100
				key := fmt.Sprint("key ", n)
				value := bytes.Repeat([]byte{byte(n)}, 100+10*n)
				if got, gen, ok := s.get([]byte(key)); ok && !bytes.Equal(got, value) {
					t.Errorf("%s: got %d bytes of %q", key, len(got), got[:1])
				} else if !ok {
					s.put([]byte(key), value, gen)
				}
				if i%100 == 0 {
					s.drop([]byte(key))
				}
			}
		})
	}
	done.Wait()
}

func TestHeadForm(t *testing.T) {
	t.Parallel()
	d := name.MustDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	for _, h := range []ManifestHead{{Digest: d, MediaType: "application/x", Size: 7}, {Digest: d, Subject: d}, {Digest: d, Size: -1}} {
		if got, ok := (headForm{}).decode((headForm{}).encode(h)); !ok || got != h {
			t.Errorf("got %+v, %t, want %+v", got, ok, h)
		}
	}
	keys := map[string]bool{}
	for _, k := range []headKey{
		{1, name.Reference{Tag: name.MustTag("a")}}, {2, name.Reference{Tag: name.MustTag("a")}}, {1, name.Reference{Digest: d}},
	} {
		keys[string((headForm{}).key(k))] = true
	}
	if len(keys) != 3 {
		t.Errorf("got %d keys, want three", len(keys))
	}
}

// No text makes decode panic.
func FuzzHeadForm(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((headForm{}).encode(ManifestHead{MediaType: "m", Size: 1}))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, ok := (headForm{}).decode(text)
		if !ok {
			return
		}
		if again, ok := (headForm{}).decode((headForm{}).encode(h)); !ok || again != h {
			t.Errorf("%q: got %+v, then %+v, %t", text, h, again, ok)
		}
	})
}

func hashOf(s *spill, key string) uint64 { return maphash.Bytes(s.seed, []byte(key)) }
