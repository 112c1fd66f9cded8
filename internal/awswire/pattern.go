package awswire

import (
	"regexp"
	"strings"
	"sync"
)

// Pattern is a regular expression of a model. It is in the dialect of Java and must match the whole value.
type Pattern struct {
	text string
	re   func() *regexp.Regexp
}

// NewPattern keeps the text and compiles it at first use: a process uses few of the hundred there are. The text
// must be one for which [CompilePattern] succeeds, which the generator checks; otherwise Match panics.
func NewPattern(text string) *Pattern {
	return &Pattern{text, sync.OnceValue(func() *regexp.Regexp {
		re, err := CompilePattern(text)
		if err != nil {
			panic(err)
		}
		return re
	})}
}

// Match tells whether the pattern matches the whole of s. The time is linear in the length of s.
func (p *Pattern) Match(s string) bool { return p.re().MatchString(s) }

// rewrites holds patterns that RE2 cannot express, with an equal that it can.
var rewrites = map[string]string{
	// "-" not followed by "-"; the count of 1 to 61 is that of the shape's length of 3 to 63.
	`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: `[a-z0-9]+(-[a-z0-9]+)*`,
}

var (
	// Java reads \u10000 as U+1000 and "0"; the models mean the supplementary planes.
	supplementary = strings.NewReplacer(`\u10000-\u10FFFF`, `\x{10000}-\x{10FFFF}`)
	unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)
)

// CompilePattern turns a pattern of a model into one that matches whole values. Errors: what RE2 cannot express.
func CompilePattern(text string) (*regexp.Regexp, error) {
	if other, ok := rewrites[text]; ok {
		text = other
	}
	text = unicodeEscape.ReplaceAllString(supplementary.Replace(text), `\x{$1}`)
	return regexp.Compile(`\A(?:` + text + `)\z`)
}
