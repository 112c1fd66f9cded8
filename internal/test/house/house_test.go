// Package house_test holds the shape of the tree: which package may import which, how large a file may grow, and that the
// pages which describe the tree say what these tests enforce.
package house_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/ecrin-dev/ecrin/"
	root   = "../../.." // of the tree
)

// floors are the folders of internal/, lowest first. A package is internal/FLOOR/PACKAGE, perhaps with folders of its own
// below. It may import every package of a lower floor, and of its own floor those that inside names.
var floors = []string{"word", "model", "rule", "store", "net", "core", "op", "deliver", "door", "host", "main", "test"}

// inside are the arrows that are allowed within a floor: from a package to others of its floor. What is below a package's
// own folder is the package's own matter. Every arrow here is drawn in the code; one that is not drawn any more fails.
var inside = map[string]string{
	"word/name":        "word/fault word/lazyregexp",
	"model/awsmodel":   "model/awswire",
	"model/ecrtypes":   "model/awswire",
	"model/ststypes":   "model/awswire",
	"model/iamtypes":   "model/awswire",
	"model/ecrintypes": "model/awswire",
	"rule/apptemplate": "rule/rewrite",
	"rule/assertion":   "rule/policy",
	"rule/bundle":      "rule/license rule/rewrite",
	"rule/entitlement": "rule/policy rule/semver",
	"rule/explain":     "rule/policy",
	"rule/least":       "rule/policy",
	"rule/lifecycle":   "rule/semver",
	"rule/policy":      "rule/semver",
	"rule/preflight":   "rule/apptemplate rule/rewrite",
	"rule/report":      "rule/semver",
	"rule/helm":        "rule/bounded",
	"rule/template":    "rule/bounded rule/rewrite",
	"store/audit":      "store/durable",
	"store/blob":       "store/durable",
	"store/meta":       "store/durable store/audit store/blob",
	"store/spool":      "store/durable",
	"net/oidc":         "net/egress",
	"net/forge":        "net/egress",
	"net/gitrepo":      "net/egress",
	"net/copier":       "net/upstream",
	"net/upstream":     "net/egress",
	"core/identity":    "core/jobs",
	"core/registry":    "core/identity core/jobs",
	"core/configrepo":  "core/integration core/jobs",
	"core/events":      "core/identity core/jobs",
	"core/usage":       "core/jobs",
	"core/pullthrough": "core/guard core/identity core/integration core/registry",
	"core/guard":       "core/identity",
	"core/vendor":      "core/guard core/identity core/jobs",
	"core/replication": "core/guard core/identity core/integration core/jobs core/registry",
	"op/ecrin":         "op/ecr",
	"deliver/connect":  "deliver/credential deliver/kube",
	"deliver/install":  "deliver/bundle deliver/credential deliver/kube deliver/rewrite",
	"deliver/kube":     "deliver/credential",
	"deliver/release":  "deliver/credential deliver/kube deliver/rewrite",
	"deliver/rancher":  "deliver/credential",
	"deliver/rewrite":  "deliver/credential",
	"door/ociapi":      "door/web",
	"door/awsapi":      "door/web",
	"door/rancherapi":  "door/awsapi door/web",
	"door/reportapi":   "door/awsapi door/web",
	"door/updateapi":   "door/web",
	"door/vendorapi":   "door/awsapi door/web",
	"door/console":     "door/awsapi door/look door/web",
	"door/installed":   "door/look",
	"host/doctor":      "host/trust",
	"host/pull":        "host/trust",
	"main/app":         "main/config",
	"main/client":      "main/app",
	"main/cli":         "main/config main/app main/client main/apply",
	"test/apptest":     "test/ocitest",
	"test/conformance": "test/ocitest",
	"test/farside":     "test/apptest test/seedtest",
	"test/installtest": "test/apptest test/kubestand test/ocitest",
	"test/kubetest":    "test/ocitest",
}

// forbidden are arrows that the floors would allow, each with the reason why it must not be drawn. Both ends stand for
// everything below them.
var forbidden = []struct{ from, to, why string }{
	{"word", "os", "a value is parsed from a text, wherever the text comes from"},
	{"word", "net/http", "a value is parsed from a text, wherever the text comes from"},
	{"model", "os", "wire forms are bytes: no files, no environment"},
	{"model", "net/http", "wire forms are bytes: a door reads and writes them"},
	{"rule", "os", "rules are pure: no files, no environment"},
	{"rule", "log/slog", "rules are pure: they return what there is to say"},
	{"rule/policy", "net/http", "a decision does not depend on the protocol of the request"},
	{"rule/manifest", "net/http", "a manifest is bytes, whoever sent it"},
	{"store", "net/http", "what is stored does not depend on the protocol of the request"},
	{"core/registry", "net/http", "both doors use it, so it knows no protocol"},
	{"core/guard", "net/http", "every door decides by it, so it knows no protocol"},
	{"op", "net/http", "operations have typed inputs and outputs; awsapi has the wire form"},
	{"op", "os", "operations work on what the stores keep"},
	{"door", "store/meta", "what a door needs of the metadata it gets from registry, identity or an operation, which check it"},
	{"door", "store/blob", "a door reaches blobs through registry only, which knows what each repository holds"},
	{"door/installed", "core", "it serves a folder on the machine of a customer, and no registry"},
	{"door/installed", "op", "it serves a folder on the machine of a customer, and no registry"},
	{"door/installed", "store", "what it needs of the folder it gets from deliver/install"},
	{"host", "store", "host is about other programs of this machine, not about the data"},
	{"main/cli", "store/meta", "the command line works on a running server, through its API"},
}

// only are imports that a few packages have and no other, with the reason.
var only = []struct{ to, from, why string }{
	{"database/sql", "store/meta", "all SQL is in meta: one place to change the schema"},
	{"modernc.org/sqlite", "store/meta", "all SQL is in meta: one place to change the schema"},
	{"github.com/jackc/pgx", "store/meta", "all SQL is in meta: one place to change the schema"},
	{"store/blob/fsblob", "main/app", "everybody else knows the contract of storage; app chooses the implementation"},
	{"store/blob/faultblob", "", "it is for tests"},
	{"store/meta/faultmeta", "", "it is for tests"},
	{"model/awsmodel", "", "the generator and tests read the service models; the program needs them no more"},
	{"github.com/ecrin-dev/ecrin/api", "model/awsmodel", "the generator and tests read the service models; the program needs them no more"},
	{"github.com/spf13/cobra", "main/cli", "the command line is one package"},
	{"os/exec", "host/doctor main/cli", "the server starts no other program"},
	{"github.com/prometheus/client_golang", "door/web", "metrics are one package's"},
	{"oras.land/oras-go/v2", "net/upstream", "requests to other registries have their limits and credentials in one place"},
	{"github.com/go-git", "net/gitrepo", "repositories of git are reached in one place, with its limits"},
	{"k8s.io", "deliver/kube", "clusters are reached in one package: the server needs nothing of it"},
	{"github.com/go-jose/go-jose/v4", "net/oidc", "foreign signatures are checked in one place"},
}

// place is a folder of the tree that has Go files which are not tests.
type place struct {
	dir     string // from the root of the tree, such as internal/store/blob/fsblob
	imports []string
}

// floor is the index in floors and whether the folder is on a floor at all.
func (p place) floor() (int, bool) { return floorOf(p.dir) }

func floorOf(dir string) (int, bool) {
	parts := strings.Split(dir, "/")
	if len(parts) < 3 || parts[0] != "internal" {
		return 0, false
	}
	i := slices.Index(floors, parts[1])
	return i, i >= 0
}

// short is a package without internal/ and without the folders below the package: store/blob for internal/store/blob/fsblob.
func short(dir string) string {
	parts := strings.Split(strings.TrimPrefix(dir, "internal/"), "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// forTests tells the packages that help tests: those of the floor test and those whose name ends so.
func forTests(dir string) bool {
	return strings.HasPrefix(dir, "internal/test/") || strings.HasSuffix(dir, "test")
}

// under tells whether path is the folder or below it; a folder on a floor may be written without internal/.
func under(path, folder string) bool {
	for _, f := range []string{folder, "internal/" + folder} {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

func TestEveryPackageIsOnAFloor(t *testing.T) {
	t.Parallel()
	n := 0
	for _, p := range places(t) {
		if _, ok := p.floor(); ok {
			n++
		} else if under(p.dir, "internal") {
			t.Errorf("%s: got a package outside the floors, want internal/FLOOR/PACKAGE with one of the floors %v", p.dir, floors)
		}
	}
	if n < 30 {
		t.Errorf("got %d packages on the floors; this test does not find the tree", n)
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	drawn := map[[2]string]bool{}
	for _, p := range places(t) {
		for _, to := range p.imports {
			inner := strings.TrimPrefix(to, module)
			for _, rule := range forbidden {
				if under(p.dir, "word/slowtest") && to == "os" {
					continue // it reads ECRIN_SLOW, for the tests of all floors
				}
				if under(p.dir, rule.from) && under(inner, rule.to) {
					t.Errorf("%s imports %s: %s", p.dir, inner, rule.why)
				}
			}
			for _, rule := range only {
				// What a test helper imports does not get into the program, and tools are no part of it.
				if !under(inner, strings.TrimPrefix(rule.to, module)) || under(p.dir, rule.to) || forTests(p.dir) || under(p.dir, "tools") {
					continue
				}
				if !slices.ContainsFunc(strings.Fields(rule.from), func(from string) bool { return under(p.dir, from) }) {
					t.Errorf("%s imports %s, which only %q may: %s", p.dir, inner, rule.from, rule.why)
				}
			}
			if under(p.dir, "cmd") && strings.HasPrefix(to, module) && inner != "internal/main/cli" {
				t.Errorf("%s imports %s: main is one call of cli", p.dir, inner)
			}
			floor, ok := p.floor()
			if !ok {
				continue
			}
			if to == "testing" && !forTests(p.dir) {
				t.Errorf("%s imports testing outside tests", p.dir)
			}
			if !strings.HasPrefix(to, module) {
				continue
			}
			if forTests(inner) && !forTests(p.dir) {
				t.Errorf("%s imports %s, which is for tests", p.dir, inner)
			}
			other, ok := floorOf(inner)
			switch from, on := short(p.dir), short(inner); {
			case !ok && inner != "api":
				t.Errorf("%s imports %s, which is on no floor", p.dir, inner)
			case other > floor:
				t.Errorf("%s imports %s: %s is above %s in %v", p.dir, inner, floors[other], floors[floor], floors)
			case ok && other == floor && from != on:
				drawn[[2]string{from, on}] = true
				if !slices.Contains(strings.Fields(inside[from]), on) {
					t.Errorf("%s imports %s of its own floor, and inside has no such arrow: what both need belongs below", p.dir, inner)
				}
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(inside)) {
		for _, on := range strings.Fields(inside[from]) {
			if !drawn[[2]string{from, on}] {
				t.Errorf("inside allows %s to import %s, which it does not: take the arrow off the list", from, on)
			}
		}
	}
}

// TestArchitecturePage: the table of floors in docs/architecture.md has a row for each floor, in this order, and each row
// names the packages that the floor has and no other.
func TestArchitecturePage(t *testing.T) {
	t.Parallel()
	want := map[string][]string{}
	for _, p := range places(t) {
		if i, ok := p.floor(); ok {
			if name := strings.TrimPrefix(short(p.dir), floors[i]+"/"); !slices.Contains(want[floors[i]], name) {
				want[floors[i]] = append(want[floors[i]], name)
			}
		}
	}
	// The test of the house has no other file than tests, and is on its floor nevertheless.
	want["test"] = append(want["test"], "house")
	var order []string
	for line := range strings.Lines(read(t, "docs/architecture.md")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		floor := strings.Trim(cells[1], " `/")
		if !slices.Contains(floors, floor) {
			continue
		}
		order = append(order, floor)
		var got []string
		for i, name := range strings.Split(cells[2], "`") {
			if i%2 == 1 {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want[floor])
		if !slices.Equal(got, want[floor]) {
			t.Errorf("docs/architecture.md, floor %s: got the packages %v, want %v", floor, got, want[floor])
		}
	}
	if !slices.Equal(order, floors) {
		t.Errorf("docs/architecture.md: got rows for the floors %v, want %v", order, floors)
	}
}

// TestHouseRulesPage: docs/design/house-rules.md names the floors and the limits as they are enforced.
func TestHouseRulesPage(t *testing.T) {
	t.Parallel()
	page := strings.Join(strings.Fields(read(t, "docs/design/house-rules.md")), " ")
	for _, want := range []string{
		strings.Join(floors, " → "),
		fmt.Sprintf("A file has at most %d lines", maxLines),
		fmt.Sprintf("a line has at most %d columns", maxColumns),
		fmt.Sprintf("a string literal of %d columns or more", longLiteral),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/design/house-rules.md does not say %q", want)
		}
	}
}

// places lists the folders of the tree with what their files that are not tests import, once each.
func places(t *testing.T) (all []place) {
	t.Helper()
	imports := map[string]map[string]bool{}
	walk(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if imports[dir] == nil {
			imports[dir] = map[string]bool{}
		}
		for _, spec := range f.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports[dir][to] = true
		}
	})
	for _, dir := range slices.Sorted(maps.Keys(imports)) {
		all = append(all, place{dir, slices.Sorted(maps.Keys(imports[dir]))})
	}
	return all
}

// walk calls each with the path of every Go file of the tree.
func walk(t *testing.T, each func(path string)) {
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

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
