package semver

import (
	"fmt"
	"strings"
)

// maxComparators is the largest number of comparators in a range.
const maxComparators = 100

// Range is a set of versions. The zero value is empty. A Range is safe for concurrent use.
type Range struct {
	text string
	sets [][]interval // a version is in the range if it is in all intervals of a set
}

// interval is a set of keys: from low, below high.
type interval struct{ low, high string }

// lowest and highest are bounds below and above all keys.
const lowest, highest = "", "~"

// ParseRange reads a range: sets of comparators, separated by "||". A version is in the range if it satisfies all
// comparators of a set, which are separated by spaces:
//
//	1.2.3 =1.2.3 <1.2.3 <=1.2.3 >1.2.3 >=1.2.3    compared by precedence alone, pre-releases included
//	1.2.x 1.2 1.x 1 *                             all versions with these numbers, pre-releases included
//	<1.2 <=1.2 >1.2 >=1.2                         before, up to the end of, after, from the begin of 1.2.x
//	~1.2.3                                        from 1.2.3, within 1.2.x
//	^1.2.3                                        from 1.2.3, up to the next change of the leftmost number that is not 0
//
// So <2.0.0 contains 2.0.0-rc.1, whose precedence is lower than that of 2.0.0, and <2 does not.
//
// The error says which comparator is wrong.
func ParseRange(s string) (Range, error) {
	r := Range{text: s}
	n := 0
	for set := range strings.SplitSeq(s, "||") {
		fields := strings.Fields(set)
		if len(fields) == 0 {
			return Range{}, fmt.Errorf("a set of comparators is empty; all versions are *")
		}
		if n += len(fields); n > maxComparators {
			return Range{}, fmt.Errorf("more than %d comparators", maxComparators)
		}
		var all []interval
		for _, f := range fields {
			i, ok := comparator(f)
			if !ok {
				return Range{}, fmt.Errorf("%q is not a comparator such as >=1.2.3, 1.2.x or ^1.2", clip(f))
			}
			all = append(all, i)
		}
		r.sets = append(r.sets, all)
	}
	return r, nil
}

// clip shortens a text for an error.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// String returns the text that was parsed.
func (r Range) String() string { return r.text }

// Contains reports whether the version of a key is in the range. The key "" is in no range.
func (r Range) Contains(key string) bool {
	if key == "" {
		return false
	}
sets:
	for _, set := range r.sets {
		for _, i := range set {
			if key < i.low || key >= i.high {
				continue sets
			}
		}
		return true
	}
	return false
}

// comparator reads one comparator.
func comparator(s string) (interval, bool) {
	op := s[:len(s)-len(strings.TrimLeft(s, "<>=^~"))]
	p, ok := readPartial(s[len(op):])
	if !ok {
		return interval{}, false
	}
	first, after := p.first(), p.after()
	switch op {
	case "", "=":
		return interval{first, after}, true
	case "<":
		return interval{lowest, first}, true
	case "<=":
		return interval{lowest, after}, true
	case ">":
		return interval{after, highest}, true
	case ">=":
		return interval{first, highest}, true
	case "~":
		return interval{first, p.next(min(len(p.numbers), 2))}, true
	case "^":
		// The leftmost number that is not 0, or the last one that is written.
		n := 1
		for n < len(p.numbers) && p.numbers[n-1] == "0" {
			n++
		}
		return interval{first, p.next(min(n, len(p.numbers)))}, true
	}
	return interval{}, false
}

// partial is a version, or its first numbers.
type partial struct {
	numbers []string // 0 to 3
	version Version  // with 3 numbers
}

func readPartial(s string) (p partial, ok bool) {
	if v, ok := Parse(s); ok {
		return partial{[]string{v.Major, v.Minor, v.Patch}, v}, true
	}
	if len(s) >= MaxLength { // the next number may have one digit more
		return p, false
	}
	parts := strings.Split(strings.TrimPrefix(s, "v"), ".")
	if len(parts) > 3 {
		return p, false
	}
	open := false // a number is left out
	for _, n := range parts {
		switch {
		case n == "x" || n == "X" || n == "*":
			open = true
		case number(n) && !open:
			p.numbers = append(p.numbers, n)
		default:
			return p, false
		}
	}
	return p, true
}

// first returns the lowest key of the versions that p stands for.
func (p partial) first() string {
	if len(p.numbers) == 3 {
		return p.version.Key()
	}
	return begin(p.numbers)
}

// after returns a key above those of all versions that p stands for, and not above any other.
func (p partial) after() string {
	if len(p.numbers) == 3 {
		return p.version.Key() + endOfText // no identifier begins with it
	}
	return p.next(len(p.numbers))
}

// next returns the lower bound of the versions after all that have the first n numbers of p.
func (p partial) next(n int) string {
	if n == 0 {
		return highest
	}
	numbers := append([]string{}, p.numbers[:n]...)
	numbers[n-1] = increment(numbers[n-1])
	return begin(numbers)
}

// begin returns the lower bound of the keys of versions with these first numbers, below their pre-releases.
func begin(numbers []string) string {
	var b strings.Builder
	writeNumbers(&b, numbers...)
	for range 3 - len(numbers) {
		writeNumbers(&b, "0")
	}
	b.WriteString(preRelease)
	return b.String()
}

// increment adds 1 to a decimal number.
func increment(n string) string {
	b := []byte(n)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != '9' {
			b[i]++
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}
