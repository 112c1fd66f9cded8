package clients_test

import (
	"os"
	"strings"
	"testing"
)

// TestRecipes runs the commands of docs/recipes.md, as they are written, against a server with the names of ECR, and looks at
// what the tools read of the answers. Each section says that the tool itself was not run, but that of Terraform, which TestTerraform runs.
func TestRecipes(t *testing.T) {
	s := rowSession(t)
	content, err := os.ReadFile(treeRoot + "/docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	s.repo("team/app")
	s.pushImage("team/app", "v1")
	s.env = append(s.env, "GITHUB_OUTPUT="+s.path("output"))
	sections := strings.Split(string(content), "\n## ")
	if len(sections) != 8 {
		t.Fatalf("docs/recipes.md has %d sections, want 7", len(sections)-1)
	}
	const tags = `"tags":["v1"]`
	for _, section := range sections[1:] {
		tool, text, _ := strings.Cut(section, "\n")
		if tool == "Terraform" {
			continue
		}
		if !strings.HasPrefix(strings.TrimSpace(text), "Not run against the tool itself.") {
			t.Errorf("%s: the section does not begin with what was tested", tool)
		}
		var said []string
		for line := range strings.Lines(text) {
			if command, ok := strings.CutPrefix(line, "    "); ok {
				said = append(said, s.cmd("sh", "-c", strings.TrimSpace(command)).ok())
			}
		}
		all := strings.ReplaceAll(strings.Join(said, "\n"), " ", "")
		want, known := map[string]string{
			"Flux": tags, "Argo CD Image Updater": "AWS:", "Kargo": "arn:aws:iam::" + account + ":role/kargo-project-shop",
			"Renovate": tags, "GitHub Actions": "::add-mask::", "Jenkins": "v1",
		}[tool]
		if !known || !strings.Contains(all, want) {
			t.Errorf("%s: its commands print %q, want %q", tool, all, want)
		}
		switch tool {
		case "Argo CD Image Updater":
			if got := strings.TrimSpace(all); strings.Contains(got, "\n") || strings.Count(got, ":") != 1 {
				t.Errorf("%s: got %d colons and %d line ends, want one line USER:PASSWORD", tool, strings.Count(got, ":"), strings.Count(got, "\n"))
			}
		case "Kargo":
			s.cmd("aws", "iam", "create-user", "--user-name", "kargo").ok()
			made := s.cmd("aws", "iam", "create-access-key", "--user-name", "kargo").ok()
			s.cmd("aws", "iam", "put-user-policy", "--user-name", "kargo", "--policy-name", "assume", "--policy-document",
				`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`).ok()
			kargo := s.as(fromJSON[struct{ AccessKey accessKey }](t, made).AccessKey)
			assume := []string{"sts", "assume-role", "--role-arn", "arn:aws:iam::" + account + ":role/kargo-project-shop",
				"--role-session-name", "kargo"}
			kargo.cmd("aws", assume...).fails()
			kargo.cmd("aws", append(assume, "--external-id", "other")...).fails()
			kargo.cmd("aws", append(assume, "--external-id", "shop")...).ok()
		}
	}
}
