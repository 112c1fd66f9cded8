package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
)

// rule returns the Go expression of the constraint of a shape, or "" if it has none.
func rule(s *awsmodel.Shape) string {
	if s.ConstraintsUnverified {
		return ""
	}
	var fields []string
	field := func(name, value string) { fields = append(fields, name+": "+value) }
	switch s.Type {
	case "string":
		if s.Min != nil && *s.Min > 0 {
			field("Min", strconv.FormatInt(*s.Min, 10))
		}
		if s.Max != nil {
			field("Max", strconv.FormatInt(*s.Max, 10))
		}
		if s.Pattern != "" {
			field("Pattern", "awswire.NewPattern("+literal(s.Pattern)+")")
		}
		if s.Enum != nil {
			field("Enum", quoted(s.Enum))
		}
		if fields == nil {
			return ""
		}
		return "&awswire.StringRule{" + strings.Join(fields, ", ") + "}"
	case "integer", "long":
		if s.Min == nil && s.Max == nil {
			return ""
		}
		low, high := int64(math.MinInt64), int64(math.MaxInt64)
		if s.Min != nil {
			low = *s.Min
		}
		if s.Max != nil {
			high = *s.Max
		}
		return fmt.Sprintf("awswire.IntRule{Min: %d, Max: %d}", low, high)
	case "list", "map", "blob":
		if s.Min != nil && *s.Min > 0 {
			field("Min", strconv.FormatInt(*s.Min, 10))
		}
		if s.Max != nil {
			field("Max", strconv.FormatInt(*s.Max, 10))
		}
		if fields == nil {
			return ""
		}
		return "awswire.SizeRule{" + strings.Join(fields, ", ") + "}"
	}
	return ""
}

func literal(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

func ruleName(shape string) string { return "rule" + goName(shape) }

// rules writes the constraints of the shapes of requests.
func (g *generator) rules() {
	var lines []string
	for _, n := range slices.Sorted(maps.Keys(g.input)) {
		if r := rule(g.Shapes[n]); r != "" {
			lines = append(lines, ruleName(n)+" = "+r)
		}
	}
	if lines == nil {
		g.file()
		return
	}
	g.file(awswirePath)
	g.p("var (\n%s\n)", strings.Join(lines, "\n"))
}

// validate writes the methods Validate and check of every structure of requests.
func (g *generator) validate() {
	g.file(awswirePath)
	for _, s := range g.types {
		if s.Type != "structure" || !g.input[s.Name] {
			continue
		}
		g.p("// Validate checks the constraints of the model. Errors: *awswire.Violation.")
		g.p("func (v *%s) Validate() error {\nvar c awswire.Checker\nv.check(&c, \"\")\nreturn c.Err()\n}\n", goName(s.Name))
		g.p("func (v *%s) check(c *awswire.Checker, at string) {", goName(s.Name))
		for _, m := range s.Members {
			switch g.Shapes[m.Shape].Type {
			case "list", "map", "blob":
				if m.Required {
					g.p("c.Present(at+%q, v.%s != nil)", m.Name, goName(m.Name))
				}
			}
		}
		for _, m := range s.Members {
			g.checkMember(m)
		}
		g.p("}\n")
	}
}

// checked reports whether values of the shape need checks.
func (g *generator) checked(shape string) bool {
	s := g.Shapes[shape]
	switch {
	case s.Type == "structure" || rule(s) != "":
		return true
	case s.Type == "list":
		return g.checked(s.Member.Shape)
	case s.Type == "map":
		return g.checked(s.Key.Shape) || g.checked(s.Value.Shape)
	}
	return false
}

func (g *generator) checkMember(m awsmodel.Member) {
	s := g.Shapes[m.Shape]
	field, at := "v."+goName(m.Name), fmt.Sprintf("at+%q", m.Name)
	if !g.checked(m.Shape) {
		return
	}
	switch {
	case g.pointer(m):
		g.p("if %s != nil {", field)
		if s.Type != "structure" {
			field = "*" + field
		}
		g.checkValue(s, field, at, "")
		g.p("}")
	case s.Type == "string" && !m.Required:
		g.p("c.Optional(%s, %s, %s)", at, g.text(s, field), ruleName(s.Name))
	case (s.Type == "list" || s.Type == "map" || s.Type == "blob") && !m.Required:
		g.p("if %s != nil {", field)
		g.checkValue(s, field, at, "")
		g.p("}")
	default:
		g.checkValue(s, field, at, "")
	}
}

// text returns the Go expression of field as a string.
func (g *generator) text(s *awsmodel.Shape, field string) string {
	if s.Enum != nil {
		return "string(" + field + ")"
	}
	return field
}

// checkValue writes the checks of a present value. within is the awswire constant for a value in a list or map, else
// "".
func (g *generator) checkValue(s *awsmodel.Shape, field, at, within string) {
	has := rule(s) != ""
	switch s.Type {
	case "structure":
		g.p("%s.check(c, %s+\".\")", field, at)
	case "string":
		switch {
		case has && within != "":
			g.p("c.Within(%s, %s, %s, %s)", at, within, g.text(s, field), ruleName(s.Name))
		case has:
			g.p("c.String(%s, %s, %s)", at, g.text(s, field), ruleName(s.Name))
		}
	case "integer", "long":
		g.checkNumber(has, "int64("+field+")", at, within, s)
	case "blob":
		g.checkNumber(has, "len("+field+")", at, within, s)
	case "list":
		g.checkNumber(has, "len("+field+")", at, within, s)
		member := g.Shapes[s.Member.Shape]
		switch {
		case !g.checked(member.Name):
		case member.Type == "structure":
			g.p("for i := range %s {\n%s[i].check(c, awswire.Item(%s, i))\n}", field, field, at)
		default:
			g.p("for _, e := range %s {", field)
			g.checkValue(member, "e", at, "awswire.Elements")
			g.p("}")
		}
	case "map":
		g.checkNumber(has, "len("+field+")", at, within, s)
		key, value := g.Shapes[s.Key.Shape], g.Shapes[s.Value.Shape]
		if !g.checked(key.Name) && !g.checked(value.Name) {
			return
		}
		// Sorted, so that equal requests get equal answers.
		g.p("for _, k := range awswire.SortedKeys(%s) {", field)
		g.checkValue(key, "k", at, "awswire.Keys")
		switch {
		case !g.checked(value.Name):
		case value.Type == "structure":
			g.p("e := %s[k]\ne.check(c, awswire.Entry(%s, string(k)))", field, at)
		default:
			g.p("e := %s[k]", field)
			g.checkValue(value, "e", at, "awswire.Values")
		}
		g.p("}")
	}
}

func (g *generator) checkNumber(has bool, number, at, within string, s *awsmodel.Shape) {
	switch {
	case has && within != "":
		g.p("c.FailWithin(%s, %s, %s.Broken(%s))", at, within, ruleName(s.Name), number)
	case has && (s.Type == "integer" || s.Type == "long"):
		g.p("c.Int(%s, %s, %s)", at, number, ruleName(s.Name))
	case has:
		g.p("c.Size(%s, %s, %s)", at, number, ruleName(s.Name))
	}
}
