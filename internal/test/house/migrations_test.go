package house_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestMigrationsHaveNumbersOfTheirOwn: a database cannot be opened by a program in which two migrations have one number.
func TestMigrationsHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(root + "/internal/store/meta/migrations/*.sql")
	if err != nil || len(paths) == 0 {
		t.Fatalf("got %d migrations and the error %v; this test does not find them", len(paths), err)
	}
	seen := map[string]string{}
	for _, path := range paths {
		number, _, _ := strings.Cut(filepath.Base(path), "_")
		if first := seen[number]; first != "" {
			t.Errorf("%s and %s have the number %s: give the later one the next free number", first, filepath.Base(path), number)
		}
		seen[number] = filepath.Base(path)
	}
}
