package house_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSlowTestsRun: what the fast suite leaves out runs in make slow, whose packages the Makefile names. The suites that use
// slowtest are shortened in the packages that import them.
func TestSlowTestsRun(t *testing.T) {
	t.Parallel()
	var named []string
	for line := range strings.Lines(read(t, "Makefile")) {
		if rest, ok := strings.CutPrefix(line, "SLOW :="); ok {
			named = strings.Fields(rest)
		}
	}
	shortened := []string{"internal/word/slowtest", "internal/test/faulttest", "internal/store/blob/blobtest"}
	users := map[string]bool{}
	root := os.DirFS(filepath.Join("..", "..", ".."))
	if err := fs.WalkDir(root, "internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		for _, suite := range shortened {
			if strings.Contains(string(text), "\t\""+strings.TrimSuffix(module, "/")+"/"+suite+"\"\n") {
				users[filepath.Dir(path)] = true
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for dir := range users {
		if !slices.ContainsFunc(named, func(one string) bool {
			one = strings.TrimPrefix(one, "./")
			tree, all := strings.CutSuffix(one, "/...")
			return one == dir || all && under(dir, tree)
		}) {
			t.Errorf("%s uses slowtest or a suite that does, and SLOW of the Makefile does not name it: got %q", dir, named)
		}
	}
	if len(users) < 10 {
		t.Errorf("got %d packages that use slowtest, want at least 10", len(users))
	}
}
