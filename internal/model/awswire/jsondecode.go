package awswire

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Options are the limits and the strictness of decoding. The zero value is strict, with the default limits.
type Options struct {
	MaxBytes      int  // of the body; 0 means DefaultMaxBytes
	MaxDepth      int  // of nested objects and lists; 0 means DefaultMaxDepth
	IgnoreUnknown bool // skip members that the type does not have, as AWS is reported to do
}

// The default limits, in bytes and levels. A layer part of 20 MiB is 28 MiB of base64.
const (
	DefaultMaxBytes = 32 << 20
	DefaultMaxDepth = 24
)

// maxParts is the maximum number of members and elements of a whole request: "{}," has three bytes in the request, and
// takes many more in memory.
const maxParts = 100_000

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxDepth == 0 {
		o.MaxDepth = DefaultMaxDepth
	}
	return o
}

// DecodeJSON decodes one JSON object into the structure that into points to. An empty body counts as {}.
//
// It is stricter than encoding/json: names are case-sensitive and must not be repeated, no data may follow the object,
// strings must be valid Unicode, and required members must be present; null means absent. The body is read once, and a
// blob is decoded without an intermediate copy. The result does not refer to body.
//
// Errors: fault.RequestTooLarge; fault.MalformedRequest for syntax and types; *Violation for an unknown or missing
// member. Members that were decoded before the error remain set.
func DecodeJSON(body []byte, into any, opts Options) error {
	d := jsonDecoder{b: body, opts: opts.withDefaults()}
	if len(body) > d.opts.MaxBytes {
		return fault.RequestTooLarge.New("the request body has more than %d bytes", d.opts.MaxBytes)
	}
	v := reflect.ValueOf(into).Elem()
	d.space()
	if d.i == len(d.b) {
		return d.missing(v, nil)
	}
	if err := d.object(v); err != nil {
		return err
	}
	d.space()
	if d.i < len(d.b) {
		return d.malformed("data after the end of the object")
	}
	return nil
}

type jsonDecoder struct {
	b     []byte
	i     int // the next byte
	opts  Options
	depth int
	parts int
	at    path
}

// malformed returns the error with its place. It never contains parts of the body, which may hold secrets.
func (d *jsonDecoder) malformed(why string) error {
	if len(d.at) > 0 {
		why = "member '" + clip(d.at.String()) + "': " + why
	}
	return fault.MalformedRequest.New("the request body is not valid at byte %d: %s", d.i, why)
}

func (d *jsonDecoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return
		}
	}
}

// next skips white space and returns the next byte, or 0 at the end. A NUL byte is as invalid as the end.
func (d *jsonDecoder) next() byte {
	d.space()
	if d.i == len(d.b) {
		return 0
	}
	return d.b[d.i]
}

// take consumes c if it is the next byte.
func (d *jsonDecoder) take(c byte) bool {
	if d.next() != c {
		return false
	}
	d.i++
	return true
}

func (d *jsonDecoder) literal(word string) bool {
	if d.space(); !bytes.HasPrefix(d.b[d.i:], []byte(word)) {
		return false
	}
	d.i += len(word)
	return true
}

// members reads an object and calls each for every member, with the position before its value.
func (d *jsonDecoder) members(each func(name string) error) error {
	if !d.take('{') {
		return d.malformed("expected an object")
	}
	return d.sequence('}', func(int) error {
		name, err := d.str()
		if err != nil {
			return err
		}
		if !d.take(':') {
			return d.malformed("expected ':' after a member's name")
		}
		d.at.push(name)
		if err := each(name); err != nil {
			return err
		}
		d.at.pop()
		return nil
	})
}

// sequence calls each for every item of a list separated by commas, up to the byte end. The opening byte has been read.
func (d *jsonDecoder) sequence(end byte, each func(i int) error) error {
	if d.depth++; d.depth > d.opts.MaxDepth {
		return d.malformed("nested too deeply")
	}
	defer func() { d.depth-- }()
	if d.take(end) {
		return nil
	}
	for i := 0; ; i++ {
		if d.parts++; d.parts > maxParts {
			return d.malformed("too many members and elements")
		}
		if err := each(i); err != nil {
			return err
		}
		if d.take(end) {
			return nil
		}
		if !d.take(',') {
			return d.malformed("expected ',' or '" + string(end) + "'")
		}
	}
}

func (d *jsonDecoder) object(v reflect.Value) error {
	info := infoOf(v.Type())
	named, present := make([]bool, len(info.fields)), make([]bool, len(info.fields))
	err := d.members(func(name string) error {
		i, known := info.byName[name]
		switch {
		case !known && d.opts.IgnoreUnknown:
			return d.skip()
		case !known:
			return &Violation{Member: clip(d.at.String()), Reason: "Unknown member"}
		case named[i]:
			return d.malformed("given twice")
		}
		named[i] = true
		if d.literal("null") {
			return nil
		}
		present[i] = true
		return d.value(v.Field(info.fields[i].index))
	})
	if err != nil {
		return err
	}
	return d.missing(v, present)
}

// missing returns the error for the first required member that is not present, or nil.
func (d *jsonDecoder) missing(v reflect.Value, present []bool) error {
	for i, f := range infoOf(v.Type()).fields {
		if f.required && (present == nil || !present[i]) {
			return &Violation{Member: clip(d.at.with(f.name)), Reason: notNull}
		}
	}
	return nil
}

func (d *jsonDecoder) value(v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem())
	case v.Type() == timeType:
		t, err := parseEpoch(d.number())
		if err != nil {
			return d.malformed(err.Error())
		}
		v.Set(reflect.ValueOf(t))
		return nil
	case v.Type() == blobType:
		return d.blob(v)
	}
	switch v.Kind() {
	case reflect.String:
		s, err := d.str()
		v.SetString(s)
		return err
	case reflect.Bool:
		switch {
		case d.literal("true"):
			v.SetBool(true)
		case !d.literal("false"):
			return d.malformed("expected true or false")
		}
		return nil
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(d.number(), 10, v.Type().Bits())
		if err != nil {
			return d.malformed("expected a whole number of " + strconv.Itoa(v.Type().Bits()) + " bits")
		}
		v.SetInt(n)
		return nil
	case reflect.Float64:
		f, err := strconv.ParseFloat(d.number(), 64)
		if err != nil {
			return d.malformed("expected a number")
		}
		v.SetFloat(f)
		return nil
	case reflect.Slice:
		return d.list(v)
	case reflect.Map:
		return d.mapping(v)
	case reflect.Struct:
		return d.object(v)
	}
	panic("awswire: no JSON form for " + v.Type().String())
}

func (d *jsonDecoder) list(v reflect.Value) error {
	if !d.take('[') {
		return d.malformed("expected a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // an empty list differs from an absent list
	return d.sequence(']', func(i int) error {
		d.at.push(strconv.Itoa(i+1) + ".member")
		v.Grow(1)
		v.SetLen(i + 1)
		if err := d.value(v.Index(i)); err != nil {
			return err
		}
		d.at.pop()
		return nil
	})
}

func (d *jsonDecoder) mapping(v reflect.Value) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(func(name string) error {
		key := reflect.ValueOf(name).Convert(v.Type().Key())
		if v.MapIndex(key).IsValid() {
			return d.malformed("given twice")
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e); err != nil {
			return err
		}
		v.SetMapIndex(key, e)
		return nil
	})
}

func (d *jsonDecoder) blob(v reflect.Value) error {
	raw, plain, err := d.rawString()
	if err != nil {
		return err
	}
	if !plain {
		s, ok := unquote(raw)
		if !ok {
			return d.malformed("expected base64")
		}
		raw = []byte(s)
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
	n, err := base64.StdEncoding.Strict().Decode(out, raw)
	if err != nil {
		return d.malformed("expected base64")
	}
	v.SetBytes(out[:n])
	return nil
}

func (d *jsonDecoder) str() (string, error) {
	raw, plain, err := d.rawString()
	switch {
	case err != nil:
		return "", err
	case plain && utf8.Valid(raw):
		return string(raw), nil
	}
	s, ok := unquote(raw)
	if !ok {
		return "", d.malformed("a string with an invalid escape or invalid Unicode")
	}
	return s, nil
}

// clip shortens a name that a client sent, for error texts.
func clip(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	for i := range s {
		if i > limit {
			return s[:i] + "…"
		}
	}
	return s
}
