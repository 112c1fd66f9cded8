package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// The operator sees the schedules of the server and the jobs of accounts, and can cancel and retry them.
func TestJobCommands(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	if err := s.Meta().Enqueue(t.Context(), meta.NewJob{Kind: "none", Key: "about this", Account: "111122223333", Input: "{}"}); err != nil {
		t.Fatal(err)
	}
	ecrin := func(args ...string) string {
		t.Helper()
		code, out, errs := run(t, append(args, "--data", s.Dir)...)
		if code != 0 {
			t.Fatalf("ecrin %s: exit code %d, %s", strings.Join(args, " "), code, errs)
		}
		return out
	}
	all := ecrin("job", "list")
	for end := time.Now().Add(10 * time.Second); !strings.Contains(all, "expired_rows") && time.Now().Before(end); { // soon after the start
		all = ecrin("job", "list")
	}
	for _, want := range []string{"collection", "expired_rows", "none", "111122223333 about this", "QUEUED"} {
		if !strings.Contains(all, want) {
			t.Errorf("job list: got\n%s\nwant %q in it", all, want)
		}
	}
	lines := strings.Split(ecrin("job", "list", "--kind", "none", "--account", "111122223333"), "\n")
	if len(lines) != 3 {
		t.Fatalf("the jobs of a kind and account: got %q, want one", lines)
	}
	id := strings.Fields(lines[1])[0]
	if got := ecrin("job", "cancel", id); !strings.Contains(got, "state     canceled, ended ") {
		t.Errorf("job cancel: got %q", got)
	}
	if got := ecrin("job", "list", "--state", "canceled"); !strings.Contains(got, id) {
		t.Errorf("job list --state canceled: got %q, want %s", got, id)
	}
	if got := ecrin("job", "retry", id); !strings.Contains(got, "state     queued, due ") {
		t.Errorf("job retry: got %q", got)
	}
	if code, _, errs := run(t, "job", "show", "12", "--data", s.Dir); code == 0 || !strings.Contains(errs, "there is no job with the id 12") {
		t.Errorf("job show 12: got exit code %d, %q", code, errs)
	}
}
