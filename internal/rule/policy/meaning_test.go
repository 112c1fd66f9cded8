package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Each action of ECR has a meaning of its own, and nothing else has one.
func TestEachActionHasAMeaning(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, m := range policy.Meanings() {
		if m.Text == "" || m.Level == "" || !strings.HasSuffix(m.Text, ".") {
			t.Errorf("%s: got the meaning %q of the level %q", m.Action, m.Text, m.Level)
		}
		if other := seen[m.Text]; other != "" {
			t.Errorf("%s and %s mean the same", m.Action, other)
		}
		seen[m.Text] = m.Action
		if got, ok := policy.MeaningOf(strings.ToUpper(m.Action)); !ok || got != m {
			t.Errorf("%s in capitals: got %+v, %v", m.Action, got, ok)
		}
	}
	if len(seen) != len(policy.Actions()) || len(seen) < 60 {
		t.Errorf("got %d meanings, want %d", len(seen), len(policy.Actions()))
	}
	for _, none := range []string{"", "ecr:*", "ecr:Put", "iam:GetUser", "PutImage"} {
		if m, ok := policy.MeaningOf(none); ok {
			t.Errorf("%q: got %+v, want none", none, m)
		}
	}
	if m, _ := policy.MeaningOf("ecr:PutImage"); !m.OnRepository {
		t.Error("ecr:PutImage cannot name a repository")
	}
	if m, _ := policy.MeaningOf("ecr:GetAuthorizationToken"); m.OnRepository {
		t.Error("ecr:GetAuthorizationToken can name a repository")
	}
}
