package meta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// statements returns the texts of all SQL statements of the package, read from its source, so that a new statement
// cannot be forgotten. A text must be constant: the tests of plans and of PostgreSQL would miss a text that is built
// at run time.
func statements(t *testing.T) (texts []string) {
	t.Helper()
	for text := range statementsByFile(t) {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

// statementsByFile returns the statements, each with its file. Files named postgres… have those for PostgreSQL alone.
func statementsByFile(t *testing.T) (texts map[string]string) {
	t.Helper()
	texts = map[string]string{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	constants := map[string]ast.Expr{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, v := range spec.Values {
					constants[spec.Names[i].Name] = v
				}
			}
			return true
		})
	}
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok || !verb.MatchString(leftmost(e)) {
				return true
			}
			text, ok := constantText(e, constants)
			if !ok {
				t.Errorf("%s: a statement that begins %q is not constant", name, leftmost(e))
			}
			if texts[text] == "" || strings.HasPrefix(texts[text], "postgres") {
				texts[text] = name
			}
			return false
		})
	}
	if len(texts) < 60 {
		t.Errorf("found %d statements, want at least 60", len(texts))
	}
	return texts
}

var verb = regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)

// leftmost returns the literal that a string expression begins with, "" if it begins with another expression.
func leftmost(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
	case *ast.BinaryExpr:
		return leftmost(e.X)
	}
	return ""
}

// constantText evaluates an expression of literals and named constants.
func constantText(e ast.Expr, constants map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, ok1 := constantText(e.X, constants)
		y, ok2 := constantText(e.Y, constants)
		return x + y, ok1 && ok2 && e.Op == token.ADD
	case *ast.Ident:
		if v := constants[e.Name]; v != nil {
			return constantText(v, constants)
		}
	}
	return "", false
}

// tables returns the tables of the schema, from the migrations.
func tables(t *testing.T) (names []string) {
	t.Helper()
	files, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile("migrations/" + f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
