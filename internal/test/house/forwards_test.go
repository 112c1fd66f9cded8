package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forwards are the methods of registry.Service that only pass their arguments on to one method of the metadata store, each with
// the reason why it is there: a door without such a method would need the store itself.
var forwards = map[string]string{
	"Repository": "every request on a repository begins with it; a door resolves its target by it",
	"Head":       "the docker door resolves the tag or digest of a request by it; operations resolve images by it, too",
	"TagList":    "the docker door answers the whole list as the store keeps it ready",
	"Referrers":  "the page's limit in bytes is the store's, which sees the annotations",
	"DeleteBlob": "the store decides in the transaction whether an image names the blob; nothing else belongs to it",
}

// TestRegistryForwards: a method of registry.Service has more to do than to pass its arguments on to the metadata store, or
// forwards has the reason why not. The store itself is not handed out at all.
func TestRegistryForwards(t *testing.T) {
	t.Parallel()
	methods, stores := registryMethods(t)
	found := map[string]bool{}
	for _, m := range methods {
		if returnsStore(m) {
			t.Errorf("registry.Service.%s returns the metadata store: its caller would work past the registry", m.Name.Name)
		}
		to, ok := forwardsTo(m, stores)
		if !ok {
			continue
		}
		found[m.Name.Name] = true
		if forwards[m.Name.Name] == "" {
			t.Errorf("registry.Service.%s only passes its arguments on to meta.Store.%s: give it its rule, or its reason in forwards", m.Name.Name, to)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(forwards)) {
		if !found[name] {
			t.Errorf("forwards has registry.Service.%s, which is not there or does more now: take it off the list", name)
		}
	}
}

// registryMethods are the exported methods of registry.Service, and the names of its fields that are metadata stores.
func registryMethods(t *testing.T) (methods []*ast.FuncDecl, stores map[string]bool) {
	t.Helper()
	paths, err := filepath.Glob(root + "/internal/core/registry/*.go")
	if err != nil {
		t.Fatal(err)
	}
	stores = map[string]bool{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && receiverType(m) == "Service" && m.Name.IsExported() {
				methods = append(methods, m)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Service" {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						if isStore(field.Type) {
							stores[name.Name] = true
						}
					}
				}
			}
			return false
		})
	}
	if len(methods) < 5 || len(stores) == 0 {
		t.Fatalf("got %d methods of registry.Service and the stores %v; this test does not find them", len(methods), stores)
	}
	return methods, stores
}

func receiverType(m *ast.FuncDecl) string {
	recv := m.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	name, _ := recv.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

// isStore tells whether a type is *meta.Store.
func isStore(t ast.Expr) bool {
	star, ok := t.(*ast.StarExpr)
	if !ok {
		return false
	}
	s, ok := star.X.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	return ok && pkg.Name == "meta" && s.Sel.Name == "Store"
}

func returnsStore(m *ast.FuncDecl) bool {
	if m.Type.Results == nil {
		return false
	}
	return slices.ContainsFunc(m.Type.Results.List, func(f *ast.Field) bool { return isStore(f.Type) })
}

// forwardsTo names the method of the store that m passes its arguments on to, if m does nothing else: it has one call of the
// store, no other call but of functions without arguments such as the clock, no loop, no composite value, and no branch but
// on an error.
func forwardsTo(m *ast.FuncDecl, stores map[string]bool) (method string, only bool) {
	if m.Body == nil || len(m.Recv.List[0].Names) == 0 {
		return "", false
	}
	receiver := m.Recv.List[0].Names[0].Name
	calls, only := 0, true
	ast.Inspect(m.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name, ok := storeCall(n, receiver, stores); ok {
				method = name
				calls++
			} else if len(n.Args) > 0 {
				only = false
			}
		case *ast.IfStmt:
			if !onError(n.Cond) || n.Else != nil {
				only = false
			}
		case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.GoStmt, *ast.DeferStmt,
			*ast.CompositeLit, *ast.FuncLit:
			only = false
		}
		return true
	})
	return method, only && calls == 1
}

// storeCall names the method if the call is one of a field that is a store, such as s.meta.Tags(…).
func storeCall(c *ast.CallExpr, receiver string, stores map[string]bool) (method string, ok bool) {
	called, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	field, ok := called.X.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	of, ok := field.X.(*ast.Ident)
	return called.Sel.Name, ok && of.Name == receiver && stores[field.Sel.Name]
}

// onError tells whether a condition is err != nil.
func onError(cond ast.Expr) bool {
	b, ok := cond.(*ast.BinaryExpr)
	if !ok || b.Op != token.NEQ {
		return false
	}
	x, isName := b.X.(*ast.Ident)
	y, isNil := b.Y.(*ast.Ident)
	return isName && isNil && x.Name == "err" && y.Name == "nil"
}
