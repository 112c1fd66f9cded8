package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one change of a file: the bytes from start to end are replaced by with.
type mutant struct {
	path       string
	line       int
	kind       string
	start, end int
	with       string
	text       string // the change, for the report

	// The same change, made while the tests run: the bytes from from to to are replaced by switched, in which %d is the number of
	// the change. switched is "" for a change that needs a build of its own.
	from, to int
	switched string
}

// opposites are the operators that replace others.
var opposites = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
}

// finder collects the mutants of a file.
type finder struct {
	path string
	set  *token.FileSet
	src  []byte
	all  []mutant
	held map[ast.Stmt]bool // the statements of the head of another one, such as of a loop, where no other statement can be put
}

// mutantsOf returns all mutants of a file, in the order of the source.
func mutantsOf(path string) ([]mutant, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &finder{path: path, set: token.NewFileSet(), src: src, held: map[ast.Stmt]bool{}}
	file, err := parser.ParseFile(f.set, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			ast.Inspect(fn.Body, f.node)
		}
	}
	return f.all, nil
}

func (f *finder) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		for _, op := range opposites[n.Op] {
			if n.Op == token.ADD && (isText(n.X) || isText(n.Y)) {
				break // texts have no difference
			}
			at := f.offset(n.OpPos)
			f.add(n.OpPos, "operator", at, at+len(n.Op.String()), op.String(), f.source(n))
			f.switchable(n, f.operators(n, op))
		}
	case *ast.IfStmt:
		f.held[n.Init] = true
		f.condition(n.Cond)
	case *ast.SwitchStmt:
		f.held[n.Init] = true
	case *ast.TypeSwitchStmt:
		f.held[n.Init], f.held[n.Assign] = true, true
	case *ast.CommClause:
		f.held[n.Comm] = true
	case *ast.ForStmt:
		f.held[n.Init], f.held[n.Post] = true, true
		if n.Cond != nil {
			f.replace(n.Cond, "condition", "false")
			f.switchable(n.Cond, "(!mutantIs(%d) && ("+f.quoted(n.Cond)+"))")
		}
	case *ast.ReturnStmt:
		f.returned(n)
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && !isPanic(call) {
			f.replace(n, "call removed", "_ = 0")
			f.leftOut(n)
		}
	case *ast.DeferStmt:
		f.replace(n, "defer removed", "_ = 0")
		f.leftOut(n)
	case *ast.AssignStmt:
		if n.Tok == token.ASSIGN && len(n.Lhs) == 1 && len(n.Rhs) == 1 {
			if _, call := n.Rhs[0].(*ast.CallExpr); !call { // the value stays used, so that the change compiles
				f.replace(n, "assignment removed", "_ = "+f.source(n.Rhs[0]))
				f.leftOut(n)
			}
		}
	case *ast.IncDecStmt:
		f.replace(n, "assignment removed", "_ = 0")
		f.leftOut(n)
	case *ast.BranchStmt:
		if n.Label == nil && (n.Tok == token.CONTINUE || n.Tok == token.BREAK) {
			f.replace(n, "branch removed", "_ = 0")
			f.leftOut(n)
		}
	case *ast.BasicLit:
		if n.Kind == token.INT {
			f.replace(n, "number", "("+n.Value+"+1)")
			f.switchable(n, "("+n.Value+"+mutantOne(%d))")
		}
	case *ast.Ident:
		if n.Name == "true" || n.Name == "false" {
			f.replace(n, "truth", map[string]string{"true": "false", "false": "true"}[n.Name])
			f.switchable(n, "("+map[string]string{"true": "!", "false": ""}[n.Name]+"mutantIs(%d))")
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			f.replace(n, "negation removed", f.source(n.X))
			f.switchable(n, "(mutantIs(%[1]d) && ("+f.quoted(n.X)+") || !mutantIs(%[1]d) && ("+f.quoted(n)+"))")
		}
	}
	return true
}

// condition makes a condition constant. The condition is still evaluated, so that its variables stay used.
func (f *finder) condition(e ast.Expr) {
	if text := f.source(e); isErrCheck(text) {
		f.replace(e, "error ignored", "("+text+") && false")
		f.switchable(e, "(("+f.quoted(e)+") && !mutantIs(%d))")
		return
	}
	f.replace(e, "condition", "("+f.source(e)+") || true")
	f.switchable(e, "(("+f.quoted(e)+") || mutantIs(%d))")
	f.replace(e, "condition", "("+f.source(e)+") && false")
	f.switchable(e, "(("+f.quoted(e)+") && !mutantIs(%d))")
}

func isErrCheck(text string) bool {
	return strings.HasSuffix(text, "err != nil") && !strings.Contains(text, "&&")
}

// returned replaces an error that a function returns by nil.
func (f *finder) returned(n *ast.ReturnStmt) {
	if len(n.Results) == 0 {
		return
	}
	last := n.Results[len(n.Results)-1]
	switch text := f.source(last); {
	case text == "err":
		f.replace(last, "error dropped", "nil")
		f.switchable(last, "mutantDrops(%d, "+f.quoted(last)+")")
	case strings.HasPrefix(text, "fault.") || strings.HasPrefix(text, "fmt.Errorf(") || strings.HasPrefix(text, "errors.New("):
		f.replace(last, "error dropped", "nil")
		f.switchable(last, "mutantDrops(%d, "+f.quoted(last)+")")
	}
}

func isText(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING
}

func isPanic(c *ast.CallExpr) bool {
	name, ok := c.Fun.(*ast.Ident)
	return ok && name.Name == "panic"
}

func (f *finder) offset(p token.Pos) int { return f.set.Position(p).Offset }

func (f *finder) source(n ast.Node) string {
	return string(f.src[f.offset(n.Pos()):f.offset(n.End())])
}

func (f *finder) replace(n ast.Node, kind, with string) {
	f.add(n.Pos(), kind, f.offset(n.Pos()), f.offset(n.End()), with, f.source(n))
}

func (f *finder) add(at token.Pos, kind string, start, end int, with, around string) {
	text := strings.Join(strings.Fields(around), " ") + " → " + with
	if kind != "operator" {
		text = strings.Join(strings.Fields(string(f.src[start:end])), " ") + " → " + strings.Join(strings.Fields(with), " ")
	}
	text = strings.NewReplacer("|", `\|`, "`", "'").Replace(text)
	const maxText = 90
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText]) + "…"
	}
	f.all = append(f.all, mutant{path: f.path, line: f.set.Position(at).Line, kind: kind, start: start, end: end, with: with, text: text})
}

// changed returns the file with the change.
func (m mutant) changed() ([]byte, error) {
	src, err := os.ReadFile(m.path)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{src[:m.start], []byte(m.with), src[m.end:]}, nil), nil
}

// overlay writes the changed file and the description for go test -overlay into dir, and returns the path of the latter.
func (m mutant) overlay(dir string) (string, error) {
	text, err := m.changed()
	if err != nil {
		return "", err
	}
	if _, err := format.Source(text); err != nil {
		return "", fmt.Errorf("the change of %s:%d is no Go: %w", m.path, m.line, err)
	}
	file, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	description, err := json.Marshal(map[string]map[string]string{"Replace": {m.path: file}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, description, 0o600)
}
