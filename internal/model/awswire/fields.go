package awswire

import (
	"reflect"
	"strings"
	"sync"
)

// structInfo describes a generated structure for the codecs.
type structInfo struct {
	fields []field
	byName map[string]int // by exact name, unlike encoding/json, which ignores case
}

type field struct {
	name     string
	index    int // in the Go structure
	required bool
}

var (
	structs  sync.Map // reflect.Type → *structInfo
	timeType = reflect.TypeFor[Time]()
	blobType = reflect.TypeFor[[]byte]()
)

func infoOf(t reflect.Type) *structInfo {
	if info, ok := structs.Load(t); ok {
		return info.(*structInfo)
	}
	info := &structInfo{byName: map[string]int{}}
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		info.byName[name] = len(info.fields)
		info.fields = append(info.fields, field{name: name, index: i, required: option != "omitzero"})
	}
	structs.Store(t, info)
	return info
}

// eachShown calls yield for the members of v that an answer contains, in order, until yield returns an error, which it
// returns. A required list or map that is nil is encoded as empty.
func eachShown(v reflect.Value, yield func(name string, v reflect.Value) error) error {
	for _, f := range infoOf(v.Type()).fields {
		m := v.Field(f.index)
		if !f.required && m.IsZero() {
			continue
		}
		if m.Kind() == reflect.Pointer {
			m = m.Elem()
		}
		if err := yield(f.name, m); err != nil {
			return err
		}
	}
	return nil
}

// path is a place in a request, for error texts.
type path []string

func (p *path) push(name string) { *p = append(*p, name) }
func (p *path) pop()             { *p = (*p)[:len(*p)-1] }
func (p path) String() string    { return strings.Join(p, ".") }

// with returns the path of a member of the place.
func (p path) with(name string) string {
	if len(p) == 0 {
		return name
	}
	return p.String() + "." + name
}
