package console

import (
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/look"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
)

// How pages write texts, numbers and times is that of all pages of the program.
var (
	shown    = look.Shown
	size     = look.Size
	count    = look.Count
	many     = look.Many
	span     = look.Span
	digest12 = look.Digest12
	values   = look.Values
	pathOf   = look.PathOf
	lower    = look.Lower
	visible  = look.Visible
	quoted   = look.Quoted
)

// firsts returns the first values of a list, and how many are left out.
func firsts[T any](all []T, most int) ([]T, int64) {
	n := min(len(all), most)
	return all[:n], int64(len(all) - n)
}

// principalIn returns how a principal is shown on pages of an account: without it if it is its own.
func principalIn(account, arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return arn
	}
	text := parts[5]
	if role, ok := strings.CutPrefix(text, "assumed-role/"); ok {
		text = "role/" + role
	}
	if parts[4] != account && parts[4] != "" {
		text = parts[4] + " " + text
	}
	return text
}

// timeOf returns a moment of an answer; zero for none.
func timeOf(t *awswire.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// sizeOf returns a size of an answer; 0 for none.
func sizeOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// capital returns a text with a capital letter at its beginning.
func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
