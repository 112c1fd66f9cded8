package iam_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
)

// Each operation of the model has a method with a target and with the input and output of the model.
func TestOperationsOfTheModel(t *testing.T) {
	t.Parallel()
	service := reflect.TypeFor[*iam.Service]()
	for _, name := range iamtypes.OperationNames {
		m, ok := service.MethodByName(name)
		if !ok {
			t.Errorf("%s is not there", name)
			continue
		}
		wire := iamtypes.Operations[name]
		in := []reflect.Type{service, reflect.TypeFor[context.Context](), reflect.TypeFor[identity.Caller](), reflect.TypeOf(wire.Input())}
		if m.Type.NumIn() > 3 {
			in = slices.Insert(in, 3, m.Type.In(3)) // the target, of any type
		}
		want := reflect.FuncOf(in, []reflect.Type{reflect.TypeOf(wire.Output()), reflect.TypeFor[error]()}, false)
		if m.Type != want {
			t.Errorf("%s: got %s, want %s", name, m.Type, want)
		}
	}
	if got, want := service.NumMethod(), len(iamtypes.OperationNames); got != want {
		t.Errorf("the service has %d methods, want the model's %d", got, want)
	}
}
