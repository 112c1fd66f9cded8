package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// The file in docs/configuration.md contains the defaults, and the table there lists every flag and variable.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/configuration.md has no yaml block")
	}
	var got config.Config
	if err := got.Parse([]byte(example)); err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the example is not the default (-want +got):\n%s", diff)
	}
	for _, s := range want.Settings() {
		for _, name := range []string{"`--" + s.Flag, s.Env} {
			if !strings.Contains(string(text), name) {
				t.Errorf("docs/configuration.md does not name %s", name)
			}
		}
	}
}
