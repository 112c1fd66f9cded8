package awswire_test

import (
	"bytes"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

// leaves counts the values in v that are set, at any depth.
func leaves(v reflect.Value) int {
	n := 0
	switch {
	case v.Type() == reflect.TypeFor[middleware.Metadata]():
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[awswire.Time](), v.Type() == reflect.TypeFor[[]byte]():
		if !v.IsZero() {
			n = 1
		}
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			n = leaves(v.Elem())
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			n += leaves(v.Index(i))
		}
	case v.Kind() == reflect.Map:
		for _, k := range v.MapKeys() {
			n += leaves(k) + leaves(v.MapIndex(k))
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += leaves(v.Field(i))
			}
		}
	case !v.IsZero():
		n = 1
	}
	return n
}

// call runs an operation of an SDK client with every member of the request set.
func call(t *testing.T, client any, op string) (in, out reflect.Value, err error) {
	t.Helper()
	method := reflect.ValueOf(client).MethodByName(op)
	if !method.IsValid() {
		t.Fatalf("the SDK has no operation %s", op)
	}
	in, n := reflect.New(method.Type().In(1).Elem()), 0
	fill(in.Elem(), &n)
	results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	err, _ = results[1].Interface().(error)
	return in, results[0], err
}

// The decoder reads all members that the SDK sends in every operation, and the SDK reads all members that the encoder
// writes.
func TestSDKAndModelAgree(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{status: 200}
	cfg := e.start(t)
	ecrClient, stsClient := ecr.NewFromConfig(cfg), sts.NewFromConfig(cfg)
	for _, s := range services[:2] {
		for _, name := range s.names {
			op := s.operations[name]
			want, n := op.Output(), 0
			fill(reflect.ValueOf(want).Elem(), &n)
			var answer bytes.Buffer
			var client any = ecrClient
			var err error
			if s.service.Protocol == "query" {
				client = stsClient
				err = awswire.EncodeQueryXML(&answer, name, ststypes.Service.Namespace, "id", want)
			} else {
				err = awswire.EncodeJSON(&answer, want)
			}
			if err != nil {
				t.Fatal(err)
			}
			e.answer = answer.Bytes()
			in, out, err := call(t, client, name)
			if err != nil {
				t.Errorf("%s: the SDK does not accept %s: %v", name, e.answer, err)
				continue
			}
			if got, want := leaves(out), leaves(reflect.ValueOf(want)); got != want {
				t.Errorf("%s: the SDK reads %d values of %d in %s", name, got, want, e.answer)
			}

			got := op.Input()
			if s.service.Protocol == "query" {
				form, parseErr := url.ParseQuery(string(e.body))
				if parseErr != nil {
					t.Fatal(parseErr)
				}
				err = awswire.DecodeQuery(form, got, awswire.Options{})
			} else {
				if target := e.header.Get("X-Amz-Target"); target != ecrtypes.Service.TargetPrefix+"."+name {
					t.Errorf("%s: X-Amz-Target is %s", name, target)
				}
				err = awswire.DecodeJSON(e.body, got, awswire.Options{})
			}
			if err != nil {
				t.Errorf("%s: decoding the SDK's %s: %v", name, e.body, err)
			} else if got, want := leaves(reflect.ValueOf(got)), leaves(in); got != want {
				t.Errorf("%s: decoded %d values of %d in %s", name, got, want, e.body)
			}
		}
	}
}
