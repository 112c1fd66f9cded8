package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The field that finds offers a few repositories, tags, pages and actions, of those that the person may see.
func TestPalette(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.4.2", ocitest.NewImage(1, 100))
	for _, other := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		root.CreateRepository(t, "many/repo-"+other)
	}
	v := visit(t, s).in(root)
	find := func(v *visitor, text string) string {
		t.Helper()
		g := v.send(http.MethodGet, base+"/palette?part=palette&find="+url.QueryEscape(text), nil, "HX-Request", "true")
		if g.status != http.StatusOK || strings.Contains(g.body, "<html") || strings.Contains(g.body, "<script>alert") {
			t.Fatalf("%q: got %d\n%s", text, g.status, g.body)
		}
		return g.body
	}
	has(t, find(v, "app"), "team/<b>app</b>", base+"/repositories/team/app", "1 image")
	has(t, find(v, "1.4"), "team/app<b>:1.4</b>.2", base+"/repositories/team/app/-/tags/1.4.2")
	has(t, find(v, "tag:1.4"), "team/app<b>:1.4</b>.2")
	has(t, find(v, "USERS"), ">Pages<", "<b>Users</b>", "/access/users")
	has(t, find(v, "putim"), ">Actions<", "ecr:<b>PutIm</b>age", "/console/actions/ecr:PutImage")
	if n := strings.Count(find(v, "repo-"), `href="`+base+"/repositories/many/"); n != 6 {
		t.Errorf("got %d repositories, want the first six", n)
	}
	has(t, find(v, "zzz"), "0 answers", "search everything")
	for _, text := range []string{"", canary, "*", "[", "é", "\x00", "a b", strings.Repeat("x", 5000), "label:a=b", "sha256:00", "İ", "tag:"} {
		find(v, text)
	}
	has(t, v.page(base+"/palette?find=app"), "<html", "team/<b>app</b>")
	has(t, v.page(base+"/repositories"), `data-palette="`+base+`/palette?part=palette&amp;find="`)
	if page := find(visit(t, s).in(s.NewAccount(t, "111122223333")), "app"); strings.Contains(page, "team/") {
		t.Errorf("another account finds the repository:\n%s", page)
	}
}
