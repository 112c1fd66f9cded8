package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// stored compiles an identity policy that an earlier version accepted.
func stored(t testing.TB, statements string) *policy.Policies {
	t.Helper()
	d, err := policy.ParseStored(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(d, nil)}}}
}

// maxSteps is the maximum work of a decision, as documented at Evaluate.
const maxSteps = 1 << 20

// A policy and a request that would take seconds to match are denied, with a reason, after a bounded number of
// comparisons: also by a policy that was stored before there was a limit, and whatever else is allowed.
func TestMatchingIsBounded(t *testing.T) {
	t.Parallel()
	const any = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	deny := func(element string) string { return any + `,{"Effect":"Deny","Action":"*",` + element + `}` }
	like := func(pattern string) string {
		return deny(`"Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"` + pattern + `"}}`)
	}
	slow := strings.Repeat("a?", 5000)
	short, long := strings.Repeat("a", 2048), strings.Repeat("a", 20<<10)
	for what, test := range map[string]struct{ policy, agent, tag string }{
		"a long value":                        {like("*" + slow + "b*"), long, ""},
		"many patterns, a value in the limit": {strings.Repeat(like("*"+slow[:1000]+"b*")+",", 50) + any, short, ""},
		"values of variables":                 {strings.Repeat(like("*a${aws:PrincipalTag/t}b*")+",", 50) + any, short, short[:1024]},
		"an operator that negates": {deny(`"Resource":"*","Condition":{"StringNotLike":{"aws:UserAgent":"*` + slow +
			`b*"}}`), long, ""},
		"ARNs": {
			deny(`"Resource":"*","Condition":{"ArnLike":{"aws:UserAgent":"arn:aws:iam::111111111111:*` + slow +
				`b*"}}`), "arn:aws:iam::111111111111:" + long, ""},
		"many values": {deny(`"Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":["` +
			strings.Repeat(`x*y*z","`, 400) + `b"]}}`), "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, r := stored(t, test.policy), pullRequest(t, alice)
			r.Context.Set("aws:UserAgent", test.agent)
			r.Context.Set("aws:PrincipalTag/t", test.tag)
			r.Context.SetList("aws:TagKeys", strings.Fields(strings.Repeat("xyx ", 20000))...)
			got, why := policy.Evaluate(p, r), policy.Explain(p, r)
			if !got.Excess || got.Allowed() || why.Decision != got {
				t.Errorf("got %+v, and with reasons %+v; want a denial because of too much work", got, why.Decision)
			}
			const want = " because the request takes too much work to match with the wildcards of the policies"
			if text := got.Text(r); !strings.HasSuffix(text, webARN+want) {
				t.Errorf("the text is %q, want it to end with %q", text, want)
			}
			if why.Work > 2*maxSteps || len(why.Changes) > 0 {
				t.Errorf("%d comparisons and the changes %v, want at most %d and none", why.Work, why.Changes, 2*maxSteps)
			}
		})
	}
	// A text that is compared without wildcards has no limit.
	p, r := stored(t, deny(`"Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":"`+long+`"}}`)), pullRequest(t, alice)
	r.Context.Set("aws:UserAgent", long)
	if got := policy.Evaluate(p, r); got.Verdict != explicit || got.Excess {
		t.Errorf("a long text without wildcards: got %+v, want an explicit denial", got)
	}
}

// A policy whose patterns could take too much work to match is refused when it is set.
func TestParseRefusesPatternsThatCostTooMuch(t *testing.T) {
	t.Parallel()
	condition := func(values ...string) string {
		return `"Condition":{"StringLike":{"aws:UserAgent":["` + strings.Join(values, `","`) + `"]}}`
	}
	times := func(n int, pattern string) []string {
		return strings.Split(strings.Repeat(pattern+" ", n)[:n*(len(pattern)+1)-1], " ")
	}
	const costs = "the wildcards of the policy up to here would take too much work to match: use fewer ? between two *"
	for elements, want := range map[string]string{
		condition("*" + strings.Repeat("a?", 200) + "*"):                              costs,
		condition(times(3, "*"+strings.Repeat("a?", 50)+"*")...):                      costs,
		`"Resource":"arn:aws:ecr:*:*:repository/*` + strings.Repeat("?a", 200) + `*"`: costs,
		condition(strings.Repeat("*a",
			1025)): "a text with wildcards or policy variables has at most 2048 bytes, this one has 2050",
		condition("${aws:x}" +
			strings.Repeat("a", 2048)): "a text with wildcards or policy variables has at most 2048 bytes, this one has 2056",
		condition(times(30, "*-????-????-????-*")...):                              costs,
		condition(times(14, "*-????-????-????-*")...):                              "",
		condition(times(80, "*/${aws:username}/*")...):                             "",
		condition(times(500, "docker/*linux*")...):                                 "",
		condition(strings.Repeat("*a", 1024)):                                      "",
		condition(strings.Repeat("*a?", 600)):                                      "",
		condition(strings.Repeat("?", 2048)):                                       "",
		strings.Replace(condition(strings.Repeat("a", 9000)), "Like", "Equals", 1): "",
	} {
		text := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"ecr:*",` + elements + `}}`
		_, err := policy.ParseLimit(text, policy.Repository, 20000)
		switch {
		case err == nil && want != "":
			t.Errorf("%.120s… is accepted, want the error %q", elements, want)
		case err != nil:
			if got := problem(t, text, err).Reason; got != want {
				t.Errorf("%.120s…: got %q, want %q", elements, got, want)
			}
		}
		if _, err := policy.ParseStored(text, policy.Repository); err != nil {
			t.Errorf("%.120s…, stored: %v", elements, err)
		}
	}
}

// A user with twenty policies of the maximum length, as large organizations have them, needs a small part of the maximum work: less
// than a decision may do without waiting for others. With a lower limit the decision ends, and says so.
func TestLargePoliciesNeedLittleWork(t *testing.T) {
	t.Parallel()
	var statements []string
	for size, i := 0, 0; size < 20*6144; i++ {
		s := fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["ecr:BatchGet*","ecr:Get*","ecr:*Layer*"],"Resource":[`+
			`"arn:aws:ecr:*:*:repository/team-%[1]d/*","arn:aws:ecr:eu-*:*:repository/*/team-%[1]d/*-????/${aws:username}/*"],`+
			`"Condition":{"StringLike":{"aws:UserAgent":["docker/*","*containerd/%[1]d.*"]},`+
			`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/team-%[1]d-*"}}}`, i)
		size += len(s)
		statements = append(statements, s)
	}
	p, r := stored(t, strings.Join(statements, ",")+","+pull), pullRequest(t, alice)
	r.Context.Set("aws:UserAgent", "docker/29.1.3 go/go1.26 git-commit/0123456 kernel/6.8 os/linux arch/amd64 UpstreamClient(Docker-Client/29.1.3)")
	r.Context.Set("aws:username", "alice")
	r.Context.Set("aws:PrincipalArn", alice)
	want := policy.Evaluate(p, r)
	const unqueued = 1 << 15 // see package guard
	got, work := policy.EvaluateWithin(p, r, unqueued)
	if got != want || !got.Allowed() || work > unqueued/2 {
		t.Errorf("%d statements: got %+v with %d comparisons, want %+v with at most %d", len(statements)+1, got, work, want, unqueued/2)
	}
	if got, least := policy.EvaluateWithin(p, r, work-1); !got.Excess || least != work-1 {
		t.Errorf("with at most %d comparisons: got %+v with %d, want the mark of too much work", work-1, got, least)
	}
}

// BenchmarkWorstDecision measures the longest decision.
func BenchmarkWorstDecision(b *testing.B) {
	pattern := strings.Repeat("a?", 500)
	p := stored(b,
		strings.Repeat(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"*`+pattern+`b*"}}},`, 9)+pull)
	r := &policy.Request{Action: "ecr:PutImage", Resource: "*", Caller: policy.Caller{Kind: policy.User}, Context: &policy.Context{}}
	r.Context.Set("aws:UserAgent", strings.Repeat("a", 2048))
	for b.Loop() {
		if !policy.Evaluate(p, r).Excess {
			b.Fatal("the work was not used up")
		}
	}
}
