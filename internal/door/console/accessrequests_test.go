package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A denied pull is explained, asked for, approved until a day after a preview, works, and ends when it is revoked.
func TestRequestsForAccess(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, other := s.Root(t), s.NewAccount(t, "111122223333")
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	client := other.Docker(t)
	client.Prefix = ""
	pull := func() int { return client.Repo("team/app").Manifest(t, "1.0").Status }
	for range 3 {
		if got := pull(); got == 200 {
			t.Fatal("it is not denied")
		}
	}
	owner, guest := visit(t, s).in(root), visit(t, s).in(other)
	list := "/console/000000000000/us-east-1/access-requests"
	has(t, owner.page(list), "Nobody asks for access")
	page := owner.page(access + "/denied")
	has(t, page, "1 group")
	explained := regexp.MustCompile(`href="(/console/denied/[^"]+)"`).FindStringSubmatch(page)
	if explained == nil {
		t.Fatal("no explanation")
	}
	has(t, owner.page(explained[1]), "Preview grant of pull")
	g := guest.get(explained[1])
	has(t, g.body, "Ask for access", "/console/ask?address=pull%3A000000000000%2Fus-east-1%2Fteam%2Fapp")
	has(t, guest.page("/console/ask?address=pull:000000000000/us-east-1/team/app"), "team/app", "000000000000/us-east-1")
	const evil = `"><script>alert(1)</script>`
	g = guest.post("/console/ask", "address", evil, "reason", evil)
	if g.status != http.StatusBadRequest || strings.Contains(g.body, "<script>") {
		t.Errorf("got %d\n%s", g.status, g.body)
	}
	g = guest.post("/console/ask", "address", "pull:000000000000/us-east-1/team/app", "reason", evil)
	if g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	at := g.location
	has(t, guest.page(at), "Withdraw request", "open")
	if page := guest.page(at); strings.Contains(page, ">Approve<") || strings.Contains(page, "<script>") {
		t.Error("who asks can approve, or a reason is markup")
	}
	has(t, guest.page("/console/111122223333/us-east-1/access-requests?own=1"), "team/app", "open")
	if g := guest.get(list); g.status != http.StatusForbidden {
		t.Errorf("the list of the owner, by the guest: got %d", g.status)
	}
	if g := guest.post(at, "do", "approve", "until", "2099-01-01"); g.status == http.StatusSeeOther {
		t.Error("who asks has approved")
	}
	has(t, owner.page(list+"?status=open"), "team/app", "&#34;&gt;&lt;script&gt;")
	page = owner.page(at)
	has(t, page, "What an approval changes", "ecr:BatchGetImage", "Approve", "Refuse")
	if g := owner.post(at, "do", "approve", "until", "soon"); g.status != http.StatusBadRequest {
		t.Errorf("got %d", g.status)
	}
	until := regexp.MustCompile(`name="until"[^>]* value="([0-9-]+)"`).FindStringSubmatch(page)
	if g := owner.post(at, "do", "approve", "until", until[1], "tags", "1.*", "note", evil); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, owner.page(at), "Granted until the end of", "Revoke access", "granted")
	if got := pull(); got != 200 {
		t.Errorf("after the approval: got %d, want 200", got)
	}
	if g := owner.post(at, "do", "revoke"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if got := pull(); got == 200 {
		t.Error("after the revocation it pulls")
	}
	at = guest.post("/console/ask", "address", "push:000000000000/us-east-1/team/app").location
	if g := owner.post(at, "do", "refuse", "note", "not yours"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, guest.page(at), "refused", "not yours")
	if g := visit(t, s).in(s.NewAccount(t, "222233334444")).get(at); g.status != http.StatusNotFound {
		t.Errorf("a stranger sees the request: got %d", g.status)
	}
}
