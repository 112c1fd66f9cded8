package meta_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// A value whose read began before a drop and ended after it is not kept, whichever way and whichever key is dropped.
func TestShelfKeepsNothingOlderThanADrop(t *testing.T) {
	t.Parallel()
	for what, drop := range map[string]func(s *meta.Shelf){
		"the key":                      func(s *meta.Shelf) { s.Drop("k") },
		"another key":                  func(s *meta.Shelf) { s.Drop("other") },
		"all":                          func(s *meta.Shelf) { s.Drop() },
		"the key, unless it holds":     func(s *meta.Shelf) { s.DropUnless("k", func(int) bool { return true }) },
		"the key, which does not hold": func(s *meta.Shelf) { s.DropUnless("k", func(int) bool { return false }) },
	} {
		s := meta.NewShelf(10)
		got, err := s.Cached("k", func() (int, error) { drop(s); return 1, nil })
		if err != nil || got != 1 {
			t.Errorf("drop of %s: the read itself: got %d, %v, want 1", what, got, err)
		}
		if got, _ := s.Cached("k", func() (int, error) { return 2, nil }); got != 2 {
			t.Errorf("drop of %s while reading: the next read got the old value %d, want 2", what, got)
		}
		if got, _ := s.Cached("k", func() (int, error) { return 3, nil }); got != 2 {
			t.Errorf("drop of %s: a read without a drop: got %d, want 2, kept", what, got)
		}
	}
}

func TestShelf(t *testing.T) {
	t.Parallel()
	s := meta.NewShelf(3)
	for i := range 10 {
		if got, _ := s.Cached(fmt.Sprint(i), func() (int, error) { return i, nil }); got != i || s.Len() > 3 {
			t.Errorf("value %d: got %d, with %d kept, want at most 3", i, got, s.Len())
		}
	}
	if _, err := s.Cached("bad", func() (int, error) { return 0, errors.New("no") }); err == nil {
		t.Error("a failed read: got no error")
	}
	if got, err := s.Cached("bad", func() (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Errorf("after a failed read: got %d, %v, want 7: errors are not kept", got, err)
	}
	s.DropUnless("bad", func(v int) bool { return v == 7 })
	if got, _ := s.Cached("bad", func() (int, error) { return 8, nil }); got != 7 {
		t.Errorf("a value that still holds: got %d, want 7, kept", got)
	}
	s.DropUnless("bad", func(v int) bool { return v != 7 })
	if got, _ := s.Cached("bad", func() (int, error) { return 8, nil }); got != 8 {
		t.Errorf("a value that does not hold: got %d, want 8, read again", got)
	}
}

// Values with weights are kept up to a weight of all together, and one that is heavier than that is not kept.
func TestShelfOfWeights(t *testing.T) {
	t.Parallel()
	s := meta.NewWeighedShelf(10)
	keep := func(k string, weight int) {
		if got, _ := s.Cached(k, func() (int, error) { return weight, nil }); got != weight {
			t.Errorf("%s: got %d, want %d", k, got, weight)
		}
	}
	keep("a", 4)
	keep("b", 6)
	keep("too heavy", 11)
	if s.Len() != 2 {
		t.Errorf("values of 4 and 6 of 10: got %d on the shelf, want both", s.Len())
	}
	s.Drop("a")
	keep("c", 4)
	if s.Len() != 2 {
		t.Errorf("a value in place of one that was dropped: got %d on the shelf, want 2", s.Len())
	}
	keep("d", 1)
	if s.Len() != 1 {
		t.Errorf("a value beyond the weight: got %d on the shelf, want it alone", s.Len())
	}
	s.Drop()
	keep("e", 9)
	keep("f", 1)
	if s.Len() != 2 {
		t.Errorf("after a drop of all: got %d on the shelf, want 2", s.Len())
	}
}
