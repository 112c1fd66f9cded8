package cli_test

import (
	"encoding/json"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// ecrin version tells what was built, from which commit, with which Go, and which schema it brings a database to.
func TestVersion(t *testing.T) {
	code, out, errs := run(t, "version")
	want := regexp.MustCompile(`^version: .+\ncommit: +.+\ngo: +` + regexp.QuoteMeta(runtime.Version()) + ` \w+/\w+\nschema: +[0-9]+\n$`)
	if code != 0 || !want.MatchString(out) {
		t.Errorf("ecrin version: got %d, %q, %q, want %s", code, out, errs, want)
	}
	defer cli.SetCommit("0123abc+")()
	if _, out, _ := run(t, "version"); !strings.Contains(out, "0123abc, with changes that are not committed") {
		t.Errorf("with the commit of make build: got %q", out)
	}
	code, out, _ = run(t, "version", "--json")
	var v struct {
		Version, Commit, Go, Platform string
		Schema                        int
	}
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v.Version == "" || v.Go != runtime.Version() ||
		v.Platform != runtime.GOOS+"/"+runtime.GOARCH || v.Schema < 6 {
		t.Errorf("ecrin version --json: got %d, %s, %v", code, out, err)
	}
}
