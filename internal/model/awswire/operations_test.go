package awswire_test

import (
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

var services = []struct {
	service    awswire.Service
	names      []string
	operations map[string]awswire.Operation
	errors     map[string]awswire.Error
}{
	{ecrtypes.Service, ecrtypes.OperationNames, ecrtypes.Operations, ecrtypes.Errors},
	{ststypes.Service, ststypes.OperationNames, ststypes.Operations, ststypes.Errors},
	{ecrintypes.Service, ecrintypes.OperationNames, ecrintypes.Operations, ecrintypes.Errors},
}

// fill sets every member to a value that differs from the values of its neighbors.
func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[awswire.Time]():
		v.Set(reflect.ValueOf(awswire.Time{Time: time.UnixMilli(int64(*n) * 1001).UTC()}))
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMilli(int64(*n) * 1001).UTC()))
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte{byte(*n), 0, 255})
	case v.Kind() == reflect.String:
		v.SetString("text " + strconv.Itoa(*n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanFloat():
		v.SetFloat(float64(*n) / 3)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	default:
		panic(v.Type())
	}
}

// Every request and answer of every operation is equal after encoding and decoding in JSON, with all members and with
// none.
func TestAllOperationsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range services {
		for _, name := range s.names {
			op := s.operations[name]
			for _, make := range []func() any{func() any { return op.Input() }, op.Output} {
				want, n := make(), 0
				fill(reflect.ValueOf(want).Elem(), &n)
				text, err := awswire.AppendJSON(nil, want)
				if err != nil {
					t.Fatalf("%s %s: %v", s.service.Name, name, err)
				}
				got := make()
				if err := awswire.DecodeJSON(text, got, awswire.Options{}); err != nil {
					t.Fatalf("%s %s: DecodeJSON(%s): %v", s.service.Name, name, text, err)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s %s: by way of %s (-want +got):\n%s", s.service.Name, name, text, d)
				}
			}
		}
	}
}

// The generated tables are equal to the models.
func TestOperationTables(t *testing.T) {
	t.Parallel()
	for _, s := range services {
		m, err := awsmodel.Load(s.service.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.names) != len(m.Operations) || len(s.operations) != len(m.Operations) {
			t.Errorf("%s: %d names, %d rows, want %d of each", s.service.Name, len(s.names), len(s.operations), len(m.Operations))
		}
		for i, want := range m.Operations {
			got := s.operations[s.names[i]]
			if got.Name != want.Name || got.Unsigned != (want.AuthType == "none") || !slices.Equal(got.Errors, want.Errors) ||
				(got.Page != nil) != (want.Paginated != nil) {
				t.Errorf("%s: row %d is %+v, want %+v", s.service.Name, i, got, want)
			}
			for _, e := range got.Errors {
				if known := s.errors[e]; known.Code == "" || known.Status < 400 {
					t.Errorf("%s %s: error %s is %+v", s.service.Name, got.Name, e, known)
				}
			}
		}
	}
	page := &awswire.Page{InputToken: "nextToken", OutputToken: "nextToken", LimitKey: "maxResults", ResultKeys: []string{"imageDetails"}}
	if d := cmp.Diff(page, ecrtypes.Operations["DescribeImages"].Page); d != "" {
		t.Errorf("paging of DescribeImages (-want +got):\n%s", d)
	}
	if !ststypes.Operations["AssumeRoleWithWebIdentity"].Unsigned {
		t.Error("AssumeRoleWithWebIdentity is signed")
	}
}
