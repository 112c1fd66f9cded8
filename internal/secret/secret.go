// Package secret is a string that does not print itself.
package secret

import "log/slog"

// mark is what every formatter shows in place of a secret.
const mark = "[secret]"

// String is a secret text. fmt, encoding/json, encoding/xml, YAML and slog all show a mark or nothing of it; Reveal is the
// only way to the text, so that a search for it finds every place where a secret leaves the program. Two Strings with the
// same text are not equal by ==. The zero String is an empty text.
type String struct {
	// fmt calls no methods of unexported fields and prints what they hold. Of a pointer below the top it prints the address.
	p *string
}

// New wraps a secret.
func New(s string) String { return String{&s} }

// Reveal gives the text.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// UnmarshalText takes the text as a secret, so that a file or the environment can have one.
func (s *String) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}

// Equal tells whether both have the same text.
func (s String) Equal(other String) bool { return s.Reveal() == other.Reveal() }

// String prints the mark.
func (String) String() string { return mark }

// GoString prints the mark.
func (String) GoString() string { return mark }

// MarshalText prints the mark.
func (String) MarshalText() ([]byte, error) { return []byte(mark), nil }

// LogValue prints the mark.
func (String) LogValue() slog.Value { return slog.StringValue(mark) }
