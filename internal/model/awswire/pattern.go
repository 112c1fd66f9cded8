package awswire

import (
	"regexp"
	"strings"
	"sync"
)

// Pattern is a regular expression of a model, in the dialect of Java. It must match the whole value.
type Pattern struct {
	text string
	re   func() *regexp.Regexp
}

// NewPattern returns the pattern with the given text, which is compiled at its first use, because a process uses only
// some of about a hundred patterns. Match panics if [CompilePattern] fails for the text, which the generator excludes.
func NewPattern(text string) *Pattern {
	return &Pattern{text, sync.OnceValue(func() *regexp.Regexp {
		re, err := CompilePattern(text)
		if err != nil {
			panic(err)
		}
		return re
	})}
}

// Match reports whether the pattern matches the whole of s. Its time is linear in the length of s.
func (p *Pattern) Match(s string) bool { return p.re().MatchString(s) }

// rewrites holds patterns that RE2 cannot express, each with an equivalent pattern.
var rewrites = map[string]string{
	// "-" not followed by "-". The count of 1 to 61 follows from the length of the shape, 3 to 63.
	`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: `[a-z0-9]+(-[a-z0-9]+)*`,
}

var (
	// The models mean the supplementary planes, although Java reads \u10000 as U+1000 and "0".
	supplementary = strings.NewReplacer(`\u10000-\u10FFFF`, `\x{10000}-\x{10FFFF}`)
	unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)
)

// CompilePattern compiles a pattern of a model to one that matches whole values.
//
// Errors: a pattern that RE2 cannot express.
func CompilePattern(text string) (*regexp.Regexp, error) {
	if other, ok := rewrites[text]; ok {
		text = other
	}
	text = unicodeEscape.ReplaceAllString(supplementary.Replace(text), `\x{$1}`)
	return regexp.Compile(`\A(?:` + text + `)\z`)
}
