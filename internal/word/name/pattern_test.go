package name_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "a/b", true}, {"a/b", "a/b", true}, {"a/b", "a/bc", false}, {"a/*", "a/b/c", true}, {"a/*", "a", false}, {"*b", "a/b", true},
		{"*b", "a/c", false}, {"a*b*c", "axbyc", true}, {"a*b*c", "acb", false}, {"ab*ba", "aba", false}, {"a**b", "ab", true},
	} {
		if got := name.Matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q, %q: got %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}
