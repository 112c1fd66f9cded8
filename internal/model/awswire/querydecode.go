package awswire

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxParams is the maximum number of parameters of a query request.
const maxParams = 10_000

// DecodeQuery decodes the parameters of a query request into the structure that into points to: Name.member.N for
// lists, Name.entry.N.key and .value for maps, Name.Inner for structures; Name= without a value is an empty list or
// map. Action, Version and the parameters of signatures (X-Amz-…) are skipped.
//
// A parameter must not be repeated, and positions must be 1 to N. opts.MaxBytes limits the sum of all names and values.
//
// Errors: fault.RequestTooLarge; fault.MalformedRequest for forms and types; *Violation for an unknown or missing
// member.
func DecodeQuery(form url.Values, into any, opts Options) error {
	opts = opts.withDefaults()
	if len(form) > maxParams {
		return fault.MalformedRequest.New("the request has more than %d parameters", maxParams)
	}
	d := queryDecoder{opts: opts}
	root, size := &param{}, 0
	for _, name := range SortedKeys(form) {
		if name == "Action" || name == "Version" || strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		if len(form[name]) != 1 {
			return malformedParam(name, "given more than once")
		}
		value := form[name][0]
		if size += len(name) + len(value); size > opts.MaxBytes {
			return fault.RequestTooLarge.New("the request has more than %d bytes", opts.MaxBytes)
		}
		if !utf8.ValidString(value) {
			return malformedParam(name, "not valid Unicode")
		}
		if err := root.add(name, value, opts.MaxDepth); err != nil {
			return err
		}
	}
	return d.structure(root, reflect.ValueOf(into).Elem())
}

func malformedParam(name, why string) error {
	return fault.MalformedRequest.New("parameter '%s': %s", strings.ToValidUTF8(clip(name), "?"), why)
}

// param is a node of the tree of parameter names, which are split at their dots.
type param struct {
	value *string
	parts map[string]*param
}

func (p *param) add(name, value string, maxDepth int) error {
	words := strings.Split(name, ".")
	if len(words) > 2*maxDepth { // a list has two words
		return malformedParam(name, "nested too deeply")
	}
	for _, w := range words {
		if p.parts == nil {
			p.parts = map[string]*param{}
		}
		if p.parts[w] == nil {
			p.parts[w] = &param{}
		}
		p = p.parts[w]
	}
	p.value = &value
	return nil
}

type queryDecoder struct {
	opts Options
	at   path
}

func (d *queryDecoder) malformed(why string) error { return malformedParam(d.at.String(), why) }

// within calls f with step appended to the path. After an error the path remains, for the error text.
func (d *queryDecoder) within(step string, f func() error) error {
	d.at.push(step)
	if err := f(); err != nil {
		return err
	}
	d.at.pop()
	return nil
}

func (d *queryDecoder) structure(p *param, v reflect.Value) error {
	if p.value != nil {
		return d.malformed("expected members, not a value")
	}
	info := infoOf(v.Type())
	if !d.opts.IgnoreUnknown {
		for _, name := range SortedKeys(p.parts) {
			if _, known := info.byName[name]; !known {
				return &Violation{Member: strings.ToValidUTF8(clip(d.at.with(name)), "?"), Reason: "Unknown member"}
			}
		}
	}
	for _, f := range info.fields {
		part := p.parts[f.name]
		switch {
		case part == nil && f.required:
			return &Violation{Member: d.at.with(f.name), Reason: notNull}
		case part == nil:
			continue
		}
		if err := d.within(f.name, func() error { return d.value(part, v.Field(f.index)) }); err != nil {
			return err
		}
	}
	return nil
}

func (d *queryDecoder) value(p *param, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(p, v.Elem())
	}
	switch {
	case v.Type() == timeType || v.Type() == blobType:
		return d.leaf(p, v)
	case v.Kind() == reflect.Struct:
		return d.structure(p, v)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return d.positions(p, "member", func(i int, p *param) error {
			v.Grow(1)
			v.SetLen(i + 1)
			return d.value(p, v.Index(i))
		})
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		return d.positions(p, "entry", func(_ int, p *param) error { return d.entry(p, v) })
	}
	return d.leaf(p, v)
}

// positions calls each for WORD.1, WORD.2, … of a list or map.
func (d *queryDecoder) positions(p *param, word string, each func(i int, p *param) error) error {
	if p.value != nil {
		if *p.value != "" || p.parts != nil {
			return d.malformed("expected ." + word + ".N after the name")
		}
		return nil
	}
	list := p.parts[word]
	if list == nil || len(p.parts) != 1 || list.value != nil {
		return d.malformed("expected ." + word + ".N after the name")
	}
	for i := range len(list.parts) {
		n := strconv.Itoa(i + 1)
		if list.parts[n] == nil {
			return d.malformed("expected ." + word + "." + n + " among the positions")
		}
		// The path has the same form as in JSON and in Validate: tags.1.member.Key.
		if err := d.within(n+"."+word, func() error { return each(i, list.parts[n]) }); err != nil {
			return err
		}
	}
	return nil
}

func (d *queryDecoder) entry(p *param, v reflect.Value) error {
	key, value := p.parts["key"], p.parts["value"]
	if p.value != nil || key == nil || key.value == nil || key.parts != nil || value == nil || len(p.parts) != 2 {
		return d.malformed("expected .key and .value")
	}
	k := reflect.ValueOf(*key.value).Convert(v.Type().Key())
	if v.MapIndex(k).IsValid() {
		return d.malformed("a key given twice")
	}
	e := reflect.New(v.Type().Elem()).Elem()
	if err := d.value(value, e); err != nil {
		return err
	}
	v.SetMapIndex(k, e)
	return nil
}

func (d *queryDecoder) leaf(p *param, v reflect.Value) error {
	if p.value == nil || p.parts != nil {
		return d.malformed("expected a value")
	}
	if err := setText(v, *p.value); err != nil {
		return d.malformed(err.Error())
	}
	return nil
}

// setText sets v to the text of a parameter, read as the type of v.
func setText(v reflect.Value, s string) error {
	switch v.Type() {
	case timeType:
		t, err := parseISO(s)
		v.Set(reflect.ValueOf(t))
		return err
	case blobType:
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil {
			return fmt.Errorf("expected base64")
		}
		v.SetBytes(b)
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("expected true or false")
		}
		v.SetBool(s == "true")
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("expected a whole number of %d bits", v.Type().Bits())
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("expected a number")
		}
		v.SetFloat(f)
	default:
		panic("awswire: no query form for " + v.Type().String())
	}
	return nil
}
