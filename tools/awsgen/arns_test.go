package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

// Every member of a request or answer of IAM and STS whose name ends in Arn is replaced, at any depth, and nothing else is but
// the names of resources. The original is not changed.
func TestMapARNs(t *testing.T) {
	t.Parallel()
	found := 0
	for _, operations := range []map[string]awswire.Operation{iamtypes.Operations, ststypes.Operations} {
		for _, op := range operations {
			for _, v := range []any{op.Input(), op.Output()} {
				fill(reflect.ValueOf(v).Elem(), 0)
				want := map[string]bool{}
				texts(reflect.ValueOf(v).Elem(), "", func(path, _ string) {
					if strings.HasSuffix(strings.ToLower(strings.TrimSuffix(path, "[]")), "arn") {
						want[path] = true
					}
				})
				got := map[string]bool{}
				if m, ok := v.(interface{ MapARNs(func(string) string) any }); ok {
					texts(reflect.ValueOf(m.MapARNs(func(string) string { return "mapped" })).Elem(), "", func(path, text string) {
						if text == "mapped" {
							got[path] = true
						}
					})
				}
				for path := range want {
					found++
					if !got[path] {
						t.Errorf("%T: MapARNs leaves %s alone", v, path)
					}
				}
				for path := range got {
					if last := path[strings.LastIndexByte(path, '.')+1:]; !want[path] && !resourceNames[last] {
						t.Errorf("%T: MapARNs changes %s, want ARNs alone", v, path)
					}
				}
				texts(reflect.ValueOf(v).Elem(), "", func(path, text string) {
					if text != "original" {
						t.Errorf("%T: MapARNs changes %s of the original", v, path)
					}
				})
			}
		}
	}
	if found < 50 {
		t.Errorf("got %d members with ARNs, want those of all operations", found)
	}
}

// resourceNames are the members with other names that have ARNs.
var resourceNames = map[string]bool{
	"PermissionsBoundary": true, "ResourceArns[]": true, "ResourceOwner": true, "EvalResourceName": true,
	"PolicyArns[]": true, "Resources[]": true,
}

// fill sets every text of a value, lists to one element and pointers to a value.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("original")
	case reflect.Pointer:
		if depth < 12 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 && depth < 12 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), depth+1)
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[awswire.Time]() {
			for i := range v.NumField() {
				fill(v.Field(i), depth+1)
			}
		}
	}
}

// texts calls each for every text of a value.
func texts(v reflect.Value, path string, each func(path, text string)) {
	switch v.Kind() {
	case reflect.String:
		each(path, v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			texts(v.Elem(), path, each)
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), path+"[]", each)
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[awswire.Time]() {
			for i := range v.NumField() {
				texts(v.Field(i), path+"."+v.Type().Field(i).Name, each)
			}
		}
	}
}
