// Package house_test checks the structure of the tree: the imports of each package, and the maximum length of files.
package house_test

import (
	"bufio"
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ecrin-dev/ecrin/"

// floors are the groups of packages, lowest first. A package imports only packages of lower floors, and packages of its
// own floor that are before it in the list or in its own folder.
var floors = []struct {
	name     string
	packages []string
}{
	{"words", []string{"internal/fault", "internal/name", "internal/secret"}},
	{"rules", []string{"internal/sigv4", "internal/policy", "internal/manifest", "internal/endpoint", "internal/awswire",
		"internal/ecrtypes", "internal/ststypes", "internal/iamtypes", "internal/ecrintypes", "internal/explain", "internal/pagetoken"}},
	{"machine", []string{"internal/durable", "internal/tlsauto", "internal/trust/clientconf", "internal/trust", "internal/doctor", "internal/pack", "internal/egress", "internal/oidc", "internal/audit"}},
	{"stores", []string{"internal/blob", "internal/blob/fsblob", "internal/meta"}},
	{"core", []string{"internal/identity", "internal/guard", "internal/registry", "internal/iam", "internal/sts", "internal/ecr", "internal/ecrin"}},
	{"surfaces", []string{"internal/web", "internal/trail", "internal/ociapi", "internal/awsapi"}},
	{"assembly", []string{"internal/config", "internal/app", "internal/client", "internal/cli/hostcmd", "internal/cli", "cmd/ecrin"}},
}

// forbidden are imports that the floors would allow, each with the reason why it is not allowed.
var forbidden = []struct{ from, to, why string }{
	{"internal/name", "database/sql", "words do not use storage"},
	{"internal/sigv4", "os", "rules are pure: no files, no environment"},
	{"internal/policy", "os", "rules are pure: no files, no environment"},
	{"internal/policy", "net/http", "a decision does not depend on the protocol of the request"},
	{"internal/manifest", "os", "rules are pure: no files, no environment"},
	{"internal/pagetoken", "os", "rules are pure: no files, no environment"},
	{"internal/manifest", "net/http", "a manifest is a text, independent of the protocol"},
	{"internal/ociapi", "database/sql", "surfaces do not use SQL: only meta depends on the schema"},
	{"internal/awsapi", "database/sql", "surfaces do not use SQL: only meta depends on the schema"},
	{"internal/ociapi", "internal/meta", "surfaces access the metadata through registry and the typed services"},
	{"internal/trail", "internal/meta", "surfaces access the metadata through registry and the typed services"},
	{"internal/web", "internal/meta", "surfaces access the metadata through registry and the typed services"},
	{"internal/awsapi", "internal/meta", "surfaces access the metadata through registry and the typed services"},
	{"internal/ociapi", "internal/awsapi", "code that both surfaces use belongs into registry"},
	{"internal/awsapi", "internal/ociapi", "code that both surfaces use belongs into registry"},
	{"internal/ociapi", "internal/blob/fsblob", "surfaces access blobs only through registry, which checks the holdings"},
	{"internal/awsapi", "internal/blob", "surfaces access blobs only through registry, which checks the holdings"},
	{"internal/registry", "net/http", "the core does not depend on the protocol of a request"},
	{"internal/registry", "internal/blob/fsblob", "the core depends on the contract of storage; app chooses the implementation"},
	{"internal/registry", "database/sql", "all SQL is in meta"},
	{"internal/identity", "database/sql", "all SQL is in meta"},
}

func TestImports(t *testing.T) {
	floor, place := map[string]int{}, map[string]int{}
	for i, f := range floors {
		for j, p := range f.packages {
			floor[p], place[p] = i, j
		}
	}
	for dir, imports := range packages(t) {
		if _, known := floor[dir]; !known {
			continue // tools and test helpers
		}
		for _, to := range imports {
			if inner, ok := strings.CutPrefix(to, module); ok {
				f, known := floor[inner]
				switch {
				case !known && inner != "internal/awsmodel":
					t.Errorf("%s imports %s, which has no floor: add it to the list in this test", dir, inner)
				case !known:
					t.Errorf("%s imports %s, which is for tests and tools", dir, inner)
				case f > floor[dir] || f == floor[dir] && place[inner] >= place[dir]:
					t.Errorf("%s (%s) imports %s (%s): a package imports only packages before it", dir, floors[floor[dir]].name, inner, floors[f].name)
				}
			}
			for _, rule := range forbidden {
				if dir == rule.from && (to == rule.to || to == module+rule.to) {
					t.Errorf("%s imports %s: %s", dir, to, rule.why)
				}
			}
			if to == "testing" {
				t.Errorf("%s imports testing outside tests", dir)
			}
		}
	}
}

// packages returns the imports of the non-test files of each folder.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	root := "../.."
	all := map[string][]string{}
	walk(t, root, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range f.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[dir] = append(all[dir], to)
		}
	})
	return all
}

func walk(t *testing.T, root string, each func(path string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			each(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// maxLines is the maximum length of a file in lines; a longer file has more than one job.
const maxLines = 600

func TestFilesStaySmall(t *testing.T) {
	walk(t, "../..", func(path string) {
		text, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		first, _ := bufio.NewReader(bytes.NewReader(text)).ReadString('\n')
		if n := bytes.Count(text, []byte("\n")); n > maxLines && !strings.Contains(first, "Code generated") {
			t.Errorf("%s has %d lines, at most %d", path, n, maxLines)
		}
	})
}
