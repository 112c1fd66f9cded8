package ociapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// faultsFile contains a block for each code: the answers to PUT and GET, and to PUT with the quirk status-405.
const faultsFile = "testdata/faults.txt"

// The answer for every code is that in faultsFile. A new code needs a block there; a changed block is a change for
// clients.
func TestEveryFaultOnTheWire(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(faultsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		code, _, _ := strings.Cut(block, "\n")
		want[code] = strings.TrimSpace(block)
	}
	for _, c := range fault.Codes() {
		got := strings.TrimSpace(faultBlock(c))
		if got != want[c.String()] {
			t.Errorf("%s: got the answers\n%s\nwant, by %s,\n%s", c, got, faultsFile, want[c.String()])
		}
		delete(want, c.String())
	}
	if len(want) > 0 {
		t.Errorf("%s has blocks for unknown codes: %q", faultsFile, slices.Collect(maps.Keys(want)))
	}
}

func faultBlock(c fault.Code) string {
	var b strings.Builder
	fmt.Fprintln(&b, c)
	for _, one := range []struct {
		method, label string
		status405     bool
	}{{http.MethodPut, "PUT", false}, {http.MethodGet, "GET", false}, {http.MethodPut, "PUT status-405", true}} {
		a := &API{quirks: registry.Quirks{Status405: one.status405}}
		w := httptest.NewRecorder()
		a.fail(w, httptest.NewRequest(one.method, "http://localhost:5100/v2/", nil), c.New("public text"))
		answer := fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
		if after := w.Header().Get("Retry-After"); after != "" {
			answer += ", Retry-After: " + after
		}
		fmt.Fprintf(&b, "  %s: %s\n", one.label, answer)
	}
	return b.String()
}
