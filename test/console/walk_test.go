package console_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A person signs in, creates a repository, finds its images after a push, opens a tag, and signs out.
func TestSignInAndLook(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	b := newBrowser(t, s)
	b.signIn(root)
	b.see("Your registry is running", "Waiting for the first push", "data folder")
	b.shot("welcome-light")
	b.click("Skip to the console")
	b.see("No repositories yet")
	b.shot("repositories-empty-light")
	b.click("Create repository")
	b.fill("Name", "Team/App")
	b.click("Create repository")
	b.see("This was not accepted")
	b.fill("Name", "team/app")
	b.click("Create repository")
	b.see("No tags yet", "The repository was created.")
	repo := root.Docker(t).Repo("team/app")
	for i, tag := range []string{"1.4.0", "1.4.2", "1.4.0-rc.1", "latest"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(min(i, 1)), 30000, 9000))
	}
	for i := range 4 {
		root.CreateRepository(t, fmt.Sprint("other/r", i)).Push(t, "1", ocitest.NewImage(uint64(i+9), 1000))
	}
	b.open("/console/")
	b.see("team/app", "other/r3")
	b.shot("repositories-light")
	b.click("team/app")
	b.see("1.4.2", "1.4.0-rc.1", "docker pull")
	b.shot("tags-light")
	b.dark(true)
	b.shot("tags-dark")
	b.width(390)
	b.shot("tags-390")
	b.width(1440)
}

// The walk of the ECR guide: Actions > Permissions > Edit policy JSON > Save > the table of statements > the page of an action; then a
// denied pull of another account is explained, granted in one step, and works.
func TestPermissionsWalk(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, other := s.Root(t), s.NewAccount(t, "111122223333")
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	client := other.Docker(t)
	client.Prefix = ""
	theirs := func() int { return client.Repo("team/app").Manifest(t, "1.0").Status }
	if got := theirs(); got != 403 && got != 404 {
		t.Fatalf("before the grant: got %d", got)
	}
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Actions for team/app")
	b.click("Permissions")
	b.see("No repository policy", "Who can pull this?")
	b.shot("permissions-none")
	b.fill("Account or ARN", "111122223333")
	b.click("Preview grant")
	b.see("Change to the policy", "arn:aws:iam::111122223333:root")
	b.shot("permissions-grant")
	b.click("Grant pull")
	b.see("Granted pull to 111122223333.", "every principal of account 111122223333")
	b.shot("permissions-light")
	if got := theirs(); got != 200 {
		t.Errorf("after the grant: got %d, want 200", got)
	}
	b.click("Edit policy JSON")
	b.fill("Policy text, JSON",
		"{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    { \"Effect\": \"Allow\", \"Principal\": \"*\", \"Acton\": \"ecr:*\" }\n  ]\n}")
	b.click("Check")
	b.see("4:", "Acton")
	b.dark(true)
	b.shot("permissions-error-dark")
	b.fill("Policy text, JSON",
		`{"Version":"2012-10-17","Statement":[{"Sid":"NoOne","Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"ecr:BatchGetImage"}]}`)
	b.click("Check")
	b.click("Save")
	b.see("The policy was saved.", "NoOne", "Denies")
	if got := theirs(); got == 200 {
		t.Error("the policy that denies is not in force")
	}
	b.click("ecr:BatchGetImage")
	b.see("What it allows", "the first half of a pull", "on repositories")
	b.dark(false)
	b.pictures("action")
	b.click("pull")
	b.see("Needed for", "ecr:GetAuthorizationToken", "8 actions")
	b.pictures("actions")
	b.dark(true)
	b.click("Denied requests")
	b.see("111122223333")
	b.shot("denied-dark")
	b.click("Explain")
	b.see("The decision, layer by layer", "NoOne")
	b.shot("explained-dark")
}
