package lazyregexp_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// The text of every call of New in the tree is a regular expression: a wrong one would panic at its first use only.
func TestTexts(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "New" {
				return true
			} else if of, ok := f.X.(*ast.Ident); !ok || of.Name != "lazyregexp" {
				return true
			}
			found++
			text, ok := constant(call.Args[0])
			if !ok {
				t.Errorf("%s: the text is no literal, or a sum of literals", files.Position(call.Pos()))
			} else if _, err := regexp.Compile(text); err != nil {
				t.Errorf("%s: %v", files.Position(call.Pos()), err)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 50 {
		t.Errorf("got %d expressions in the tree, want 50 at least", found)
	}
}

// constant returns the value of a literal or a sum of literals.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := constant(e.X)
		right, also := constant(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}

// Goroutines use an expression for the first time together.
func TestTogether(t *testing.T) {
	t.Parallel()
	re := lazyregexp.New(`(a+)(b)`)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if got := strings.Join(re.FindStringSubmatch("xaab"), " "); got != "aab aa b" {
				t.Errorf("got %q, want aab aa b", got)
			}
		})
	}
	all.Wait()
	if !re.MatchString("ab") || re.ReplaceAllString("ab", "$2$1") != "ba" || re.ReplaceAllStringFunc("ab", strings.ToUpper) != "AB" {
		t.Error("a method differs from that of package regexp")
	}
}
