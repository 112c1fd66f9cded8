package apply_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/apply"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// server is a real server as its operator reaches it.
type server struct{ *client.Client }

func (s server) CreateAccount(ctx context.Context, id, alias string) error {
	in := &ecrintypes.CreateAccountRequest{AccountId: id, Alias: alias}
	return s.Client.Call(ctx, "CreateAccount", in, &ecrintypes.CreateAccountResponse{})
}

func (s server) Call(ctx context.Context, region, operation string, in, out any) error {
	return s.Client.In(region).Call(ctx, operation, in, out)
}

func start(t *testing.T) server {
	t.Helper()
	c, err := client.Open(apptest.Start(t, apptest.Options{}).Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return server{c}
}

// run applies a text and returns the objects that were changed.
func (s server) run(t *testing.T, text string) (changed []string) {
	t.Helper()
	f, err := apply.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := apply.New(t.Context(), s, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), func(c *apply.Change) { changed = append(changed, c.Object()) }); err != nil {
		t.Fatal(err)
	}
	return changed
}

// A file with everything is applied once: the second time nothing differs, and the clients of AWS see what it says.
func TestEverythingIsAppliedOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	text, err := os.ReadFile("testdata/two-accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.run(t, string(text)); len(got) != 11 {
		t.Errorf("the first time: got %q, want 11 changes", got)
	}
	if got := s.run(t, string(text)); len(got) != 0 {
		t.Errorf("the second time: got %q, want no change", got)
	}
	cfg, err := s.Config(t.Context(), "000000000000")
	if err != nil {
		t.Fatal(err)
	}
	i, e := iam.NewFromConfig(cfg), ecr.NewFromConfig(cfg)
	keys, err := i.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: aws.String("ci")})
	if err != nil || len(keys.AccessKeyMetadata) != 1 {
		t.Errorf("the keys of ci: got %+v, %v, want one", keys, err)
	}
	role, err := i.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("deploy")})
	if err != nil || aws.ToInt32(role.Role.MaxSessionDuration) != 7200 {
		t.Errorf("the role: got %+v, %v, want sessions of 7200 s", role, err)
	}
	registry, err := e.DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil || len(registry.ReplicationConfiguration.Rules) != 1 || len(registry.ReplicationConfiguration.Rules[0].Destinations) != 2 {
		t.Errorf("the replication: got %+v, %v, want one rule with two destinations", registry, err)
	}
	if _, err := e.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app")}); err == nil ||
		!strings.Contains(err.Error(), "protect") {
		t.Errorf("the deletion of the repository: got %v, want the refusal of its protection", err)
	}
}

// Lists that a file has are made equal, those that it leaves out stay.
func TestOnlyWhatTheFileNamesChanges(t *testing.T) {
	t.Parallel()
	s := start(t)
	const (
		pull = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
		push = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
	)
	user := func(settings string) string {
		return `{accounts: {"000000000000": {groups: {a: {}, b: {}}, users: {ci: ` + settings + `}}}}`
	}
	cfg, err := s.Config(t.Context(), "000000000000")
	if err != nil {
		t.Fatal(err)
	}
	i := iam.NewFromConfig(cfg)
	want := func(what string, changed []string, n int, policies, groups []string) {
		t.Helper()
		if len(changed) != n {
			t.Errorf("%s: got the changes %q, want %d", what, changed, n)
		}
		attached, err := i.ListAttachedUserPolicies(t.Context(), &iam.ListAttachedUserPoliciesInput{UserName: aws.String("ci")})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range attached.AttachedPolicies {
			got = append(got, aws.ToString(p.PolicyArn))
		}
		if slices.Sort(got); !slices.Equal(got, policies) {
			t.Errorf("%s: got the policies %q, want %q", what, got, policies)
		}
		in, err := i.ListGroupsForUser(t.Context(), &iam.ListGroupsForUserInput{UserName: aws.String("ci")})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, g := range in.Groups {
			got = append(got, aws.ToString(g.GroupName))
		}
		if slices.Sort(got); !slices.Equal(got, groups) {
			t.Errorf("%s: got the groups %q, want %q", what, got, groups)
		}
	}
	want("the first file", s.run(t, user(`{policies: ["`+pull+`"], groups: [a], inline: {x: {Version: "2012-10-17", Statement: {Effect: Deny, Action: "*", Resource: "*"}}}}`)), 3,
		[]string{pull}, []string{"a"})
	want("no lists", s.run(t, user(`{}`)), 0, []string{pull}, []string{"a"})
	want("other lists", s.run(t, user(`{policies: ["`+push+`"], groups: [b]}`)), 1, []string{push}, []string{"b"})
	want("empty lists", s.run(t, user(`{policies: [], groups: [], inline: {}}`)), 1, nil, nil)
	out, err := i.ListUserPolicies(t.Context(), &iam.ListUserPoliciesInput{UserName: aws.String("ci")})
	if err != nil || len(out.PolicyNames) > 0 {
		t.Errorf("the inline policies after an empty list: got %+v, %v, want none", out, err)
	}
}

// A managed policy has five versions at most: the oldest gives way.
func TestManagedPolicyChangesOften(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, action := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		text := `{accounts: {"000000000000": {policies: {p: {Version: "2012-10-17", Statement: {Effect: Allow, Resource: "*", Action: "ecr:` +
			action + `"}}}}}}`
		if got := s.run(t, text); len(got) != 1 {
			t.Errorf("the policy with %s: got the changes %q, want one", action, got)
		}
		if got := s.run(t, text); len(got) != 0 {
			t.Errorf("the policy with %s again: got the changes %q, want none", action, got)
		}
	}
}

// Parse refuses what would be refused, or misunderstood, only after other changes.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "empty",
		"accounts: {}\n---\na: 1":  "more than one document",
		"a: 1":                     `no key "a"`,
		"accounts: {\"12\": {}}":   "accounts.12",
		strings.Repeat("#", 5<<20): "more than",
		`{accounts: {"111122223333": {roles: {r: {trust: "x"}}}}}`:                                        "a text of JSON",
		`{accounts: {"111122223333": {roles: {r: {trust: [1]}}}}}`:                                        "a mapping",
		`{accounts: {"111122223333": {registries: {moon: {}}}}}`:                                          "registries.moon",
		`{accounts: {"111122223333": {registries: {us-east-1: {caches: {a: {}}}}}}}`:                      "upstream is missing",
		`{accounts: {"111122223333": {registries: {us-east-1: {templates: {a: {}}}}}}}`:                   "for: at least one",
		`{accounts: {"111122223333": {registries: {us-east-1: {repositories: {a: {exclusions: [x]}}}}}}}`: "_WITH_EXCLUSION",
	} {
		if _, err := apply.Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.60q): got %v, want %q in it", text, err, want)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	got := strings.Join(apply.Diff(`{"a":1,"b":2}`, `{"a":1,"c":3,"b":2}`), "\n")
	if want := "  {\n    \"a\": 1,\n+   \"c\": 3,\n    \"b\": 2\n  }"; got != want {
		t.Errorf("Diff: got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/two-accounts.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{accounts: {"111122223333": {roles: {r: {trust: '{"a":1}'}}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := apply.Parse(strings.NewReader(text)); err == nil {
			for id := range parsed.Accounts {
				if len(id) != 12 {
					t.Errorf("an account was accepted: %q", id)
				}
			}
		}
	})
}
