package awsmodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// ordered reads a JSON object of named values in the order of the text, which Go maps do not keep.
type ordered[T Member | Operation] []T

func (o *ordered[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("want an object, got %v (%v)", t, err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%v: %w", key, err)
		}
		switch v := any(&v).(type) {
		case *Member:
			v.Name = key.(string)
		case *Operation:
			v.Name = key.(string)
		}
		*o = append(*o, v)
	}
	return nil
}

// stringList reads one string or a list of strings.
type stringList []string

func (s *stringList) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*s = []string{""}
		return json.Unmarshal(text, &(*s)[0])
	}
	return json.Unmarshal(text, (*[]string)(s))
}

var shapeTypes = []string{"structure", "list", "map", "string", "integer", "long", "double", "boolean", "timestamp", "blob"}

// check checks that every shape that the model names exists and has a suitable type.
func (m *Model) check() error {
	if p := m.Metadata.Protocol; p != "json" && p != "query" {
		return fmt.Errorf("protocol %q is neither json nor query", p)
	}
	for n, s := range m.Shapes {
		if !slices.Contains(shapeTypes, s.Type) {
			return fmt.Errorf("shape %s: unknown type %q", n, s.Type)
		}
		for _, ref := range s.refs() {
			if m.Shapes[ref] == nil {
				return fmt.Errorf("shape %s: refers to %q, which is not defined", n, ref)
			}
		}
	}
	for _, op := range m.Operations {
		for _, n := range []string{op.Input, op.Output} {
			if s := m.Shapes[n]; n != "" && (s == nil || s.Type != "structure") {
				return fmt.Errorf("operation %s: %q is not a structure", op.Name, n)
			}
		}
		for _, n := range op.Errors {
			if s := m.Shapes[n]; s == nil || !s.Exception {
				return fmt.Errorf("operation %s: %q is not an exception", op.Name, n)
			}
		}
	}
	return nil
}
