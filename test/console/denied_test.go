package console_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A pull of another account is denied, explained, granted from the explanation after a preview, and works; a push is asked for by the other
// account, approved until a day, and works.
func TestDeniedExplainGrantPull(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, other := s.Root(t), s.NewAccount(t, "111122223333")
	image := ocitest.NewImage(1, 3000)
	root.CreateRepository(t, "team/app").Push(t, "1.4.2", image)
	client := other.Docker(t)
	client.Prefix = ""
	pull := func() int { return client.Repo("team/app").Manifest(t, "1.4.2").Status }
	if got := pull(); got != 403 && got != 404 {
		t.Fatalf("before the grant: got %d", got)
	}
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Denied requests")
	b.see("111122223333", "ecr:BatchGetImage", "in 1 group")
	b.shot("ecr-denied")
	b.click("Explain")
	b.see("The decision, layer by layer", "What you can do")
	b.shot("ecr-explained")
	b.click("Preview grant of pull")
	b.see("Change to the policy", "arn:aws:iam::111122223333:root")
	b.shot("ecr-grant")
	b.click("Grant pull")
	b.see("Granted pull to", "every principal of account 111122223333")
	b.shot("ecr-granted")
	if got := pull(); got != 200 {
		t.Errorf("after the grant: got %d, want 200", got)
	}
	b.click("Requests for access")
	b.see("Nobody asks for access")

	guest := newBrowser(t, s)
	guest.signIn(other)
	guest.click("Requests for access")
	guest.click("Ask for access")
	guest.fill("Address", "push:000000000000/us-east-1/team/app")
	guest.fill("Reason", "releases of team/app from our CI")
	guest.click("Ask for access")
	guest.see("Access was asked for.", "open", "Withdraw request")
	b.click("Requests for access")
	b.see("releases of team/app from our CI")
	b.shot("requests-light")
	b.click("push team/app")
	b.see("What an approval changes", "With the grant")
	b.shot("request-light")
	b.dark(true)
	b.width(390)
	b.shot("request-390")
	b.width(1440)
	b.dark(false)
	b.click("Approve")
	b.see("Granted until the end of", "Revoke access")
	client.Repo("team/app").Push(t, "1.4.3", ocitest.NewImage(2, 3000))
	guest.click("Requests for access")
	guest.click("Yours")
	guest.see("granted")
}
