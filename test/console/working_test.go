package console_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Lifecycle preview: a person picks a template, sees what it would do on the images that are there, changes the text, is held back from
// saving what was not seen, previews it and saves it. What is pinned is named.
func TestLifecyclePreview(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	for i := range 12 {
		repo.Push(t, fmt.Sprintf("1.0.%d", i), ocitest.NewImage(uint64(i), 30000, 9000))
	}
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("team/app")
	b.click("Lifecycle")
	b.see("No lifecycle policy", "The newest 30 images stay", "0 images")
	b.shot("lifecycle-none")
	b.click("The newest 30 images stay")
	b.see("A template: nothing is saved yet", "Nothing would go now")
	b.fill("Lifecycle policy, JSON", `{"rules":[{"rulePriority":1,"description":"three newest stay",
  "selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}}]}`)
	b.click("Save policy")
	b.see("Nothing was saved yet", "9 of 12", "First to go", "1.0.0")
	b.shot("lifecycle-light")
	b.dark(true)
	b.shot("lifecycle-dark")
	b.width(390)
	b.shot("lifecycle-390")
	b.width(1440)
	b.dark(false)
	b.click("Save policy")
	b.see("The lifecycle policy was saved.", "Delete policy") // which may have acted already
	b.click("Jobs")
	b.see("Lifecycle", "team/app")
	b.shot("jobs-light")
	b.click("Audit")
	b.see("ecr:PutLifecyclePolicy", "Show")
	b.shot("audit-light")
	b.click("Events")
	b.see("ECR Image Action", "Add webhook")
	b.shot("events-light")
	b.click("Pull-through")
	b.fill("Prefix of names here", "quay")
	b.fill("Upstream registry", "quay.io")
	b.click("Add rule")
	b.see("The rule was created.", "quay.io")
	b.shot("pull-through-light")
	b.click("Replication")
	b.fill("Replication configuration, JSON", `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"000000000000"},
  {"region":"edge-lyon-1","registryId":"000000000000"}]}]}`)
	b.click("Save rules")
	b.see("The replication rules were saved.", "eu-west-1", "up to date")
	b.shot("replication-light")
	b.click("Templates")
	b.see("No templates", "Create template")
	b.shot("templates-light")
	b.click("Usage")
	b.see("Pulls by day", "Largest repositories", "team/app")
	b.shot("usage-light")
	b.dark(true)
	b.shot("usage-dark")
	b.width(390)
	b.shot("usage-390")
}

// The first push turns the page of the first start into the list of repositories; two tags are compared.
func TestFirstPushAndCompare(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	b := newBrowser(t, s)
	b.signIn(root)
	b.see("Waiting for the first push", "data folder")
	b.click("podman")
	b.see("podman push --tls-verify=false")
	b.dark(true)
	b.shot("welcome-dark")
	b.dark(false)
	b.width(390)
	b.shot("welcome-390")
	b.width(1440)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0", ocitest.NewImage(1, 3000, 500))
	b.see("Last push", "team/app") // by itself
	repo.Push(t, "1.1", ocitest.NewImage(2, 3000, 700))
	b.click("team/app")
	b.see("podman pull")
	b.click("View push commands")
	b.see("podman push --tls-verify=false IMAGE")
	b.shot("push-commands")
	b.click("1.1")
	b.fill("Compare with tag or digest", "1.0")
	b.click("Compare")
	b.see("what differs?", "To pull, with the old one there")
	b.shot("compare-light")
}
