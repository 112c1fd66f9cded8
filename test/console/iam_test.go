package console_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"

	cdp "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// download clicks what downloads a file, and returns its content.
func (b *browser) download(words string) []byte {
	b.t.Helper()
	dir := b.t.TempDir()
	done := make(chan string, 1)
	chromedp.ListenTarget(b.ctx, func(ev any) {
		if ev, ok := ev.(*cdp.EventDownloadProgress); ok && ev.State == cdp.DownloadProgressStateCompleted {
			select {
			case done <- ev.GUID:
			default:
			}
		}
	})
	b.do("allowing downloads", cdp.SetDownloadBehavior(cdp.SetDownloadBehaviorBehaviorAllowAndName).WithDownloadPath(dir).
		WithEventsEnabled(true))
	b.click(words)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	select {
	case name := <-done:
		file, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b.t.Fatal(err)
		}
		return file
	case <-ctx.Done():
		b.t.Fatalf("%s downloads nothing\n%s", words, b.text())
	}
	return nil
}

// The walk of the guide for access keys: Users > NAME > Security credentials > Create access key: the use case, the description, the
// file, Done. The key of the file pulls.
func TestAccessKeyWalk(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Users")
	b.see("No users yet")
	b.shot("users-empty-light")
	b.click("Create user")
	b.fill("User name", "ci")
	b.click("Create user")
	b.see("The user was created.", "No policies")
	b.fill("Policy ARN", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
	b.click("Attach policy")
	b.see("was attached.", "AWS managed")
	b.shot("user-light")
	b.click("Users")
	b.see("1 user, by name")
	b.shot("users-light")
	b.click("ci")
	b.click("Security credentials")
	b.see("No access keys")
	b.click("Create access key")
	b.see("Use case")
	b.click("Third-party service")
	b.shot("access-key-use-light")
	b.click("Next")
	b.see("There is better than a key for this")
	b.shot("access-key-better-light")
	b.click("I understand the above recommendation")
	b.click("Next")
	b.fill("Description tag value (optional)", "deploy platform")
	b.click("Create access key")
	b.see("Retrieve access keys", "This is the only time")
	b.shot("access-key-light")
	rows, err := csv.NewReader(bytes.NewReader(b.download("Download .csv file"))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "ci" {
		t.Fatalf("got %q, %v", rows, err)
	}
	b.click("Done")
	b.see("deploy platform", "Active")
	b.shot("security-credentials-light")
	b.dark(true)
	b.shot("security-credentials-dark")
	b.width(390)
	b.shot("security-credentials-390")
	b.width(1440)
	b.dark(false)
	ci := root
	ci.KeyID, ci.Secret = rows[1][1], rows[1][2]
	if got := ci.Docker(t).Repo("team/app").Manifest(t, "1.0").Status; got != 200 {
		t.Errorf("pulling with the key of the file: got %d, want 200", got)
	}
	b.click("Roles")
	b.click("Create role")
	b.fill("Role name", "deploy")
	b.shot("create-role-light")
	b.click("Create role")
	b.see("Trust policy", "every principal of account 000000000000")
	b.shot("role-trust-light")
	b.click("Policies")
	b.click("Create policy")
	b.fill("Policy name", "pull-team")
	b.fill("Policy text, JSON", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Acton":"ecr:*","Resource":"*"}]}`)
	b.click("Check")
	b.see("Acton")
	b.shot("create-policy-error-light")
	b.fill("Policy text, JSON", `{"Version":"2012-10-17","Statement":[{"Sid":"Pull","Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}]}`)
	b.click("Create policy")
	b.see("The policy was created.", "Versions", "ecr:BatchGetImage")
	b.shot("policy-light")
	b.dark(true)
	b.shot("policy-dark")
}
