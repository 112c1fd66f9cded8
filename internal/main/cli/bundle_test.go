package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
)

// bundled returns the files that commands about bundles name.
func bundled(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	found := map[string]string{"receipts": filepath.Join(dir, "receipts"), "bundle": filepath.Join(dir, "a.tar"),
		"joined": filepath.Join(dir, "j.tar"),
		"have":   filepath.Join(dir, "have.json"), "exported": filepath.Join(dir, "e.tar"), "bundlekey": filepath.Join(dir, "key"),
		"bundlepub": filepath.Join(dir, "key.pem")}
	key, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{found["bundlekey"]: private, found["bundlepub"]: public} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return found
}
