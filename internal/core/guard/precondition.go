package guard

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Precondition is what a request says that it has seen of what it replaces: a tag of it, which is another one after each change. The zero
// value has seen nothing, and replaces whatever is there. Source: RFC 9110, If-Match.
type Precondition struct{ tag string }

// NoneSeen is the tag of what does not exist.
const NoneSeen = "none"

// Seen returns the precondition that what is replaced still has a tag.
func Seen(tag string) Precondition { return Precondition{tag} }

var preconditionText = lazyregexp.New(`^(none|[0-9]{1,19}|[0-9a-f]{64})$`)

// ParsePrecondition parses the value of a header If-Match: one tag, with or without the quotes of the header. "" is none.
//
// Errors: fault.InvalidParameter.
func ParsePrecondition(text string) (Precondition, error) {
	if text == "" {
		return Precondition{}, nil
	}
	tag := text
	if inner, ok := strings.CutPrefix(text, `"`); ok {
		tag, _ = strings.CutSuffix(inner, `"`)
	}
	if !preconditionText.MatchString(tag) || tag != text && text != `"`+tag+`"` {
		return Precondition{}, fault.InvalidParameter.New("If-Match is the hash or the revision of what is replaced, or none, not %s",
			name.Clip(text))
	}
	return Precondition{tag}, nil
}

// Given reports whether the request has a precondition.
func (p Precondition) Given() bool { return p.tag != "" }

// Check compares the precondition with the tag of what is there now; NoneSeen for nothing.
//
// Errors: fault.PreconditionFailed.
func (p Precondition) Check(now string) error {
	switch {
	case p.tag == "" || p.tag == now:
		return nil
	case p.tag == NoneSeen:
		return fault.PreconditionFailed.New("it exists already")
	case now == NoneSeen:
		return fault.PreconditionFailed.New("it does not exist any more")
	}
	return fault.PreconditionFailed.New("it is another one than the request has seen: another request has changed it")
}
