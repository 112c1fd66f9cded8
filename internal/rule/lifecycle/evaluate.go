package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Result is what a policy does with the images of a repository.
type Result struct {
	Verdicts []Verdict // one for each image: oldest push first, images with equal times by digest
	Rules    []*Rule   // of the policy, in the order in which they are applied
	Expire   Total     // of the images that are deleted
	Archive  Total     // of the images that move to the archive class
}

// Total is the number and size of images.
type Total struct {
	Images int
	Bytes  int64 // sum of Image.Bytes; layers that images share count for each
}

// micros returns a time as microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// maxDays is more days than the times of images can be apart; more of them in microseconds would overflow.
const maxDays = 100_000_000

// before returns the time a number of days of 24 hours before now, in microseconds.
func before(now time.Time, days int) int64 {
	return now.UnixMicro() - int64(min(days, maxDays))*24*60*60*1_000_000
}

// Evaluate returns what a policy does with the images of a repository at the time now. It does not change the images, and
// the result refers to them. The order of images does not matter. The result of the same arguments is always the same.
//
// A rule sees the images that it selects, whatever other rules do with them. An image is acted on only by the first rule that
// sees it, if the conditions of that rule hold for it. It is not acted on if
//
//   - it has a Protection, or the policy protects one of its tags,
//   - an index that is left contains it,
//   - it is a referrer: it goes where its subject goes, and stays where its subject stays.
//
// Such images still count for the positions of others. If the actions of the result have been carried out, with now as the
// time of transitions, then another evaluation with the same time has no actions.
//
// Errors: the error of ctx, if it ends; an error if a digest is there twice. Neither result is partial.
func Evaluate(ctx context.Context, p *Policy, images []Image, now time.Time) (*Result, error) {
	e, err := newEvaluation(p, images, now)
	if err != nil {
		return nil, err
	}
	for i, r := range e.rules {
		if err := e.apply(ctx, int16(i), r); err != nil {
			return nil, err
		}
	}
	if p != nil {
		for _, f := range p.protect {
			if err := e.tags.matched(ctx, f, func(t *entry) { e.protected.add(t.image) }); err != nil {
				return nil, err
			}
		}
	}
	resolved := e.resolve()
	e.tags, e.places, e.best, e.numbers, e.pairs = nil, nil, nil, nil, pairs{} // the verdicts refer to the rest
	return e.result(resolved), nil
}

// evaluation is the state of Evaluate. Images have numbers in the order of their push, oldest first.
type evaluation struct {
	now       time.Time
	rules     []*Rule
	images    []*Image
	numbers   map[name.Digest]int32
	pushed    []int64 // microseconds
	tags      index
	pairs     pairs
	classes   [2]set // by StorageClass
	hasTags   set
	protected set      // by the policy
	verdicts  []ruling // of rules alone

	// Scratch memory of apply, so that rules share it.
	empty  set
	seen   set
	moved  []int64 // the last move of a matching tag
	places []place
	best   []groupPosition // by image
}

// groupPosition is the position of an image in a group.
type groupPosition struct {
	group    string
	position int32 // from 1; 0 is none
}

// ruling is what the first rule that sees an image says about it.
type ruling struct {
	rule     int16 // index in rules, or noRule
	due      bool
	position int32 // from 1, in the order of Keep; 0 without Keep
	group    string
	moved    int64 // the last move of a matching tag
}

const noRule = -1

// place is an image in a group, in an order.
type place struct {
	group string
	key   string // of HighestVersion
	value int64  // of the other orders
	image int32
}

func newEvaluation(p *Policy, images []Image, now time.Time) (*evaluation, error) {
	n := len(images)
	e := &evaluation{now: now, rules: p.Rules(), images: make([]*Image, n), pushed: make([]int64, n), verdicts: make([]ruling, n)}
	e.numbers = make(map[name.Digest]int32, n)
	for i := range images {
		e.images[i] = &images[i]
	}
	slices.SortFunc(e.images, func(a, b *Image) int {
		return cmp.Or(cmp.Compare(micros(a.pushed()), micros(b.pushed())), strings.Compare(a.Digest.String(), b.Digest.String()))
	})
	e.classes = [2]set{newSet(n), newSet(n)}
	e.hasTags, e.protected, e.empty, e.seen = newSet(n), newSet(n), newSet(n), newSet(n)
	for i, im := range e.images {
		if _, ok := e.numbers[im.Digest]; ok {
			return nil, fmt.Errorf("evaluating a lifecycle policy: the image %s is there twice", im.Digest)
		}
		e.numbers[im.Digest] = int32(i)
		e.pushed[i] = micros(im.pushed())
		e.classes[im.Class].add(int32(i))
		if len(im.Tags) > 0 {
			e.hasTags.add(int32(i))
		}
		e.verdicts[i].rule = noRule
	}
	if usesTags(p) {
		e.tags = newIndex(n, func(i int) *Image { return e.images[i] }, usesVersions(p))
	}
	return e, nil
}

// usesTags reports whether the policy reads the names or times of tags.
func usesTags(p *Policy) bool {
	return p != nil && (len(p.protect) > 0 || slices.ContainsFunc(p.rules, func(r *Rule) bool {
		return r.Document == Extension || len(r.Patterns) > 0
	}))
}

// usesVersions reports whether a filter of the policy has a range of versions.
func usesVersions(p *Policy) bool {
	ranged := func(f *TagFilter) bool { return f != nil && f.Range != nil }
	return p != nil && (slices.ContainsFunc(p.protect, ranged) ||
		slices.ContainsFunc(p.rules, func(r *Rule) bool { return ranged(r.Tags) || slices.ContainsFunc(r.Exclude, ranged) }))
}

// apply records what a rule says about the images that no earlier rule has seen.
func (e *evaluation) apply(ctx context.Context, number int16, r *Rule) error {
	if err := e.see(ctx, r); err != nil {
		return err
	}
	moves := r.Keep != nil && r.Keep.Order == NewestTagMove ||
		slices.ContainsFunc(r.Older, func(a Age) bool { return a.Clock == TagMoved })
	if moves {
		if err := e.findMoves(ctx, r); err != nil {
			return err
		}
	}
	ordered := r.Keep != nil && (r.Keep.Order != NewestPush || r.Keep.Group > 0)
	if ordered {
		if err := e.order(ctx, r); err != nil {
			return err
		}
	}
	position := int32(0)
	e.seen.down(func(i int32) {
		position++
		v := &e.verdicts[i]
		if v.rule != noRule {
			return
		}
		*v = ruling{rule: number, due: true}
		if moves {
			v.moved = e.moved[i]
		}
		if r.Keep != nil {
			v.position = position
			if ordered {
				v.position, v.group = e.best[i].position, e.best[i].group
			}
			v.due = int(v.position) > r.Keep.Count
		}
		for _, a := range r.Older {
			v.due = v.due && e.older(a, i, v.moved)
		}
	})
	return nil
}

// older reports whether an age is exceeded.
func (e *evaluation) older(a Age, i int32, moved int64) bool {
	at := e.clock(a.Clock, i, moved)
	return at != 0 && at < before(e.now, a.Days)
}

// clock returns the time from which an age is counted, in microseconds; 0 is unknown.
func (e *evaluation) clock(c Clock, i int32, moved int64) int64 {
	switch c {
	case Pulled:
		return micros(e.images[i].pulled())
	case TagMoved:
		return moved
	case Archival:
		return micros(e.images[i].ArchivedAt)
	}
	return e.pushed[i]
}

// see puts the images that a rule sees into e.seen.
func (e *evaluation) see(ctx context.Context, r *Rule) error {
	copy(e.seen, e.classes[r.Class])
	switch r.Status {
	case Tagged:
		e.seen.and(e.hasTags)
	case Untagged:
		e.seen.without(e.hasTags)
	}
	for _, p := range e.rarestFirst(r.Patterns) {
		if e.seen.count() == 0 {
			return nil // what follows only removes images
		}
		if err := e.andPattern(ctx, p); err != nil {
			return err
		}
	}
	add := func(t *entry) { e.empty.add(t.image) }
	if r.Tags != nil {
		if err := e.tags.matched(ctx, r.Tags, add); err != nil {
			return err
		}
		e.seen.and(e.empty)
		clear(e.empty)
	}
	if r.EveryTag {
		if err := e.tags.matched(ctx, nil, func(t *entry) {
			if e.seen.has(t.image) && !r.Tags.match(t.tag, t.key) {
				add(t)
			}
		}); err != nil {
			return err
		}
		e.seen.without(e.empty)
		clear(e.empty)
	}
	for _, f := range r.Exclude {
		if err := e.tags.matched(ctx, f, add); err != nil {
			return err
		}
		e.seen.without(e.empty)
		clear(e.empty)
	}
	return nil
}

// findMoves puts the time of the last move of a matching tag of each image that the rule sees into e.moved.
func (e *evaluation) findMoves(ctx context.Context, r *Rule) error {
	if e.moved == nil {
		e.moved = make([]int64, len(e.images))
	}
	clear(e.moved)
	for i, im := range e.images {
		if len(im.Tags) == 0 {
			e.moved[i] = micros(im.untagged())
		}
	}
	return e.tags.matched(ctx, r.Tags, func(t *entry) { e.moved[t.image] = max(e.moved[t.image], t.moved) })
}

// order puts the best position of each image that the rule sees into e.best.
func (e *evaluation) order(ctx context.Context, r *Rule) error {
	e.places = e.places[:0]
	if r.Keep.Group == 0 && r.Keep.Order != HighestVersion {
		e.seen.down(func(i int32) {
			moved := int64(0)
			if r.Keep.Order == NewestTagMove {
				moved = e.moved[i]
			}
			e.places = append(e.places, place{value: e.orderValue(r.Keep.Order, i, moved), image: i})
		})
	} else if err := e.tags.matched(ctx, r.Tags, func(t *entry) {
		if e.seen.has(t.image) {
			e.places = append(e.places, e.placeOf(r, t))
		}
	}); err != nil {
		return err
	}
	slices.SortFunc(e.places, func(a, b place) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(b.key, a.key),
			cmp.Compare(b.value, a.value), cmp.Compare(b.image, a.image))
	})
	if e.best == nil {
		e.best = make([]groupPosition, len(e.images))
	}
	clear(e.best)
	in := e.empty // the images of the group up to here
	position, first := int32(0), 0
	for n, p := range e.places {
		if n > 0 && p.group != e.places[n-1].group {
			for _, q := range e.places[first:n] {
				in[q.image>>6] = 0
			}
			position, first = 0, n
		}
		if in.has(p.image) {
			continue
		}
		in.add(p.image)
		position++
		if best := &e.best[p.image]; best.position == 0 || position < best.position {
			*best = groupPosition{p.group, position}
		}
	}
	clear(e.empty)
	return nil
}

// placeOf returns the place of an image by one of its tags that the rule matches.
func (e *evaluation) placeOf(r *Rule, t *entry) place {
	p := place{value: e.orderValue(r.Keep.Order, t.image, t.moved), image: t.image}
	if r.Keep.Order == HighestVersion {
		p.key = t.key
	}
	if r.Keep.Group > 0 {
		at := r.Tags.Regexp.FindStringSubmatchIndex(t.tag)[2*r.Keep.Group:]
		if at[0] >= 0 { // a capture that takes no part in the match names the group ""
			p.group = t.tag[at[0]:at[1]]
		}
	}
	return p
}

// orderValue returns the time by which an image is ordered, in microseconds.
func (e *evaluation) orderValue(o Order, i int32, moved int64) int64 {
	switch o {
	case NewestPull:
		return micros(e.images[i].pulled())
	case NewestTagMove:
		return moved
	}
	return e.pushed[i]
}
