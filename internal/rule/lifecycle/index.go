package lifecycle

import (
	"cmp"
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
)

// set is a set of images, a bit for each.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int32)      { s[i>>6] |= 1 << (i & 63) }
func (s set) remove(i int32)   { s[i>>6] &^= 1 << (i & 63) }
func (s set) has(i int32) bool { return s[i>>6]&(1<<(i&63)) != 0 }

// and keeps the elements that are in t.
func (s set) and(t set) {
	for i := range s {
		s[i] &= t[i]
	}
}

// without removes the elements of t.
func (s set) without(t set) {
	for i := range s {
		s[i] &^= t[i]
	}
}

// count returns the number of elements.
func (s set) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// down calls f for the elements, highest first.
func (s set) down(f func(i int32)) {
	for w := len(s) - 1; w >= 0; w-- {
		for word := s[w]; word != 0; {
			bit := 63 - bits.LeadingZeros64(word)
			word &^= 1 << bit
			f(int32(w<<6 + bit))
		}
	}
}

// entry is a tag of an image.
type entry struct {
	first uint64 // the first bytes of tag, which decide most comparisons
	tag   string
	key   string // semver.Key, if a rule needs it
	moved int64  // microseconds
	image int32
}

// index has the tags of all images, sorted.
type index []entry

// newIndex returns the index of n images, of which at returns one. versions says whether the keys are needed.
func newIndex(n int, at func(i int) *Image, versions bool) index {
	count := 0
	for i := range n {
		count += len(at(i).Tags)
	}
	x := make(index, 0, count)
	for i := range n {
		im := at(i)
		for _, t := range im.Tags {
			e := entry{first: firstBytes(t.Name), tag: t.Name, moved: micros(im.moved(t)), image: int32(i)}
			if versions {
				e.key = semver.Key(t.Name)
			}
			x = append(x, e)
		}
	}
	slices.SortFunc(x, func(a, b entry) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return cmp.Or(strings.Compare(a.tag, b.tag), cmp.Compare(a.image, b.image))
	})
	return x
}

// firstBytes returns the first 8 bytes of s, padded with zeros, as a number that has the order of the texts.
func firstBytes(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

// begin returns the entries whose tags begin with a text.
func (x index) begin(prefix string) index {
	low, _ := slices.BinarySearchFunc(x, prefix, func(e entry, s string) int { return strings.Compare(e.tag, s) })
	x = x[low:]
	high, _ := slices.BinarySearchFunc(x, prefix, func(e entry, s string) int {
		if strings.HasPrefix(e.tag, s) {
			return -1
		}
		return 1
	})
	return x[:high]
}

// maxUnchecked is the number of tags between two looks at the context. A regular expression takes up to a millisecond for a tag.
const maxUnchecked = 1024

// matched calls f for the entries that a filter matches, once each; with a nil filter for all. Errors: that of ctx.
func (x index) matched(ctx context.Context, f *TagFilter, call func(e *entry)) error {
	if f == nil {
		f = &TagFilter{}
	}
	every := []Pattern{prefixPattern(f.prefix)}
	if len(f.Patterns) > 0 {
		every = f.Patterns
	}
	for n, p := range every {
		part := x.begin(p.prefix())
		for i := range part {
			if i%maxUnchecked == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			e := &part[i]
			earlier := func(q Pattern) bool { return q.Match(e.tag) }
			if p.Match(e.tag) && !slices.ContainsFunc(every[:n], earlier) && f.matchRest(e.tag, e.key) {
				call(e)
			}
		}
	}
	return nil
}

// andPattern removes from e.seen the images without a tag that p matches. Errors: that of ctx.
func (e *evaluation) andPattern(ctx context.Context, p Pattern) error {
	if x, y, ok := p.pair(); ok {
		return e.andPair(ctx, x, y)
	}
	part := e.tags.begin(p.prefix())
	if e.seen.count() < len(part)/4 { // few images are left: their own tags are less to read
		e.seen.down(func(i int32) {
			if !slices.ContainsFunc(e.images[i].Tags, func(t Tag) bool { return p.Match(t.Name) }) {
				e.seen.remove(i)
			}
		})
		return ctx.Err()
	}
	all := len(p.pieces) == 2 && p.pieces[1] == "" // the prefix is all of the pattern
	for i := range part {
		if i%maxUnchecked == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if t := &part[i]; e.seen.has(t.image) && (all || p.Match(t.tag)) {
			e.empty.add(t.image)
		}
	}
	e.seen.and(e.empty)
	clear(e.empty)
	return nil
}
