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

// EncodeJSON writes a generated structure, or a pointer to one, in the form of [AppendJSON].
//
// Errors: those of w, and a number that JSON cannot express.
func EncodeJSON(w io.Writer, v any) error {
	b, err := AppendJSON(nil, v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
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
	if !v.IsValid() {
		return nil, fmt.Errorf("a nil value has no JSON form")
	}
	switch v.Type() {
	case timeType:
		return v.Interface().(Time).appendJSON(b), nil
	case blobType:
		b = base64.StdEncoding.AppendEncode(append(b, '"'), v.Bytes())
		return append(b, '"'), nil
	}
	switch v.Kind() {
	case reflect.String:
		return appendQuoted(b, v.String()), nil
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case reflect.Float64:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%v is not a number", f)
		}
		return strconv.AppendFloat(b, f, 'g', -1, 64), nil
	case reflect.Struct:
		b = append(b, '{')
		start := len(b)
		err := eachShown(v, func(name string, m reflect.Value) (err error) {
			b = append(appendQuoted(comma(b, start), name), ':')
			b, err = appendValue(b, m)
			return err
		})
		return append(b, '}'), err
	case reflect.Slice:
		b = append(b, '[')
		start := len(b)
		for i := range v.Len() {
			var err error
			if b, err = appendValue(comma(b, start), v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case reflect.Map:
		b = append(b, '{')
		start := len(b)
		for _, k := range sortedMapKeys(v) {
			var err error
			b = append(appendQuoted(comma(b, start), k.String()), ':')
			if b, err = appendValue(b, v.MapIndex(k)); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("%s has no JSON form", v.Type())
}

// comma appends a comma, unless b ends where the object or list begins.
func comma(b []byte, start int) []byte {
	if len(b) == start {
		return b
	}
	return append(b, ',')
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
	b = append(b, '"')
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
	return append(b, '"')
}
