package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"os"
	"sync"
)

// spill keeps values in a temporary file, for a cache that has more values than memory should hold: a read of the file takes a
// microsecond where a query takes tens. The file has no name and ends with the process. In memory a value takes 20 bytes. A nil
// spill keeps nothing. Safe for concurrent use.
//
// A record is a checksum and the lengths of key and value, then both. The whole record is compared at each read: a hash that two keys
// share, and a record that was overwritten meanwhile, are a value that is not there.
type spill struct {
	file *os.File
	max  int64 // bytes
	seed maphash.Seed

	mu    sync.RWMutex
	gen   uint64
	index map[uint64]span // by the hash of the key
	end   int64
	full  bool // a write has failed, so that nothing is kept until the next reset
}

// span is where a record is: its first block and its number of blocks.
type span uint64

const (
	spillBlock    = 64 // bytes
	spillHeader   = 12
	maxSpillIndex = 2 << 20   // entries
	maxSpillValue = 256 << 10 // bytes of a record
	spanBits      = 16        // of the number of blocks
)

func newSpan(at int64, size int) span {
	return span(at/spillBlock)<<spanBits | span((size+spillBlock-1)/spillBlock)
}

func (s span) at() int64 { return int64(s>>spanBits) * spillBlock }
func (s span) size() int { return int(s&(1<<spanBits-1)) * spillBlock }

var spillTable = crc32.MakeTable(crc32.Castagnoli)

// newSpill makes the file in a directory. It has at most max bytes.
func newSpill(dir string, max int64) (*spill, error) {
	f, err := os.CreateTemp(dir, ".cache-*")
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, fmt.Errorf("making the file of the cache: %w", err)
	}
	return &spill{file: f, max: max, seed: maphash.MakeSeed(), index: map[uint64]span{}}, nil
}

// get returns the value of a key, and the generation for a put of a value that is read after this call.
func (s *spill) get(key []byte) (value []byte, gen uint64, ok bool) {
	if s == nil {
		return nil, 0, false
	}
	s.mu.RLock()
	where, found := s.index[maphash.Bytes(s.seed, key)]
	gen = s.gen
	s.mu.RUnlock()
	if !found {
		return nil, gen, false
	}
	record := make([]byte, where.size())
	n, err := s.file.ReadAt(record, where.at())
	if record = record[:n]; n < spillHeader || err != nil && n < len(record) {
		return nil, gen, false
	}
	keyLen, valueLen := int(binary.LittleEndian.Uint32(record[4:])), int(binary.LittleEndian.Uint32(record[8:]))
	if keyLen != len(key) || valueLen > n-spillHeader-keyLen {
		return nil, gen, false
	}
	record = record[:spillHeader+keyLen+valueLen]
	if crc32.Checksum(record[4:], spillTable) != binary.LittleEndian.Uint32(record) ||
		string(record[spillHeader:spillHeader+keyLen]) != string(key) {
		return nil, gen, false
	}
	return record[spillHeader+keyLen:], gen, true
}

// put keeps a value unless a value was dropped since get returned gen. It copies key and value.
func (s *spill) put(key, value []byte, gen uint64) {
	size := spillHeader + len(key) + len(value)
	if s == nil || size > maxSpillValue {
		return
	}
	record := make([]byte, (size+spillBlock-1)/spillBlock*spillBlock)
	binary.LittleEndian.PutUint32(record[4:], uint32(len(key)))
	binary.LittleEndian.PutUint32(record[8:], uint32(len(value)))
	copy(record[spillHeader:], key)
	copy(record[spillHeader+len(key):], value)
	binary.LittleEndian.PutUint32(record, crc32.Checksum(record[4:size], spillTable))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen != gen || s.full {
		return
	}
	if s.end+int64(len(record)) > s.max || len(s.index) >= maxSpillIndex {
		s.index, s.end = map[uint64]span{}, 0
	}
	if _, err := s.file.WriteAt(record, s.end); err != nil { // the disk is full: the cache gives its space back
		s.full = true
		_ = s.file.Truncate(0)
		s.index, s.end = map[uint64]span{}, 0
		return
	}
	s.index[maphash.Bytes(s.seed, key)] = newSpan(s.end, len(record))
	s.end += int64(len(record))
}

// drop forgets the values of keys.
func (s *spill) drop(keys ...[]byte) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	for _, k := range keys {
		delete(s.index, maphash.Bytes(s.seed, k))
	}
}

// reset forgets all values and gives back their space.
func (s *spill) reset() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	s.index, s.end, s.full = map[uint64]span{}, 0, false
	_ = s.file.Truncate(0)
}

func (s *spill) close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}
