package cli_test

import (
	"encoding/json"
	"regexp"
	"runtime"
	"testing"
)

// ecrin version tells what was built, from which commit, with which Go, and which schema it brings a database to.
func TestVersion(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "version")
	want := regexp.MustCompile(`^version: .+\ncommit: +.+\ngo: +` + regexp.QuoteMeta(runtime.Version()) + ` \w+/\w+\nschema: +[0-9]+\n$`)
	if code != 0 || !want.MatchString(out) {
		t.Errorf("ecrin version: got %d, %q, %q, want %s", code, out, errs, want)
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
