package console_test

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A person pastes manifests, sees that an account cannot pull, grants it in one step on the page of the repository, and checks again.
func TestPreflightWalk(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	other := s.NewAccount(t, "111122223333")
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Preflight")
	b.fill("Manifests", "apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec:\n  containers:\n  - {name: web, image: \""+
		root.ID+".dkr.ecr.us-east-1.amazonaws.com/team/app:1.0\"}\n  - {name: old, image: \""+
		root.ID+".dkr.ecr.us-east-1.amazonaws.com/team/app:0.9\"}\n  - {name: hub, image: nginx}\n")
	b.fill("Principal that pulls", "arn:aws:iam::"+other.ID+":root")
	b.click("Check")
	b.see("0 of 3 images are ready", "the nearest tags are 1.0", "of another registry",
		"the policy of the repository does not let arn:aws:iam::111122223333:root pull")
	b.pictures("preflight")
	b.looks("preflight")
	b.do("the link of the row", chromedp.Click(`main td a[href$="/-/permissions"]`))
	b.fill("Account or ARN", other.ID)
	b.click("Preview grant")
	b.click("Grant pull")
	b.see("Granted pull to")
	b.click("Preflight")
	b.fill("Manifests", "services: {web: {image: '"+root.ID+".dkr.ecr.us-east-1.amazonaws.com/team/app:1.0'}}")
	b.fill("Principal that pulls", "arn:aws:iam::"+other.ID+":root")
	b.click("Check")
	b.see("All images can be pulled", "as far as the repository decides")
	b.pictures("preflight-ready")
}
