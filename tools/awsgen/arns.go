package main

import (
	"maps"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
)

// arnShapes are the string shapes of IAM and STS whose values are ARNs of users, roles, policies and the like, or of any
// resource. The partition of such an ARN follows the region of the request.
var arnShapes = []string{"arnType", "ResourceNameType"}

// arns writes, for each structure that contains an ARN, a method that replaces its ARNs.
func (g *generator) arns() {
	with := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, s := range g.types {
			if !with[s.Name] && slices.ContainsFunc(s.Members, func(m awsmodel.Member) bool { return g.holdsARN(m.Shape, with) }) {
				with[s.Name], grown = true, true
			}
		}
	}
	operations := map[string]bool{}
	for _, op := range g.Operations {
		operations[op.Input], operations[op.Output] = true, true
	}
	clones := false
	for _, n := range slices.Sorted(maps.Keys(with)) {
		for _, m := range g.Shapes[n].Members {
			clones = clones || g.Shapes[m.Shape].Type == "list" && g.holdsARN(m.Shape, with)
		}
	}
	if clones {
		g.file("slices")
	} else {
		g.file()
	}
	for _, s := range g.types {
		if !with[s.Name] {
			continue
		}
		if operations[s.Name] {
			g.p("// MapARNs returns a *%s like v, in which each ARN is what f returns for it.", goName(s.Name))
			g.p("func (v *%s) MapARNs(f func(arn string) string) any { return v.withARNs(f) }\n", goName(s.Name))
		}
		g.p("func (v *%s) withARNs(f func(string) string) *%s {\nout := *v", goName(s.Name), goName(s.Name))
		for _, m := range s.Members {
			if g.holdsARN(m.Shape, with) {
				g.replaceARNs(m)
			}
		}
		g.p("return &out\n}\n")
	}
}

// holdsARN reports whether a shape is an ARN, a list of ARNs, or has one in a structure of with.
func (g *generator) holdsARN(shape string, with map[string]bool) bool {
	s := g.Shapes[shape]
	switch s.Type {
	case "string":
		return slices.Contains(arnShapes, shape)
	case "structure":
		return with[shape]
	case "list":
		return g.holdsARN(s.Member.Shape, with)
	}
	return false
}

// replaceARNs writes the statements for one member.
func (g *generator) replaceARNs(m awsmodel.Member) {
	field := "out." + goName(m.Name)
	pointer := g.pointer(m)
	switch s := g.Shapes[m.Shape]; {
	case s.Type == "string" && pointer:
		g.p("if %s != nil {\ntext := f(*%s)\n%s = &text\n}", field, field, field)
	case s.Type == "string":
		g.p("%s = f(%s)", field, field)
	case s.Type == "structure" && pointer:
		g.p("if %s != nil {\n%s = %s.withARNs(f)\n}", field, field, field)
	case s.Type == "structure":
		g.p("%s = *%s.withARNs(f)", field, field)
	default: // a list; no model has a list of lists of ARNs
		g.p("%s = slices.Clone(%s)\nfor i := range %s {", field, field, field)
		if g.Shapes[s.Member.Shape].Type == "structure" {
			g.p("%s[i] = *%s[i].withARNs(f)\n}", field, field)
		} else {
			g.p("%s[i] = f(%s[i])\n}", field, field)
		}
	}
}
