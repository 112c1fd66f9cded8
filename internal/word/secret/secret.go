// Package secret holds a string that formatters do not print.
package secret

import "log/slog"

// mark is what formatters print in place of a secret.
const mark = "[secret]"

// String is a secret text. fmt, encoding/json, encoding/xml, YAML and slog print a mark or nothing in its place. Reveal
// is the only access to the text, so that a search for Reveal finds every place where a secret leaves the program. Two
// Strings with the same text are not equal by ==. The zero String is an empty text.
type String struct {
	// fmt does not call methods of unexported fields and prints their values. Of a pointer in a field it prints the address.
	p *string
}

// New returns a String that holds s.
func New(s string) String { return String{&s} }

// Reveal returns the text.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// UnmarshalText sets s to the text, so that secrets can be read from a file or the environment.
func (s *String) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}

// Equal reports whether s and other have the same text.
func (s String) Equal(other String) bool { return s.Reveal() == other.Reveal() }

// String returns the mark.
func (String) String() string { return mark }

// GoString returns the mark.
func (String) GoString() string { return mark }

// MarshalText returns the mark.
func (String) MarshalText() ([]byte, error) { return []byte(mark), nil }

// LogValue returns the mark.
func (String) LogValue() slog.Value { return slog.StringValue(mark) }
