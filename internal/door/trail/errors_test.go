package trail

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// faultsFile contains for each code a line with the errorCode of its events.
const faultsFile = "testdata/faults.txt"

// The errorCode of every code is that in faultsFile: programs that search the trail depend on it.
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
		t.Errorf("%s has lines for unknown codes: %q", faultsFile, slices.Collect(maps.Keys(want)))
	}
}
