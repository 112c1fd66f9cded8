package event

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText is the maximum length of a text in an event, in bytes before escaping. Longer texts are cut. No name has that
// many: the longest are ARNs of principals with 2,048 characters.
const maxText = 2048

// encoder is a JSON value that can be appended to a text.
type encoder interface {
	appendJSON(dst []byte) []byte
}

// object is a JSON object, whose members are written in their order.
type object []member

type member struct {
	name  string
	value encoder
}

type (
	list   []encoder
	word   string
	number int64
)

func (o object) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, m.name), ':')
		dst = m.value.appendJSON(dst)
	}
	return append(dst, '}')
}

func (l list) appendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = v.appendJSON(dst)
	}
	return append(dst, ']')
}

func (w word) appendJSON(dst []byte) []byte   { return appendText(dst, string(w)) }
func (n number) appendJSON(dst []byte) []byte { return strconv.AppendInt(dst, int64(n), 10) }

func text(name, value string) member        { return member{name, word(value)} }
func count(name string, value int64) member { return member{name, number(value)} }

// texts returns a member whose value is a list of texts, [] if there are none.
func texts(name string, values []string) member {
	all := make(list, len(values))
	for i, v := range values {
		all[i] = word(v)
	}
	return member{name, all}
}

// optional appends a member, unless its value is empty.
func (o object) optional(name, value string) object {
	if value == "" {
		return o
	}
	return append(o, text(name, value))
}

// window appends the members of the time in which several requests were counted, unless from is zero.
func (o object) window(from, to time.Time) object {
	if from.IsZero() {
		return o
	}
	return append(o, text("window-start", instant(from)), text("window-end", instant(to)))
}

// instant formats a time within a detail: in UTC, with the fraction of a second as far as milliseconds if it is not zero.
// Source: last-activated-at in the events of ECR.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

// appendText appends a JSON string. Bytes that are not UTF-8 become U+FFFD. Of more than maxText bytes the first are
// written, with "…" at their end.
func appendText(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	mark := ""
	if len(s) > maxText {
		s, mark = s[:maxText], "…"
		for i := 1; i < utf8.UTFMax; i++ { // do not cut within a character
			if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&0xf])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(append(dst, mark...), '"')
}
