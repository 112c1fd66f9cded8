package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The previews of deletions name the customers who are entitled to what goes and what runs it, and say how long it can be restored. A
// repository is not deleted over entitlements unless the form says so.
func TestDeletionsSayWhoIsHit(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	shopAPI := root.CreateRepository(t, "shop/api")
	shopAPI.Push(t, "1.0.0", ocitest.NewImage(1, 100))
	shopAPI.Push(t, "2.0.0", ocitest.NewImage(2, 100))
	root.CreateRepository(t, "team/free").Push(t, "1", ocitest.NewImage(3, 100))
	at := base + "/repositories/shop/api"
	has(t, v.page(at+"/-/delete"), "Nothing that was reported runs it", "for 7 days")
	_, customer := shop(t, v)
	if g := v.post(customer+"/entitle", "do", "entitle", "repositories", "shop/*", "versions", "2"); g.status != http.StatusSeeOther {
		t.Fatalf("entitling: got %d\n%s", g.status, g.body)
	}
	runsIn(t, s, "checkout", "prod", ownHost+"shop/api:1.0.0")

	named, runs := "Northwind Freight of mysampleecrapp", "prod/checkout runs 1.0.0"
	page := v.post(at, "do", "delete", "pick", "1.0.0").body
	if has(t, page, runs, "for 7 days"); strings.Contains(page, named) {
		t.Error("the preview names a customer who is not entitled to the tag")
	}
	page = v.post(at, "do", "delete", "pick", "2.0.0").body
	if has(t, page, named, "is refused"); strings.Contains(page, runs) {
		t.Error("the preview names what runs another image")
	}
	has(t, v.page(at+"/-/delete"), named, runs, `name="entitled"`)
	if page := v.page(base + "/repositories/team/free/-/delete"); strings.Contains(page, `name="entitled"`) {
		t.Error("a repository to which nobody is entitled asks for it")
	}
	g := v.post(at+"/-/delete", "name", "shop/api")
	if g.status != http.StatusBadRequest || repositories(t, root) != 2 {
		t.Errorf("deletion over entitlements: got %d", g.status)
	}
	has(t, g.body, `value="shop/api"`, "Nothing was deleted")
	half := visit(t, s).in(userWith(t, s, root, "half",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`))
	has(t, half.page(at+"/-/delete"), "You may not see which customers", "ecrin:DescribeApplications", "You may not see what runs it",
		`name="entitled"`)
	if g := half.post(at+"/-/delete", "name", "shop/api"); g.status != http.StatusBadRequest || repositories(t, root) != 2 {
		t.Errorf("deletion by who may not see entitlements: got %d", g.status)
	}
	if g := v.post(at+"/-/delete", "name", "shop/api", "entitled", "yes"); g.status != http.StatusSeeOther || repositories(t, root) != 1 {
		t.Errorf("deletion that says so: got %d\n%s", g.status, g.body)
	}
}
