package awswire

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// rawString consumes a string and returns the bytes between its quotes, and whether they have no escapes.
func (d *jsonDecoder) rawString() (raw []byte, plain bool, err error) {
	if !d.take('"') {
		return nil, false, d.malformed("expected a string")
	}
	start, plain := d.i, true
	for i := start; i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			d.i = i + 1
			return d.b[start:i], plain, nil
		case c == '\\':
			plain = false
			i++ // the escaped byte does not end the string; unquote checks it
		case c < 0x20:
			d.i = i
			return nil, false, d.malformed("a control character in a string")
		}
	}
	d.i = len(d.b)
	return nil, false, d.malformed("a string without a closing quote")
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote resolves escapes. It refuses what encoding/json would replace: invalid UTF-8 and halves of surrogate pairs,
// because a manifest that is sent as a string must keep its digest.
func unquote(raw []byte) (string, bool) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		if i+1 == len(raw) {
			return "", false
		}
		if c := escapes[raw[i+1]]; c != 0 {
			out = append(out, c)
			i += 2
			continue
		}
		r, ok := hexEscape(raw[i:])
		if !ok {
			return "", false
		}
		i += 6
		if utf16.IsSurrogate(r) {
			low, ok := hexEscape(raw[i:])
			if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
				return "", false
			}
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), utf8.Valid(out)
}

// hexEscape reads \uXXXX.
func hexEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// number consumes a number and returns its text. Without a number it returns "", which no parser of numbers accepts.
func (d *jsonDecoder) number() string {
	d.space()
	start := d.i
	i := start
	digits := func() bool {
		from := i
		for i < len(d.b) && '0' <= d.b[i] && d.b[i] <= '9' {
			i++
		}
		return i > from
	}
	is := func(any string) bool {
		for k := range len(any) {
			if i < len(d.b) && d.b[i] == any[k] {
				return true
			}
		}
		return false
	}
	if is("-") {
		i++
	}
	if is("0") {
		i++
	} else if !digits() {
		return ""
	}
	if is(".") {
		if i++; !digits() {
			return ""
		}
	}
	if is("eE") {
		if i++; is("+-") {
			i++
		}
		if !digits() {
			return ""
		}
	}
	d.i = i
	return string(d.b[start:i])
}

// skip consumes a value of any type.
func (d *jsonDecoder) skip() error {
	switch d.next() {
	case '{':
		return d.members(func(string) error { return d.skip() })
	case '[':
		d.i++
		return d.sequence(']', func(int) error { return d.skip() })
	case '"':
		_, err := d.str()
		return err
	}
	if d.literal("null") || d.literal("true") || d.literal("false") || d.number() != "" {
		return nil
	}
	return d.malformed("expected a value")
}
