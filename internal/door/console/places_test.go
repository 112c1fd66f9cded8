package console_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// The menu of accounts has the registries that were used last, first, and leads to the same section of another one.
func TestPlaces(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	s.NewAccount(t, "111122223333")
	v := visit(t, s).in(root)
	v.page(base + "/repositories")
	v.get("/console/000000000000/eu-west-1/repositories")
	page := v.page("/console/000000000000/eu-west-1/access-requests")
	has(t, page, `href="/console/000000000000/us-east-1/access-requests"`, "All accounts, regions and roles", "yours")
	if strings.Index(page, ">000000000000 eu-west-1<") > strings.Index(page, ">000000000000 us-east-1<") {
		t.Error("the registry of the page does not come first")
	}
	v.page("/console/000000000000/sa-east-1/access-requests")
	has(t, v.page(access+"/users"), `href="/console/000000000000/access/users" aria-current="true"`)
	has(t, v.page(access+"/policy?arn=arn:aws:iam::aws:policy/AdministratorAccess"),
		`href="/console/000000000000/access/policies" aria-current="true"`)
	v.post(access+"/roles", "name", "deploy", "path", "/", "trusts", "account", "trusted", "000000000000")
	has(t, v.page("/console/places"), "sa-east-1", "eu-west-1", "deploy", "Switch role")
	for i := range 12 {
		v.get("/console/000000000000/eu-west-" + string(rune('1'+i%9)) + "/access-requests")
	}
	if n := strings.Count(v.page("/console/places"), `<th scope="row"><a href=`); n != 8 {
		t.Errorf("got %d registries, want 8", n)
	}
	g := v.send("GET", base+"/repositories", nil, "Cookie", "ecrin-places=<script>.1/2.000000000000/%22")
	if strings.Contains(g.body, "<script>.") {
		t.Error("the cookie is shown")
	}
}

// A cookie has registries, or is ignored.
func FuzzPlacesOf(f *testing.F) {
	for _, s := range []string{"", "000000000000/us-east-1", "a/b.c", strings.Repeat("000000000000/us-east-1.", 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := console.PlacesOf(text)
		if len(all) > 8 {
			t.Errorf("%q has %d registries", text, len(all))
		}
		for _, r := range all {
			if !strings.Contains(text, r.Account.String()+"/"+r.Region.String()) {
				t.Errorf("%q has %s", text, r)
			}
		}
	})
}
