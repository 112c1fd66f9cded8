package trail

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// faultsFile has a line for each code with the errorCode of its events.
const faultsFile = "testdata/faults.txt"

// TestEveryFaultInTheTrail holds the errorCode of every code: whoever searches the trail depends on it.
func TestEveryFaultInTheTrail(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(faultsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		code, errorCode, _ := strings.Cut(strings.TrimSpace(line), " ")
		want[code] = errorCode
	}
	for _, c := range fault.Codes() {
		if got := errorCode(c); got != want[c.String()] {
			t.Errorf("%s has the errorCode %q, want %q by %s", c, got, want[c.String()], faultsFile)
		}
		delete(want, c.String())
	}
	if len(want) > 0 {
		t.Errorf("%s has lines of codes that do not exist: %q", faultsFile, slices.Collect(maps.Keys(want)))
	}
}
