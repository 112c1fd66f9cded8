package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Each row is refused without a session and with one that has ended, and a page of a form is accepted by POST only: the rows say themselves
// what is open. Someone with no rights gets no page with content of the registry.
func TestRowsAndCredentials(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "secret/canary")
	stranger, nobody := visit(t, s), visit(t, s).in(s.NewAccount(t, "111122223333"))
	for _, row := range console.Rows() {
		path := "/console/" + strings.NewReplacer("{account}", "000000000000", "{region}", "us-east-1", "{repo}", "secret/canary",
			"{tag}", "1", "{digest}", "sha256:"+strings.Repeat("0", 64), "{id}", "x", "{kind}", "users", "{name}", "x", "{policy}", "x",
			"{app}", "shop", "{customer}", "x", "{channel}", "stable", "{sequence}", "1").Replace(row.Path)
		var form url.Values
		if row.Method == http.MethodPost {
			form = url.Values{}
		}
		for what, header := range map[string][]string{"no session": nil, "an unknown session": {"Cookie", "ecrin-session=" +
			strings.Repeat("B", 43)}} {
			g := stranger.send(row.Method, path, form, header...)
			if row.Open {
				continue
			}
			if g.status != http.StatusSeeOther || !strings.HasPrefix(g.location, "/console/signin") {
				t.Errorf("%s %s with %s: got %d to %q, want the form to sign in", row.Method, path, what, g.status, g.location)
			}
		}
		if row.Method == http.MethodPost && !row.Open {
			if g := nobody.send(row.Method, path, form); g.status != http.StatusForbidden {
				t.Errorf("POST %s without the token of a form: got %d", path, g.status)
			}
			continue
		}
		if row.Method != http.MethodGet || row.Open {
			continue
		}
		g := nobody.get(path)
		if g.status == http.StatusInternalServerError {
			t.Errorf("GET %s by another account: got %d\n%s", path, g.status, g.body)
		}
	}
	if g := nobody.get("/console/denied/x"); strings.Contains(g.body, "There is no such page") {
		t.Error("the address of a denied request is taken for that of a registry")
	}
	if g := nobody.get(base + "/repositories"); strings.Contains(g.body, "canary") {
		t.Error("another account sees the repositories")
	}
}
