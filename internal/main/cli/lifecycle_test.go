package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The commands show what a document would do and why, set it, and keep pinned images.
func TestLifecycleCommands(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	for i, tag := range []string{"v1", "v2", "v3"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i+1), 2000))
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	const text = `{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "tagged", "tagPatternList": ["v*"],
  "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}]}` + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ecrin := func(want ...string) func(args ...string) {
		t.Helper()
		return func(args ...string) {
			t.Helper()
			code, out, errs := run(t, append(args, "--data", s.Dir)...)
			if code != 0 {
				t.Fatalf("ecrin %s: exit code %d, %s", strings.Join(args, " "), code, errs)
			}
			for _, w := range want {
				if !strings.Contains(out+errs, w) {
					t.Errorf("ecrin %s: got\n%s%s\nwant %q in it", strings.Join(args, " "), out, errs, w)
				}
			}
		}
	}
	ecrin("pinned team/app@sha256:")("image", "pin", "team/app:v1", "--reason", "runs at a customer")
	ecrin("runs at a customer", ":operator")("image", "pinned", "team/app")
	ecrin("ACTION  DIGEST", "keep    sha256:", "but it is pinned", "expire  sha256:",
		"rule 1 expires it: it is number 2, last pushed first, and the rule keeps 1",
		"1 image of 3 with ", " would be deleted; 1 image is kept although a rule is due")("lifecycle", "test", file, "team/app")
	ecrin("set the lifecycle policy of team/app")("lifecycle", "put", "team/app", file)
	ecrin(text)("lifecycle", "get", "team/app")
	ecrin("unpinned team/app@sha256:")("image", "unpin", "team/app:v1")
	ecrin("no image of team/app is pinned")("image", "pinned", "team/app")
	ecrin("nothing that was reported runs team/app:v1")("image", "uses", "team/app:v1")
	ecrin("")("report", "deployed", "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/app:v1", "--application", "shop", "--namespace", "prod")
	ecrin("USED BY", "application/prod/shop")("image", "uses", "team/app:v1")
	ecrin(`"usedBy": "application/prod/shop"`)("image", "uses", "team/app:v1", "--json")
	ecrin("deleted: no rule of it acts")("lifecycle", "delete", "team/app", "--document", "policy")
	for args, want := range map[string]string{
		"lifecycle get team/app":                 "Lifecycle policy does not exist",
		"lifecycle delete team/app":              "Lifecycle policy does not exist",
		"lifecycle preview team/app":             "Lifecycle policy does not exist",
		"lifecycle put team/app":                 "REPOSITORY and FILE are needed, got 1 argument",
		"lifecycle get team/app:v1":              "want REPOSITORY",
		"lifecycle delete team/app --document x": "--document must be policy or extension",
		"image pin team/app":                     "want REPOSITORY:TAG or REPOSITORY@DIGEST",
		"image uses team/app":                    "want REPOSITORY:TAG or REPOSITORY@DIGEST",
		"image uses team/app:none":               "Requested image not found",
		"image pin team/app:none":                "Requested image not found",
		"image unpin team/app:v3":                "is not pinned",
	} {
		if code, _, errs := run(t, append(strings.Fields(args), "--data", s.Dir)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("ecrin %s: got exit code %d, %q, want %q", args, code, errs, want)
		}
	}
}
