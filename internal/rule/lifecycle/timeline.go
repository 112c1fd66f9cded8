package lifecycle

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The number of images of a lane up to which each has a mark: in a repository with at most manyImages images, and in a larger one. A lane
// with more images has counts.
const (
	MaxMarks     = 300
	maxManyMarks = 60
	manyImages   = 1000
)

// minTimeline is the shortest time that a timeline shows.
const minTimeline = 10 * time.Minute

// timelineBins is the number of bins of a lane with counts.
const timelineBins = 40

// Lane has the images that one rule sees, for a picture of them in the order of their pushes.
type Lane struct {
	Rule   *Rule // nil for the images that no rule sees
	Images int
	Going  int       // images that are expired or archived
	Held   int       // images that stay although the rule is due for them
	Cut    time.Time // of the lane's images, those that were pushed before it are due, the others are not; zero if their pushes do not tell
	Marks  []Mark    // oldest push first; of a lane with few images, see MaxMarks
	Bins   []Bin     // oldest first, without empty ones; of a lane with more images
}

// Fate is what happens to an image of a lane.
type Fate uint8

const (
	FateStays Fate = iota
	FateGoes
	FateHeld // the rule is due, but something else keeps the image
)

// Mark is an image of a lane.
type Mark struct {
	PushedAt time.Time
	Fate     Fate
}

// Bin counts the images of a lane that were pushed in a time, by their fate.
type Bin struct {
	From, Until          time.Time
	Staying, Going, Held int
}

// Timeline returns a lane for each rule of the policy, in the order in which the rules are applied, and one for the images that no rule
// sees. Bins have equal widths on the scale of Position up to the oldest image.
func (r *Result) Timeline(now time.Time) []Lane {
	lanes := make([]Lane, len(r.Rules)+1)
	number := map[*Rule]int{}
	for i, rule := range r.Rules {
		lanes[i].Rule, number[rule] = rule, i
	}
	number[nil] = len(r.Rules)
	of := make([][]*Verdict, len(lanes))
	for i := range r.Verdicts {
		n := number[r.Verdicts[i].Rule]
		of[n] = append(of[n], &r.Verdicts[i])
	}
	oldest, most := minTimeline, MaxMarks
	if len(r.Verdicts) > manyImages {
		most = maxManyMarks
	}
	if len(r.Verdicts) > 0 {
		oldest = max(oldest, now.Sub(r.Verdicts[0].Image.PushedAt))
	}
	for i := range lanes {
		lanes[i].fill(of[i], now, oldest, most)
	}
	return lanes
}

func (v *Verdict) fate() Fate {
	switch {
	case v.Action != None:
		return FateGoes
	case v.Hold != 0:
		return FateHeld
	}
	return FateStays
}

// fill fills in a lane; the verdicts are in the order of the pushes.
func (l *Lane) fill(all []*Verdict, now time.Time, oldest time.Duration, most int) {
	l.Images = len(all)
	bins := make([]Bin, timelineBins)
	for i := range bins {
		bins[i].From, bins[i].Until = now.Add(-binEdge(i, oldest)), now.Add(-binEdge(i+1, oldest))
	}
	bins[len(bins)-1].Until = now
	for _, v := range all {
		m := Mark{PushedAt: v.Image.PushedAt, Fate: v.fate()}
		b := &bins[binOf(now.Sub(m.PushedAt), oldest)]
		switch m.Fate {
		case FateGoes:
			l.Going++
			b.Going++
		case FateHeld:
			l.Held++
			b.Held++
		default:
			b.Staying++
		}
		if len(all) <= most {
			l.Marks = append(l.Marks, m)
		}
	}
	if len(all) > most {
		l.Bins = slices.DeleteFunc(bins, func(b Bin) bool { return b.Staying+b.Going+b.Held == 0 })
	}
	l.cut(all, now)
}

// timelineUnit returns the age from which a timeline up to an oldest age is logarithmic.
func timelineUnit(oldest time.Duration) time.Duration {
	switch {
	case oldest < 6*time.Hour:
		return time.Minute
	case oldest < 7*24*time.Hour:
		return time.Hour
	}
	return 24 * time.Hour
}

// Position returns where an age lies on a timeline that ends at an oldest age: 0 for now, 1 for the oldest. The scale is logarithmic.
func Position(age, oldest time.Duration) float64 {
	unit := float64(timelineUnit(oldest))
	return min(math.Log1p(float64(max(age, 0))/unit)/math.Log1p(float64(oldest)/unit), 1)
}

// binEdge returns the age at the older edge of a bin.
func binEdge(i int, oldest time.Duration) time.Duration {
	unit := float64(timelineUnit(oldest))
	return time.Duration(unit * math.Expm1(math.Log1p(float64(oldest)/unit)*(1-float64(i)/timelineBins)))
}

// binOf returns the bin of an age.
func binOf(age, oldest time.Duration) int {
	return min(max(timelineBins-1-int(Position(age, oldest)*timelineBins), 0), timelineBins-1)
}

// cut finds the push that parts the images that are due from the others.
func (l *Lane) cut(all []*Verdict, now time.Time) {
	if l.Rule == nil {
		return
	}
	if len(l.Rule.Older) == 1 && l.Rule.Keep == nil && l.Rule.Older[0].Clock == Pushed {
		l.Cut = time.UnixMicro(before(now, l.Rule.Older[0].Days))
		return
	}
	due := 0 // images of the oldest that are due without a gap
	for due < len(all) && (all[due].Due || all[due].Action != None) {
		due++
	}
	if due > 0 && !slices.ContainsFunc(all[due:], func(v *Verdict) bool { return v.Due }) {
		if l.Cut = now; due < len(all) {
			l.Cut = all[due].Image.PushedAt
		}
	}
}

// Selects returns in words which images the rule sees, such as "tags *-rc.*".
func (r *Rule) Selects() string {
	var all []string
	for _, p := range r.Patterns {
		text := p.Text
		if p.Prefix {
			text += "*"
		}
		all = append(all, text)
	}
	if r.Tags != nil {
		var some []string
		for _, p := range r.Tags.Patterns {
			some = append(some, p.Text)
		}
		if len(some) > 0 {
			all = append(all, strings.Join(some, " or "))
		}
		if r.Tags.Regexp != nil {
			all = append(all, r.Tags.Regexp.String())
		}
		if r.Tags.Range != nil {
			all = append(all, "versions")
		}
	}
	text := "all images"
	switch {
	case len(all) > 0:
		text = "tags " + strings.Join(all, " and ")
	case r.Status == Untagged:
		text = "untagged"
	case r.Status == Tagged:
		text = "all tags"
	}
	if r.Class == Archived {
		text += ", archived"
	}
	return text
}

// Keeps returns in words which of the images that the rule sees stay, such as "10 newest stay" or "14 days".
func (r *Rule) Keeps() string {
	var all []string
	for _, a := range r.Older {
		text := plural(int64(a.Days), "day")
		switch a.Clock {
		case Pulled:
			text += " since the last pull"
		case TagMoved:
			text += " since the tag moved"
		case Archival:
			text += " since the transition"
		}
		all = append(all, text)
	}
	if r.Keep != nil {
		order := [...]string{"newest", "last pulled", "last tagged", "highest"}[r.Keep.Order]
		text := strconv.Itoa(r.Keep.Count) + " " + order
		if r.Keep.Group > 0 {
			text += " of each group"
		}
		all = append(all, text+" stay")
	}
	return strings.Join(all, " and ")
}
