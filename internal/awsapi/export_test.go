package awsapi

import (
	"net/http/httptest"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/guard"
	"github.com/ecrin-dev/ecrin/internal/web"
)

// JSONErrors is the table of names, for the test that walks fault.Codes.
var JSONErrors = jsonErrors

// JSONName is the exception that an operation of the ECR API answers for a code.
func JSONName(operation string, c fault.Code) string {
	x := &exchange{service: ecrService, op: ecrService.operations[operation]}
	return x.jsonName(c)
}

// Row is one operation of any API.
type Row struct {
	Service, Operation, Action string
	Built                      bool
}

// Rows is the dispatch table.
func Rows() []Row {
	var all []Row
	for _, s := range services {
		for n, o := range s.operations {
			all = append(all, Row{s.wire.Name, n, o.action, o.resolve != nil})
		}
	}
	return all
}

// Failure is what the API of a service answers to a failed request before its operation is known.
func Failure(service string, e *fault.Error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	for _, s := range services {
		if s.wire.Name == service {
			s.fail(&exchange{w: w, service: s, ev: &web.Event{Event: guard.Event{RequestID: "0c9e5d2a"}}}, e)
		}
	}
	return w
}
