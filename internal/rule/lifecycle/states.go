package lifecycle

import (
	"regexp"
	"regexp/syntax"
)

// maxStates is the maximum size of a regular expression, in states: the work of a match is at most this number for each character
// of a tag.
const maxStates = 1_000

// states returns the number of states that the program of a regular expression has, or more than maxStates. A repetition has
// the states of its operand as often as it can be repeated, so that short texts can need gigabytes.
func states(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/8
	case syntax.OpRepeat:
		n = states(re.Sub[0]) + 1
		return min(n*max(re.Max, re.Min+1, 1), maxStates+1)
	}
	for _, sub := range re.Sub {
		n = min(n+states(sub)+1, maxStates+1)
	}
	return n
}

// setRegexp sets the regular expression for whole tags. It returns its size in states, and an error if it is not valid. It is
// not compiled if it is too large.
func (f *TagFilter) setRegexp(text string) (size int, err error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, err
	}
	if size = states(tree); size > maxStates {
		return size, nil
	}
	plain, err := regexp.Compile(text)
	if err != nil {
		return size, err
	}
	f.prefix, _ = plain.LiteralPrefix()
	f.Regexp, err = regexp.Compile(`^(?:` + text + `)$`)
	return size, err
}
