package awsmodel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
)

// CheckOutput checks that body is an answer of the operation that the model allows: no unknown members, no missing
// required members, valid types and forms (timestamps are numbers in JSON and ISO 8601 in XML), enumerations and
// constraints.
//
// Errors: an unknown model or operation; all violations of the answer, joined, each with its place.
func CheckOutput(model, operation string, body []byte) error {
	m, op, err := find(model, operation)
	if err != nil {
		return err
	}
	c := checker{m: m}
	if m.Metadata.Protocol == "query" {
		c.query(op, body)
	} else {
		c.json(op, body)
	}
	if err := errors.Join(c.errs...); err != nil {
		return fmt.Errorf("%s answer of %s: %w", model, operation, err)
	}
	return nil
}

func find(model, operation string) (*Model, *Operation, error) {
	m, err := loadOnce(model)
	if err != nil {
		return nil, nil, err
	}
	op := m.Operation(operation)
	if op == nil {
		return nil, nil, fmt.Errorf("model %s has no operation %s", model, operation)
	}
	return m, op, nil
}

// loaded holds the models that checks have used; they are not modified.
var loaded sync.Map // name → *Model

// loadOnce is like Load but reads each file only once, because tests check thousands of answers.
func loadOnce(model string) (*Model, error) {
	if m, ok := loaded.Load(model); ok {
		return m.(*Model), nil
	}
	m, err := Load(model)
	if err == nil {
		loaded.Store(model, m)
	}
	return m, err
}

type checker struct {
	m    *Model
	errs []error
}

func (c *checker) fail(at, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (c *checker) json(op *Operation, body []byte) {
	v, err := parseJSON(body)
	if err != nil {
		c.fail("body", "%v", err)
		return
	}
	if op.Output == "" {
		if len(bytes.TrimSpace(body)) > 0 {
			c.fail("body", "the operation has no output, got %s", body)
		}
		return
	}
	c.value("body", c.m.Shapes[op.Output], v)
}

// object is a JSON object or an XML element with its members, in the same form for both protocols.
type object map[string]any

// value checks v: an object, a []any, a json.Number, a bool, a string, or a text of XML, which has no type.
func (c *checker) value(at string, s *Shape, v any) {
	switch s.Type {
	case "structure":
		c.structure(at, s, v)
	case "list":
		list, ok := v.([]any)
		if !ok {
			c.fail(at, "want a list, got %v", v)
			return
		}
		c.size(at, s, len(list))
		for i, e := range list {
			c.value(fmt.Sprintf("%s[%d]", at, i), c.m.Shapes[s.Member.Shape], e)
		}
	case "map":
		entries, ok := v.(object)
		if !ok {
			c.fail(at, "want a map, got %v", v)
			return
		}
		c.size(at, s, len(entries))
		for _, k := range slices.Sorted(maps.Keys(entries)) {
			c.value(at+" key "+k, c.m.Shapes[s.Key.Shape], k)
			c.value(at+"["+k+"]", c.m.Shapes[s.Value.Shape], entries[k])
		}
	default:
		c.leaf(at, s, v)
	}
}

func (c *checker) structure(at string, s *Shape, v any) {
	members, ok := v.(object)
	if !ok {
		c.fail(at, "want a structure %s, got %v", s.Name, v)
		return
	}
	known := map[string]bool{}
	for _, m := range s.Members {
		known[m.Name] = true
		value, present := members[m.Name]
		switch {
		case present:
			c.value(at+"."+m.Name, c.m.Shapes[m.Shape], value)
		case m.Required:
			c.fail(at, "required member %s is missing", m.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !known[name] {
			c.fail(at, "member %s is not in the model", name)
		}
	}
}

// text is a value of XML. Its type is that of the shape.
type text string

func (c *checker) leaf(at string, s *Shape, v any) {
	_, isXML := v.(text)
	str, isString := v.(string)
	num, isNumber := v.(json.Number)
	if isXML {
		str, num, isString, isNumber = string(v.(text)), json.Number(v.(text)), true, true
	}
	switch s.Type {
	case "string":
		if !isString {
			c.fail(at, "want a string, got %v", v)
			return
		}
		c.broken(at, s, (&awswire.StringRule{Min: low(s), Max: high(s), Enum: s.Enum}).Broken(str))
		if s.Pattern != "" && !s.ConstraintsUnverified && !awswire.NewPattern(s.Pattern).Match(str) {
			c.fail(at, "%q does not match %s", str, s.Pattern)
		}
	case "integer", "long":
		bits := map[string]int{"integer": 32, "long": 64}[s.Type]
		n, err := strconv.ParseInt(num.String(), 10, bits)
		if !isNumber || err != nil {
			c.fail(at, "want a whole number of %d bits, got %v", bits, v)
			return
		}
		if s.Min != nil && n < *s.Min || s.Max != nil && n > *s.Max {
			c.broken(at, s, fmt.Sprintf("%d is outside its range", n))
		}
	case "double":
		if _, err := num.Float64(); !isNumber || err != nil {
			c.fail(at, "want a number, got %v", v)
		}
	case "boolean":
		if _, isBool := v.(bool); !isBool && (!isXML || str != "true" && str != "false") {
			c.fail(at, "want true or false, got %v", v)
		}
	case "timestamp":
		if isXML {
			if _, err := time.Parse(time.RFC3339Nano, str); err != nil {
				c.fail(at, "want a time in ISO 8601, got %q", str)
			}
		} else if !isNumber {
			c.fail(at, "want seconds since 1970 as a number, got %v", v)
		}
	case "blob":
		raw, err := base64.StdEncoding.DecodeString(str)
		if !isString || err != nil {
			c.fail(at, "want base64")
			return
		}
		c.size(at, s, len(raw))
	}
}

func low(s *Shape) int {
	if s.Min == nil {
		return 0
	}
	return int(*s.Min)
}

func high(s *Shape) int {
	if s.Max == nil {
		return 0
	}
	return int(*s.Max)
}

// requestBounds are lists in requests and answers whose bounds apply to requests only: ECR returns an empty list for a
// repository without images, and pages of up to 1,000.
var requestBounds = map[string]bool{"ImageIdentifierList": true}

func (c *checker) size(at string, s *Shape, n int) {
	if requestBounds[s.Name] {
		return
	}
	c.broken(at, s, awswire.SizeRule{Min: low(s), Max: high(s)}.Broken(n))
}

func (c *checker) broken(at string, s *Shape, why string) {
	if why != "" && !s.ConstraintsUnverified {
		c.fail(at, "%s", why)
	}
}

// parseJSON reads one value. JSON objects become values of type object; a repeated name is an error.
func parseJSON(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if rest := strings.TrimSpace(string(body[d.InputOffset():])); rest != "" {
		return nil, fmt.Errorf("data after the end: %s", rest)
	}
	return v, nil
}

func parseValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			if _, twice := o[key.(string)]; twice {
				return nil, fmt.Errorf("member %s is given twice", key)
			}
			if o[key.(string)], err = parseValue(d); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}
