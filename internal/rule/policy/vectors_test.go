package policy_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// vector is a request with its policies and the decision of an independent evaluator.
type vector struct {
	ID             int
	Principal      string
	Action         string
	Resource       string
	Account        string // owner of the resource
	Context        map[string]any
	Identity       []json.RawMessage
	ResourcePolicy json.RawMessage
	Session        json.RawMessage
	Boundary       []json.RawMessage
	SCP            []json.RawMessage
	Result         string
}

// differences are the vectors that ecrin decides otherwise, each for a reason in docs/design/policy-differences.md.
var differences = map[int]policy.Verdict{
	218:  policy.ExplicitlyDenied, // version 2008-10-17 has no policy variables
	1183: policy.Allowed,          // the resource policy names the session, which its session policy does not limit
	1241: policy.Allowed,          // likewise
}

// Evaluate decides every vector of testdata/vectors.ndjson.gz as the independent evaluator does, except the
// differences.
func TestVectors(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/vectors.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	results := map[string]policy.Verdict{
		"Allowed": policy.Allowed, "ExplicitlyDenied": policy.ExplicitlyDenied, "ImplicitlyDenied": policy.ImplicitlyDenied,
	}
	seen := map[string]int{}
	for lines.Scan() {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		want, ok := results[v.Result]
		if !ok {
			t.Fatalf("vector %d: unknown result %q", v.ID, v.Result)
		}
		seen[v.Result]++
		if ours, differs := differences[v.ID]; differs {
			want = ours
		}
		p, r := v.read(t)
		if got := policy.Evaluate(p, r); got.Verdict != want {
			t.Errorf("vector %d: got %+v, want %s\n%s", v.ID, got, want, lines.Text())
		}
	}
	if err := lines.Err(); err != nil || seen["Allowed"] != 365 || seen["ExplicitlyDenied"] != 397 || seen["ImplicitlyDenied"] != 738 {
		t.Errorf("read %v, error %v; want 365 allowed, 397 explicitly and 738 implicitly denied", seen, err)
	}
}

func (v *vector) read(t *testing.T) (*policy.Policies, *policy.Request) {
	t.Helper()
	compiled := func(text []byte, kind policy.Kind) *policy.Compiled {
		if text == nil {
			return nil
		}
		if kind == policy.Repository { // has no actions of other services: use an unknown one
			text = []byte(strings.ReplaceAll(string(text), "s3:GetObject", "ecr:S3GetObject"))
		}
		d, err := policy.Parse(string(text), kind)
		if err != nil {
			t.Fatalf("vector %d: %v", v.ID, err)
		}
		return policy.Compile(d, nil)
	}
	named := func(texts []json.RawMessage, kind policy.Kind) (all []policy.Named) {
		for _, text := range texts {
			all = append(all, policy.Named{Policy: compiled(text, kind)})
		}
		return all
	}
	p := &policy.Policies{
		Identity:   named(v.Identity, policy.Identity),
		Repository: compiled(v.ResourcePolicy, policy.Repository),
		Boundary:   named(v.Boundary, policy.Boundary),
	}
	if v.Session != nil {
		p.Session = named([]json.RawMessage{v.Session}, policy.Session)
	}
	if v.SCP != nil {
		p.SCP = [][]policy.Named{named(v.SCP, policy.ServiceControl)}
	}
	account, err := name.ParseAccount(v.Account)
	if err != nil {
		t.Fatalf("vector %d: %v", v.ID, err)
	}
	r := &policy.Request{
		Caller: callerOf(t, v.Principal), Action: v.Action, Resource: v.Resource, ResourceAccount: account, Context: &policy.Context{},
	}
	for key, value := range v.Context {
		switch value := value.(type) {
		case string:
			r.Context.Set(key, value)
		case []any:
			var list []string
			for _, one := range value {
				list = append(list, one.(string))
			}
			r.Context.SetList(key, list...)
		default:
			t.Fatalf("vector %d: %s is %T", v.ID, key, value)
		}
	}
	return p, r
}

// callerOf returns the caller with the given ARN. A role has the path /.
func callerOf(t *testing.T, arn string) policy.Caller {
	t.Helper()
	parts := strings.Split(arn, ":")
	if len(parts) != 6 {
		t.Fatalf("%q is not an ARN", arn)
	}
	account, err := name.ParseAccount(parts[4])
	if err != nil {
		t.Fatal(err)
	}
	c := policy.Caller{ARN: arn, Account: account}
	what := strings.Split(parts[5], "/")
	switch what[0] {
	case "root":
		c.Kind = policy.Account
	case "user":
		c.Kind = policy.User
	case "federated-user":
		c.Kind = policy.FederatedUser
	case "assumed-role":
		c.Kind = policy.RoleSession
		c.Issuer = "arn:aws:iam::" + parts[4] + ":role/" + what[1]
	default:
		t.Fatalf("%q is not the ARN of a caller", arn)
	}
	return c
}
