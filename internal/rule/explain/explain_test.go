package explain_test

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var update = flag.Bool("update", false, "write the texts in testdata again")

var (
	owner   = name.MustAccount("111111111111")
	partner = name.MustAccount("222222222222")
)

const web = "arn:aws:ecr:us-east-1:111111111111:repository/team/web"

func user(account name.Account) policy.Caller {
	return policy.Caller{Kind: policy.User, Account: account, ARN: "arn:aws:iam::" + account.String() + ":user/dev/alice"}
}

func session(account name.Account) policy.Caller {
	return policy.Caller{
		Kind: policy.RoleSession, Account: account, ARN: "arn:aws:sts::" + account.String() + ":assumed-role/ci/build-7",
		Issuer: "arn:aws:iam::" + account.String() + ":role/jobs/ci",
	}
}

func root(account name.Account) policy.Caller {
	return policy.Caller{Kind: policy.Account, Account: account, ARN: "arn:aws:iam::" + account.String() + ":root"}
}

// compile parses and compiles the statements of one policy.
func compile(t *testing.T, kind policy.Kind, statements string) *policy.Compiled {
	t.Helper()
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, kind)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Compile(d, nil)
}

const (
	pull     = `{"Sid":"Pull","Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"` + web + `"}`
	listOnly = `{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}`
	noPull   = `{"Sid":"Freeze","Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*"}`
)

// situation is a request and the policies that apply to it, as statements.
type situation struct {
	caller                                                        policy.Caller
	action, resource                                              string // ecr:BatchGetImage on web when empty
	repository, registry, trust, identity, boundary, session, scp string
	scpARN, identityARN                                           string
}

func (s situation) explain(t *testing.T) ecrintypes.Explanation {
	t.Helper()
	r := &policy.Request{Caller: s.caller, Action: "ecr:BatchGetImage", Resource: web, ResourceAccount: owner, Context: &policy.Context{
		Time: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), SourceIP: netip.MustParseAddr("203.0.113.7"),
	}}
	r.Context.Set("aws:principalorgid", "o-2")
	if s.action != "" {
		r.Action, r.Resource = s.action, s.resource
	}
	one := func(kind policy.Kind, text string) *policy.Compiled {
		if text == "" {
			return nil
		}
		return compile(t, kind, text)
	}
	named := func(kind policy.Kind, text, policyName, arn string) []policy.Named {
		if text == "" {
			return nil
		}
		return []policy.Named{{Name: policyName, ARN: arn, Policy: compile(t, kind, text)}}
	}
	p := &policy.Policies{
		Repository: one(policy.Repository, s.repository), Registry: one(policy.Registry, s.registry), Trust: one(policy.Trust, s.trust),
		Identity: named(policy.Identity, s.identity, "dev", s.identityARN),
		Boundary: named(policy.Boundary, s.boundary, "limit", "arn:aws:iam::111111111111:policy/limit"),
		Session:  named(policy.Session, s.session, "session policy", ""),
	}
	if s.scp != "" {
		p.SCP = [][]policy.Named{append(named(policy.ServiceControl, s.scp, "freeze", s.scpARN), policy.FullAccess(policy.ServiceControl))}
	}
	return explain.Of(r, policy.Explain(p, r))
}

var situations = map[string]situation{
	"across-both":  {caller: session(partner), identity: listOnly},
	"across-owner": {caller: session(partner), identity: pull},
	"within": {caller: user(owner), identity: listOnly,
		repository: `{"Sid":"Org","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`},
	"allowed":          {caller: user(owner), identity: pull},
	"allowed-resource": {caller: user(owner), repository: `{"Effect":"Allow","Principal":{"AWS":"` + user(owner).ARN + `"},"Action":"ecr:*"}`},
	"root":             {caller: root(owner)},
	"across-root":      {caller: root(partner)},
	"scp": {caller: user(owner), identity: pull, scp: noPull,
		scpARN: "arn:aws:organizations::111111111111:policy/service_control_policy/freeze"},
	"scp-all": {caller: user(owner), identity: pull, scp: noPull,
		scpARN: "arn:aws:organizations::all:policy/service_control_policy/freeze"},
	"boundary":        {caller: user(owner), identity: pull, boundary: listOnly},
	"session":         {caller: session(owner), identity: pull, session: listOnly},
	"deny-inline":     {caller: user(owner), identity: pull + "," + noPull},
	"deny-managed":    {caller: session(owner), identity: pull + "," + noPull, identityARN: "arn:aws:iam::111111111111:policy/dev"},
	"deny-repository": {caller: user(owner), identity: pull, repository: `{"Effect":"Deny","Principal":"*","Action":"ecr:*"}`},
	"deny-and-within": {caller: user(owner), repository: `{"Effect":"Deny","Principal":"*","Action":"ecr:BatchGet*"}`},
	"nearly": {caller: user(owner), identity: `{"Effect":"Allow","Action":"ecr:BatchGetImage","NotResource":["` +
		web +
		`","arn:aws:ecr:*:*:repository/b"]},{"Effect":"Allow","Action":["ecr:A","ecr:B","ecr:C","ecr:D","ecr:E","ecr:F","ecr:G"],"Resource":"*"}`, repository: `{"Effect":"Allow","Principal":{"AWS":["222222222222","arn:aws:iam::111111111111:user/bob"]},"Action":"ecr:BatchGetImage"}`},
	"anonymous": {caller: policy.Caller{Kind: policy.Anyone}},
	"service":   {caller: policy.Caller{Kind: policy.Service, ARN: "lambda.amazonaws.com"}},
	"registry":  {caller: root(partner), action: "ecr:ReplicateImage", resource: web},
	"trust": {caller: user(owner), action: "sts:AssumeRole", resource: "arn:aws:iam::111111111111:role/jobs/ci",
		identity: `{"Effect":"Allow","Action":"sts:*","Resource":"*"}`,
		trust:    `{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"sts:AssumeRole"}`},
	"no-way": {caller: policy.Caller{Kind: policy.Service, ARN: "lambda.amazonaws.com"},
		action: "ecr:GetAuthorizationToken", resource: "*"},
	"not-by-policy": {caller: user(partner), action: "ecrin:ListTagHistory", resource: web},
}

// The texts of all situations, each in a file of testdata.
func TestWrite(t *testing.T) {
	t.Parallel()
	for what, s := range situations {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			if err := explain.Write(&got, s.explain(t)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", what+".golden")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got); write it again with -update:\n%s", file, diff)
			}
		})
	}
}

// Every file in testdata belongs to a situation, so that no file is left unchecked.
func TestEveryGoldenFileIsUsed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, f := range files {
		if what := strings.TrimSuffix(filepath.Base(f), ".golden"); situations[what].caller.Kind == 0 {
			t.Errorf("%s: no situation has the name %s", f, what)
		}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	s := situations["within"]
	got := s.explain(t)
	if got.Text == "" || got.At == nil {
		t.Errorf("got the text %q and the time %v, want both", got.Text, got.At)
	}
	got.Text, got.At, got.Changes, got.Context = "", nil, nil, nil
	want := ecrintypes.Explanation{
		Verdict: ecrintypes.VerdictImplicitDeny, DecidedBy: "identity-based", PrincipalArn: "arn:aws:iam::111111111111:user/dev/alice",
		Action: "ecr:BatchGetImage", Resource: web,
		Layers: []ecrintypes.LayerVerdict{
			{Layer: "resource-based", Verdict: ecrintypes.VerdictImplicitDeny}, {Layer: "identity-based", Verdict: ecrintypes.VerdictImplicitDeny},
		},
		Findings: []ecrintypes.Finding{
			{Layer: "resource-based", Policy: "repository policy", Sid: "Org", Effect: "Allow", Failed: "Condition",
				Detail: `StringEquals aws:PrincipalOrgID: the request has "o-2"; the statement has "o-1"`},
			{Layer: "identity-based", Policy: "dev", Effect: "Allow", Failed: "Action",
				Detail: "the request is for ecr:BatchGetImage; the statement has ecr:ListImages"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Of (-want +got):\n%s", diff)
	}
}

// Control characters in values that a client has sent do not reach the terminal.
func TestWriteControlCharacters(t *testing.T) {
	t.Parallel()
	e := ecrintypes.Explanation{
		PrincipalArn: "arn:aws:iam::111111111111:user/a", Action: "ecr:Put\x1b[2JImage", Resource: "arn:\nallowed: all",
		DecidedBy: "identity-based",
		Layers:    []ecrintypes.LayerVerdict{{Layer: "x\x07"}}, Findings: []ecrintypes.Finding{{Detail: "\r\u009b", Failed: "Action"}},
		Changes: []ecrintypes.PolicyChange{{Layer: "identity-based", Add: "{\x1b}"},
			{Layer: "service control", Remove: &ecrintypes.Finding{Layer: "service control", Policy: "$(reboot)"}}},
	}
	var got bytes.Buffer
	if err := explain.Write(&got, e); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc([]rune(got.String()), func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 }); i >= 0 {
		t.Errorf("a control character at %d of %q", i, got.String())
	}
	for _, want := range []string{"denied because no identity-based policy allows it",
		"ecrin control-policy put '$(reboot)' --kind scp --file policy.json"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q in %s", want, got.String())
		}
	}
	if strings.Contains(got.String(), "\nallowed") {
		t.Errorf("a value begins a line: %s", got.String())
	}
}

type fullWriter struct{}

var errFull = errors.New("full")

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	t.Parallel()
	if err := explain.Write(fullWriter{}, ecrintypes.Explanation{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

// The explanation of a recorded request that no policy refused is one sentence, because its reasons are not recorded.
func TestWriteUndecided(t *testing.T) {
	t.Parallel()
	const id = "0c9e5d2a-6f0b-4c1d-9a3e-5f2b7c8d9e01"
	for want, e := range map[string]ecrintypes.Explanation{
		"allowed: arn:aws:iam::111111111111:user/a may ecr:ListImages on " + web +
			" (the trail keeps the reasons of denials only)\nrequest " + id + "\n": {Allowed: true, Verdict: ecrintypes.VerdictAllowed},
		"denied: temporary credentials cannot call it\nrequest " + id +
			"\n": {Verdict: ecrintypes.VerdictImplicitDeny, Text: "temporary credentials cannot call it"},
	} {
		e.RequestId, e.PrincipalArn, e.Action, e.Resource = id, "arn:aws:iam::111111111111:user/a", "ecr:ListImages", web
		var got bytes.Buffer
		if err := explain.Write(&got, e); err != nil || got.String() != want {
			t.Errorf("got %q, %v, want %q", got.String(), err, want)
		}
	}
}

// A decision that was given up, because matching takes too much work, is explained by its text: no layer decided.
func TestWriteTooMuchWork(t *testing.T) {
	t.Parallel()
	agent := policy.Context{}
	agent.Set("aws:UserAgent", strings.Repeat("a", 20<<10))
	r := &policy.Request{Caller: user(owner), Action: "ecr:BatchGetImage", Resource: web, ResourceAccount: owner, Context: &agent}
	p := &policy.Policies{Identity: []policy.Named{{Policy: compile(t, policy.Identity,
		strings.Replace(pull, `"Sid"`, `"Condition":{"StringLike":{"aws:UserAgent":"*a?b*"}},"Sid"`, 1))}}}
	var b bytes.Buffer
	if err := explain.Write(&b, explain.Of(r, policy.Explain(p, r))); err != nil {
		t.Fatal(err)
	}
	want := "denied: User: " + user(owner).ARN + " is not authorized to perform: ecr:BatchGetImage on resource: " + web +
		" because the request takes too much work to match with the wildcards of the policies\n"
	if got := b.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}

// The explanation of a recorded request names the statement that decided then, says that the rest is computed with the current
// policies, and has no changes if those allow the request.
func TestWriteRecorded(t *testing.T) {
	t.Parallel()
	e := ecrintypes.Explanation{
		Verdict: ecrintypes.VerdictExplicitDeny, DecidedBy: "identity-based", PrincipalArn: "arn:aws:iam::111122223333:user/eve",
		Action: "ecr:PutImage", Resource: "arn:aws:ecr:us-east-1:111122223333:repository/app", RequestId: "r-1",
		Statements: []ecrintypes.Finding{{Layer: "identity-based", Policy: "old", Statement: 2, Sid: "No", Effect: "Deny"}},
		Layers:     []ecrintypes.LayerVerdict{{Layer: "identity-based", Verdict: ecrintypes.VerdictAllowed}},
		Findings:   []ecrintypes.Finding{{Layer: "identity-based", Policy: "new", Effect: "Allow"}},
		Note:       "The policies have changed.", CurrentVerdict: ecrintypes.VerdictAllowed,
	}
	var b bytes.Buffer
	if err := explain.Write(&b, e); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		`denied by the identity-based policy (old, Statement[2], Sid "No"): arn:aws:iam::111122223333:user/eve may not ecr:PutImage`: true,
		"\nrequest r-1\nThe policies have changed.\n": true, "(new, Statement[0])": true, "To allow it": false, "No policy can": false,
	} {
		if strings.Contains(b.String(), text) != want {
			t.Errorf("got %s, want with %q: %t", b.String(), text, want)
		}
	}
	e.Layers, e.Findings, e.CurrentVerdict, e.Note = nil, nil, "", "The current policies cannot be asked."
	b.Reset()
	if err := explain.Write(&b, e); err != nil || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("without layers: got %v, %s, want three lines", err, b.String())
	}
}
