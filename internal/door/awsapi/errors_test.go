package awsapi_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// faultsFile contains a block for each code: the answers of the JSON and the query protocol, and the exceptions of the
// operations of ECR, each with the number of operations that return it.
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
	for _, service := range []string{"ecr", "iam"} {
		w := awsapi.Failure(service, c.New("public text"))
		answer := strings.TrimSpace(w.Header().Get("X-Amzn-Errortype") + " " + strings.ReplaceAll(w.Body.String(), "\n", ""))
		fmt.Fprintf(&b, "  %s %d %s\n", service, w.Code, answer)
	}
	count := map[string]int{}
	for _, o := range awsapi.ECROperations() {
		count[awsapi.JSONName(o.Name, c)]++
	}
	for _, exception := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "  %d operations: %s\n", count[exception], exception)
	}
	return b.String()
}
