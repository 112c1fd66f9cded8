package awswire

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// EncodeJSON writes a generated structure, or a pointer to one, in the form of [AppendJSON]. It writes in pieces of about maxPiece
// bytes, so that a large answer is not in memory a second time.
//
// Errors: those of w, and a number that JSON cannot express. Then w may have received a part.
func EncodeJSON(w io.Writer, v any) error {
	e := jsonEncoder{w: w}
	if err := e.value(reflect.Indirect(reflect.ValueOf(v))); err != nil {
		return err
	}
	_, err := w.Write(e.b)
	return err
}

// AppendJSON appends v as one JSON object. Optional members that are zero are left out. An optional empty list that is
// not nil is included, and so is a required list even if it is nil. Bytes that are not UTF-8 become U+FFFD.
//
// Errors: a number that JSON cannot express.
func AppendJSON(b []byte, v any) ([]byte, error) {
	return appendValue(b, reflect.Indirect(reflect.ValueOf(v)))
}

// EncodeJSONError writes the body of an error. typ is the name of the exception. fields, which may be nil, are the
// modelled members besides the message: strings, numbers and booleans.
//
// Errors: those of w, and a member that JSON cannot express.
func EncodeJSONError(w io.Writer, typ, message string, fields map[string]any) error {
	b := append(appendQuoted([]byte(`{"__type":`), typ), `,"message":`...)
	b = appendQuoted(b, message)
	for _, name := range SortedKeys(fields) {
		b = append(appendQuoted(append(b, ','), name), ':')
		var err error
		if b, err = appendValue(b, reflect.ValueOf(fields[name])); err != nil {
			return fmt.Errorf("writing error member %s: %w", name, err)
		}
	}
	_, err := w.Write(append(b, '}'))
	return err
}

func appendValue(b []byte, v reflect.Value) ([]byte, error) {
	e := jsonEncoder{b: b}
	err := e.value(v)
	return e.b, err
}

// maxPiece is the length of what an encoder keeps, in bytes, and of the pieces in which it handles strings and bytes.
const maxPiece = 24 << 10

// jsonEncoder appends to b, and writes b to w, if w is not nil, when it is long.
type jsonEncoder struct {
	w io.Writer
	b []byte
}

func (e *jsonEncoder) flush() error {
	if e.w == nil || len(e.b) < maxPiece {
		return nil
	}
	_, err := e.w.Write(e.b)
	e.b = e.b[:0]
	return err
}

func (e *jsonEncoder) value(v reflect.Value) error {
	if !v.IsValid() {
		return fmt.Errorf("a nil value has no JSON form")
	}
	switch v.Type() {
	case timeType:
		e.b = v.Interface().(Time).appendJSON(e.b)
		return nil
	case blobType:
		return e.blob(v.Bytes())
	}
	switch v.Kind() {
	case reflect.String:
		return e.text(v.String())
	case reflect.Bool:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case reflect.Float64:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%v is not a number", f)
		}
		e.b = strconv.AppendFloat(e.b, f, 'g', -1, 64)
	case reflect.Struct:
		next := e.list('{')
		err := eachShown(v, func(name string, m reflect.Value) error {
			next()
			e.b = append(appendQuoted(e.b, name), ':')
			return e.value(m)
		})
		e.b = append(e.b, '}')
		return err
	case reflect.Slice:
		next := e.list('[')
		for i := range v.Len() {
			next()
			if err := e.value(v.Index(i)); err != nil {
				return err
			}
		}
		e.b = append(e.b, ']')
	case reflect.Map:
		next := e.list('{')
		for _, k := range sortedMapKeys(v) {
			next()
			e.b = append(appendQuoted(e.b, k.String()), ':')
			if err := e.value(v.MapIndex(k)); err != nil {
				return err
			}
		}
		e.b = append(e.b, '}')
	default:
		return fmt.Errorf("%s has no JSON form", v.Type())
	}
	return e.flush()
}

// list opens an object or list. next, called before each element, appends the comma before all but the first.
func (e *jsonEncoder) list(open byte) (next func()) {
	e.b = append(e.b, open)
	first := true
	return func() {
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
	}
}

func (e *jsonEncoder) blob(p []byte) error {
	e.b = append(e.b, '"')
	for len(p) > 0 {
		n := min(len(p), maxPiece) // a multiple of three: only the last piece is padded
		e.b = base64.StdEncoding.AppendEncode(e.b, p[:n])
		p = p[n:]
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.b = append(e.b, '"')
	return nil
}

func (e *jsonEncoder) text(s string) error {
	e.b = append(e.b, '"')
	for len(s) > maxPiece {
		n := maxPiece
		for n > maxPiece-utf8.UTFMax && !utf8.RuneStart(s[n]) { // no character is cut
			n--
		}
		e.b = appendEscaped(e.b, s[:n])
		s = s[n:]
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.b = append(appendEscaped(e.b, s), '"')
	return nil
}

func sortedMapKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
		return cmp.Compare(a.String(), b.String())
	})
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends a string without the escapes for HTML of encoding/json: an answer is not HTML, and policies in
// answers remain readable.
func appendQuoted(b []byte, s string) []byte {
	return append(appendEscaped(append(b, '"'), s), '"')
}

func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
		i++
	}
	return b
}
