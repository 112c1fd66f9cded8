package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
)

// operations writes the properties, the operations and the errors of the service.
func (g *generator) operations() {
	md := g.Metadata
	g.file(awswirePath)
	g.p("// Service holds the properties of the API that its protocol needs.\nvar Service = awswire.Service{")
	g.p("Name: %q, ID: %q, Protocol: %q, APIVersion: %q,", g.Name, md.ServiceID, md.Protocol, md.APIVersion)
	g.p("SigningName: %q, TargetPrefix: %q, Namespace: %q,\n}\n", md.SigningName, md.TargetPrefix, md.XMLNamespace)

	g.p("// OperationNames lists the operations in the order of the model.\nvar OperationNames = []string{")
	for _, op := range g.Operations {
		g.p("%q,", op.Name)
	}
	g.p("}\n\n// Operations holds the operations by name.\nvar Operations = map[string]awswire.Operation{")
	for _, op := range g.Operations {
		g.p("%q: {\nName: %q,", op.Name, op.Name)
		if len(op.Errors) > 0 {
			g.p("Errors: %s,", quoted(op.Errors))
		}
		g.p("Input: func() awswire.Input { return new(%s) },", g.endpoint(op.Input))
		g.p("Output: func() any { return new(%s) },", g.endpoint(op.Output))
		if p := op.Paginated; p != nil {
			g.p("Page: %s,", page(p))
		}
		if op.AuthType == "none" {
			g.p("Unsigned: true,")
		}
		g.p("},")
	}
	g.p("}\n\n// Errors holds the declared errors by shape.\nvar Errors = map[string]awswire.Error{")
	for _, n := range slices.Sorted(maps.Keys(g.Shapes)) {
		s := g.Shapes[n]
		if !s.Exception {
			continue
		}
		members := ""
		for _, m := range s.Members {
			if m.Name != "message" {
				members += fmt.Sprintf("%q, ", m.Name)
			}
		}
		if members != "" {
			members = ", Members: []string{" + members[:len(members)-2] + "}"
		}
		g.p("%q: {Code: %q, Status: %d, Sender: %t%s},", n, s.ErrorCode, s.HTTPStatus, s.Fault == "client", members)
	}
	g.p("}")
}

func (g *generator) endpoint(shape string) string {
	if shape == "" {
		return "awswire.Empty"
	}
	return goName(shape)
}

func page(p *awsmodel.Paginated) string {
	text := fmt.Sprintf("&awswire.Page{InputToken: %q, OutputToken: %q, LimitKey: %q, ResultKeys: %s",
		p.InputToken, p.OutputToken, p.LimitKey, quoted(p.ResultKey))
	if p.MoreResults != "" {
		text += fmt.Sprintf(", MoreResults: %q", p.MoreResults)
	}
	return text + "}"
}
