package awsapi

import (
	"net/http/httptest"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// JSONForm returns the status and the exception of a class in the JSON protocol; "" if the exception is named after the
// code.
func JSONForm(c fault.Class) (status int, exception string) {
	f := jsonClasses[c]
	return f.status, f.name
}

// QueryForm returns the status and the error of a class in the query protocol.
func QueryForm(c fault.Class) (status int, name string) {
	f := queryClasses[c]
	return f.status, f.name
}

// Redundant returns the codes in the tables whose form is that of their class.
func Redundant() (all []fault.Code) {
	for c, f := range jsonErrors {
		if f == jsonClassForm(c) {
			all = append(all, c)
		}
	}
	for c, f := range queryErrors {
		if f == queryClasses[c.Class()] {
			all = append(all, c)
		}
	}
	return all
}

// JSONName returns the exception of an operation of the ECR API for a code.
func JSONName(operation string, c fault.Code) string {
	x := &request{service: ecrService, op: ecrService.operations[operation]}
	return x.jsonName(c)
}

// Row is one operation of any API.
type Row struct {
	Service, Operation, Action string
	Built                      bool
}

// Rows returns the rows of all operation tables.
func Rows() []Row {
	var all []Row
	for _, s := range services {
		for n, o := range s.operations {
			all = append(all, Row{s.wire.Name, n, o.action, o.resolve != nil})
		}
	}
	return all
}

// Failure returns the answer of an API to a request that fails before its operation is known.
func Failure(service string, e *fault.Error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	for _, s := range services {
		if s.wire.Name == service {
			s.fail(&request{w: w, service: s, ev: &web.Event{Event: guard.Event{RequestID: "0c9e5d2a"}}}, e)
		}
	}
	return w
}

// Status is the state of an operation for the documentation.
type Status struct {
	Name   string
	Action string // "" if the operation needs no permission or is not built
	Built  bool   // ecrin has the operation
}

// ECROperations returns the operations of the ECR API in the order of the model.
func ECROperations() []Status {
	var all []Status
	for _, operationName := range ecrtypes.OperationNames {
		o := ecrService.operations[operationName]
		all = append(all, Status{operationName, o.action, o.resolve != nil})
	}
	return all
}
