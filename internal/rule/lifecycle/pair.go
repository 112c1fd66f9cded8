package lifecycle

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
)

// pairs finds the images with a tag that a pattern *x*y* matches, in which x and y are characters, without another look at the tags:
// such patterns match many tags, and a document can have two thousand of them.
type pairs struct {
	made bool
	// after has for the bit of a character x that begins such a pattern, and each image, the characters that come after the first x in
	// one of its tags.
	after [64][]uint64
}

const noBit = 0xff

// bitOf has the number of the bit of a character of a tag in pairs. Tags can have 65 characters: - has none.
var bitOf = func() (all [256]uint8) {
	for i := range all {
		all[i] = noBit
	}
	for i, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._") {
		all[c] = uint8(i)
	}
	return all
}()

// pair returns the bits of the characters of a pattern *x*y*.
func (p Pattern) pair() (x, y uint8, ok bool) {
	if len(p.pieces) != 4 || p.pieces[0] != "" || p.pieces[3] != "" || len(p.pieces[1]) != 1 || len(p.pieces[2]) != 1 {
		return 0, 0, false
	}
	x, y = bitOf[p.pieces[1][0]], bitOf[p.pieces[2][0]]
	return x, y, x != noBit && y != noBit
}

// makePairs reads the tags for all patterns *x*y* of the policy. Errors: that of ctx.
func (e *evaluation) makePairs(ctx context.Context) error {
	wanted := uint64(0)
	for _, r := range e.rules {
		for _, p := range r.Patterns {
			if x, _, ok := p.pair(); ok && e.pairs.after[x] == nil {
				e.pairs.after[x] = make([]uint64, len(e.images))
				wanted |= 1 << x
			}
		}
	}
	e.pairs.made = true
	var after [64]uint64 // of a tag
	for i, im := range e.images {
		if i%maxUnchecked == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for _, t := range im.Tags {
			seen := uint64(0)
			for k := len(t.Name) - 1; k >= 0; k-- {
				if x := bitOf[t.Name[k]]; x != noBit {
					after[x&63] = seen // the first one in the tag comes last here
					seen |= 1 << x
				}
			}
			for left := seen & wanted; left != 0; left &= left - 1 {
				x := bits.TrailingZeros64(left)
				e.pairs.after[x][i] |= after[x]
			}
		}
	}
	return nil
}

// andPair is andPattern for a pattern *x*y*.
func (e *evaluation) andPair(ctx context.Context, x, y uint8) error {
	if !e.pairs.made {
		if err := e.makePairs(ctx); err != nil {
			return err
		}
	}
	after := e.pairs.after[x]
	for w, word := range e.seen {
		if word == 0 {
			continue
		}
		kept := uint64(0)
		for k, mask := range after[w<<6 : min((w+1)<<6, len(after))] {
			kept |= mask >> (y & 63) & 1 << (k & 63)
		}
		e.seen[w] = word & kept
	}
	return ctx.Err()
}

// maxSample is the number of images by which the patterns of a rule are ordered.
const maxSample = 256

// rarestFirst returns the patterns of a rule, of which an image must match each, in an order in which the first ones leave few images for
// the others. What the rule sees does not depend on it.
func (e *evaluation) rarestFirst(all []Pattern) []Pattern {
	if len(all) < 2 {
		return all
	}
	type counted struct {
		Pattern
		n int
	}
	step := max(1, len(e.images)/maxSample)
	found := make([]counted, 0, len(all))
	for _, p := range all {
		c := counted{Pattern: p}
		if p.prefix() != "" {
			c.n = len(e.tags.begin(p.prefix())) / step
		} else {
			for i := 0; i < len(e.images); i += step {
				if slices.ContainsFunc(e.images[i].Tags, func(t Tag) bool { return p.Match(t.Name) }) {
					c.n++
				}
			}
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b counted) int { return cmp.Compare(a.n, b.n) })
	sorted := make([]Pattern, len(found))
	for i, c := range found {
		sorted[i] = c.Pattern
	}
	return sorted
}
