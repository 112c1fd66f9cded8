package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// policyOf returns a policy of statements, each of an effect, actions and more elements.
func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func allow(action, resource string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q}`, action, resource)
}

func deny(action, resource string) string {
	return fmt.Sprintf(`{"Effect":"Deny","Action":%q,"Resource":%q}`, action, resource)
}

const (
	homeApp    = "arn:aws:ecr:us-east-1:111122223333:repository/app"
	foreignApp = "arn:aws:ecr:us-east-1:444455556666:repository/app"
	alice      = "arn:aws:iam::111122223333:user/alice"
)

// one returns the only result of a simulation.
func one(t *testing.T, out *iamtypes.SimulatePolicyResponse) iamtypes.EvaluationResult {
	t.Helper()
	if len(out.EvaluationResults) != 1 {
		t.Fatalf("got %d results, want 1", len(out.EvaluationResults))
	}
	return out.EvaluationResults[0]
}

// sourcesOf returns the policies of the statements in a result.
func sourcesOf(r iamtypes.EvaluationResult) []string {
	var all []string
	for _, s := range r.MatchedStatements {
		all = append(all, s.SourcePolicyId+" of "+string(s.SourcePolicyType))
	}
	return all
}

// Source: IAM user guide, policy evaluation logic, and the pages it leads to.
func TestSimulateCustomPolicyDecides(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	principal := func(effect, principal, action string) string {
		return policyOf(fmt.Sprintf(`{"Effect":%q,"Principal":{"AWS":%q},"Action":%q}`, effect, principal, action))
	}
	const identity, boundary, resource = "PolicyInputList.1 of IAM Policy",
		"PermissionsBoundaryPolicyInputList.1 of Permissions Boundary Policy", "ResourcePolicy of Resource Policy"
	for _, c := range []struct {
		what    string
		in      iamtypes.SimulateCustomPolicyRequest
		want    iamtypes.PolicyEvaluationDecisionType
		matched []string
	}{
		{"nothing allows", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("ecr:PutImage", "*"))}}, "implicitDeny", nil},
		{"no policies at all", iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{}}, "implicitDeny", nil},
		{"a policy allows", iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{policyOf(allow("ecr:Batch*", "*"))}},
			"allowed", []string{identity}},
		{"a deny wins", iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{policyOf(deny("ecr:*", "*")),
			policyOf(allow("*", "*"))}}, "explicitDeny", []string{identity}},
		{"of two that allow both are shown", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("ecr:*", "*"), allow("*", "*"))}}, "allowed", []string{identity, identity}},
		{"another resource", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "arn:aws:ecr:*:*:repository/web"))}, ResourceArns: []string{homeApp},
		}, "implicitDeny", nil},
		{"without a caller every account is its own", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, ResourceArns: []string{foreignApp},
		}, "allowed", []string{identity}},
		{"a boundary limits", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, PermissionsBoundaryPolicyInputList: []string{policyOf(allow("s3:*", "*"))},
		}, "implicitDeny", nil},
		{"a boundary grants nothing", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{}, PermissionsBoundaryPolicyInputList: []string{policyOf(allow("*", "*"))},
		}, "implicitDeny", nil},
		{"a boundary and a policy allow", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("ecr:*", "*"))}, PermissionsBoundaryPolicyInputList: []string{policyOf(allow("*", "*"))},
		}, "allowed", []string{identity, boundary}},
		{"a boundary denies", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, PermissionsBoundaryPolicyInputList: []string{policyOf(deny("ecr:*", "*"))},
		}, "explicitDeny", []string{boundary}},
		{"each level of an organization allows", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, OrderedOrganizationPolicyInputList: []iamtypes.OrderedOrganizationPolicyType{
				{ServiceControlPolicyInputList: []string{policyOf(allow("*", "*"))}}, {
					ServiceControlPolicyInputList: []string{policyOf(allow("s3:*", "*")), policyOf(allow("ecr:*", "*"))}},
			},
		}, "allowed", []string{identity}},
		{"one level does not", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, OrderedOrganizationPolicyInputList: []iamtypes.OrderedOrganizationPolicyType{
				{ServiceControlPolicyInputList: []string{policyOf(allow("*", "*"))}}, {
					ServiceControlPolicyInputList: []string{policyOf(allow("s3:*", "*"))}},
			},
		}, "implicitDeny", nil},
		{"a control policy denies", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, OrderedOrganizationPolicyInputList: []iamtypes.OrderedOrganizationPolicyType{
				{ServiceControlPolicyInputList: []string{policyOf(allow("*", "*")), policyOf(deny("ecr:*", "*"))}},
			},
		}, "explicitDeny", nil},
		{"within an account a resource policy is enough", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{}, ResourcePolicy: principal("Allow", alice,
				"ecr:BatchGetImage"), CallerArn: alice, ResourceArns: []string{homeApp},
		}, "allowed", []string{resource}},
		{"it names somebody else", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{}, ResourcePolicy: principal("Allow", "arn:aws:iam::111122223333:user/bob",
				"ecr:BatchGetImage"), CallerArn: alice, ResourceArns: []string{homeApp},
		}, "implicitDeny", nil},
		{"a deny in it wins", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, ResourcePolicy: principal("Deny", "*",
				"ecr:*"), CallerArn: alice, ResourceArns: []string{homeApp},
		}, "explicitDeny", []string{resource}},
		{"across accounts both sides allow", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, ResourcePolicy: principal("Allow", "111122223333",
				"ecr:*"), CallerArn: alice, ResourceArns: []string{foreignApp},
		}, "allowed", []string{resource, identity}},
		{"across accounts the owner does not", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, CallerArn: alice, ResourceArns: []string{foreignApp},
		}, "implicitDeny", nil},
		{"across accounts the caller's side does not", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{}, ResourcePolicy: principal("Allow", alice, "ecr:*"), CallerArn: alice, ResourceArns: []string{foreignApp},
		}, "implicitDeny", nil},
		{"the owner of what does not tell it", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, CallerArn: alice,
			ResourceOwner: "arn:aws:iam::444455556666:root", ResourceArns: []string{"arn:aws:s3:::bucket/key"},
		}, "implicitDeny", nil},
		{"the caller owns what does not tell it", iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{policyOf(allow("*", "*"))}, CallerArn: alice, ResourceArns: []string{"arn:aws:s3:::bucket/key"},
		}, "allowed", []string{identity}},
	} {
		c.in.ActionNames = []string{"ecr:BatchGetImage"}
		got := one(t, do(t, w.SimulateCustomPolicy, w.root, c.in))
		if got.EvalDecision != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got.EvalDecision, c.want)
		}
		same(t, c.what+": sources", sourcesOf(got), c.matched)
	}
}

// Complete responses, for a resource of the same account and of another account.
func TestSimulateCustomPolicyAnswers(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	text := "{\"Version\":\"2012-10-17\",\"Statement\":[\n  " + allow("s3:*", "*") + ",\n  " + allow("ecr:*", "*") + "\n]}"
	statement := iamtypes.Statement{
		SourcePolicyId: "PolicyInputList.1", SourcePolicyType: "IAM Policy",
		StartPosition: &iamtypes.Position{Line: new(int32(3)), Column: new(int32(3))},
		EndPosition:   &iamtypes.Position{Line: new(int32(3)), Column: new(int32(2 + len(allow("ecr:*", "*"))))},
	}
	within := map[string]iamtypes.PolicyEvaluationDecisionType{}
	bounded := &iamtypes.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: new(false)}
	across := map[string]iamtypes.PolicyEvaluationDecisionType{"IAM Policy": "allowed", "Resource Policy": "implicitDeny"}
	in := iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{text}, ActionNames: []string{"ecr:PutImage"}}
	same(t, "a simulation without a resource", one(t, do(t, w.SimulateCustomPolicy, w.root, in)), iamtypes.EvaluationResult{
		EvalActionName: "ecr:PutImage", EvalResourceName: "*", EvalDecision: "allowed",
		MatchedStatements: []iamtypes.Statement{statement}, MissingContextValues: []string{},
	})
	in.CallerArn, in.ResourceArns = alice, []string{homeApp}
	same(t, "a simulation within the account", one(t, do(t, w.SimulateCustomPolicy, w.root, in)), iamtypes.EvaluationResult{
		EvalActionName: "ecr:PutImage", EvalResourceName: homeApp, EvalDecision: "allowed",
		MatchedStatements: []iamtypes.Statement{statement}, MissingContextValues: []string{}, EvalDecisionDetails: within,
		ResourceSpecificResults: []iamtypes.ResourceSpecificResult{{
			EvalResourceName: homeApp, EvalResourceDecision: "allowed", MatchedStatements: []iamtypes.Statement{statement},
			MissingContextValues: []string{}, EvalDecisionDetails: within,
		}},
	})
	in.ResourceArns = []string{foreignApp}
	in.PermissionsBoundaryPolicyInputList = []string{policyOf(allow("s3:*", "*"))}
	in.OrderedOrganizationPolicyInputList = []iamtypes.OrderedOrganizationPolicyType{
		{ServiceControlPolicyInputList: []string{policyOf(allow("*", "*"))}}}
	same(t, "a simulation across accounts", one(t, do(t, w.SimulateCustomPolicy, w.root, in)), iamtypes.EvaluationResult{
		EvalActionName: "ecr:PutImage", EvalResourceName: foreignApp, EvalDecision: "implicitDeny",
		MatchedStatements: []iamtypes.Statement{}, MissingContextValues: []string{}, EvalDecisionDetails: across,
		PermissionsBoundaryDecisionDetail: bounded, OrganizationsDecisionDetail: &iamtypes.OrganizationsDecisionDetail{
			AllowedByOrganizations: new(true)},
		ResourceSpecificResults: []iamtypes.ResourceSpecificResult{{
			EvalResourceName: foreignApp, EvalResourceDecision: "implicitDeny", MatchedStatements: []iamtypes.Statement{},
			MissingContextValues: []string{}, EvalDecisionDetails: across, PermissionsBoundaryDecisionDetail: bounded,
		}},
	})
	in.OrderedOrganizationPolicyInputList[0].ServiceControlPolicyInputList = []string{policyOf(deny("*", "*"))}
	got := one(t, do(t, w.SimulateCustomPolicy, w.root, in))
	if got.EvalDecisionDetails != nil || *got.OrganizationsDecisionDetail.AllowedByOrganizations {
		t.Errorf("after a control policy's deny: got %+v, %+v, want no details and not allowed", got.EvalDecisionDetails,
			got.OrganizationsDecisionDetail)
	}
}

// Source: IAM user guide, condition operators; IAM API reference, ContextEntry.
func TestSimulationContext(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	entry := func(key, kind string, values ...string) iamtypes.ContextEntry {
		return iamtypes.ContextEntry{ContextKeyName: key, ContextKeyType: iamtypes.ContextKeyTypeEnum(kind), ContextKeyValues: values}
	}
	for _, c := range []struct {
		condition string // of an Allow
		entries   []iamtypes.ContextEntry
		want      iamtypes.PolicyEvaluationDecisionType
		missing   []string
	}{
		{`"StringEquals":{"aws:RequestTag/team":"red"}`, []iamtypes.ContextEntry{entry("aws:requesttag/TEAM", "string", "red")}, "allowed", nil},
		{`"StringEquals":{"aws:RequestTag/team":"red"}`,
			[]iamtypes.ContextEntry{entry("aws:RequestTag/team", "string", "blue")}, "implicitDeny", nil},
		{`"StringEquals":{"aws:RequestTag/team":"red"}`, nil, "implicitDeny", []string{"aws:RequestTag/team"}},
		{`"StringNotEquals":{"aws:RequestTag/team":"red"}`, nil, "allowed", []string{"aws:RequestTag/team"}},
		{`"StringLike":{"aws:PrincipalTag/a":"${aws:PrincipalTag/b}"}`,
			[]iamtypes.ContextEntry{entry("aws:PrincipalTag/a", "string", "x")}, "implicitDeny", []string{"aws:PrincipalTag/b"}},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}`,
			[]iamtypes.ContextEntry{entry("aws:TagKeys", "stringList", "a", "b")}, "allowed", nil},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}`,
			[]iamtypes.ContextEntry{entry("aws:TagKeys", "stringList", "a", "c")}, "implicitDeny", nil},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}`, []iamtypes.ContextEntry{entry("aws:TagKeys", "stringList")},
			"allowed", []string{"aws:TagKeys"}},
		{`"NumericLessThan":{"s3:max-keys":"10"}`, []iamtypes.ContextEntry{entry("s3:max-keys", "numeric", "9.5")}, "allowed", nil},
		{`"ForAnyValue:NumericEquals":{"x:n":"10"}`, []iamtypes.ContextEntry{entry("x:n", "numericList", "9", "10")}, "allowed", nil},
		{`"Bool":{"aws:SecureTransport":"true"}`, []iamtypes.ContextEntry{entry("aws:SecureTransport", "boolean", "true")}, "allowed", nil},
		{`"ForAnyValue:Bool":{"x:b":"true"}`, []iamtypes.ContextEntry{entry("x:b", "booleanList", "false")}, "implicitDeny", nil},
		{`"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`, []iamtypes.ContextEntry{entry("aws:SourceIp", "ip", "203.0.113.9")}, "allowed", nil},
		{`"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`, nil, "implicitDeny", []string{"aws:SourceIp"}},
		{`"ForAnyValue:IpAddress":{"x:ips":"203.0.113.0/24"}`,
			[]iamtypes.ContextEntry{entry("x:ips", "ipList", "192.0.2.1", "203.0.113.9")}, "allowed", nil},
		{`"BinaryEquals":{"x:key":"AAEC"}`, []iamtypes.ContextEntry{entry("x:key", "binary", "AAEC")}, "allowed", nil},
		{`"ForAnyValue:BinaryEquals":{"x:key":"AAEC"}`, []iamtypes.ContextEntry{entry("x:key", "binaryList", "AAED")}, "implicitDeny", nil},
		{`"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}`,
			[]iamtypes.ContextEntry{entry("aws:CurrentTime", "date", "2019-04-25T11:00:00Z")}, "allowed", nil},
		{`"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}`,
			[]iamtypes.ContextEntry{entry("aws:CurrentTime", "date", "2014-04-25T11:00:00Z")}, "implicitDeny", nil},
		{`"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}`, nil, "allowed", nil}, // the clock of the fixture
		{`"ForAllValues:DateLessThan":{"x:dates":"2018-08-16"}`,
			[]iamtypes.ContextEntry{entry("x:dates", "dateList", "2014-01-01", "2019-01-01")}, "implicitDeny", nil},
		{`"StringEquals":{"aws:ResourceAccount":"111122223333"}`, nil, "allowed", nil},
	} {
		text := policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{` + c.condition + `}}`)
		got := one(t, do(t, w.SimulateCustomPolicy, w.root, iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{text}, ActionNames: []string{"ecr:PutImage"}, ContextEntries: c.entries,
		}))
		if got.EvalDecision != c.want {
			t.Errorf("%s with %+v: got %s, want %s", c.condition, c.entries, got.EvalDecision, c.want)
		}
		if diff := cmp.Diff(append([]string{}, c.missing...), got.MissingContextValues); diff != "" {
			t.Errorf("%s with %+v: missing keys (-want +got):\n%s", c.condition, c.entries, diff)
		}
	}
	for _, bad := range [][]iamtypes.ContextEntry{
		{entry("", "string", "a")},
		{entry("nocolon", "string", "a")},
		{entry("x:a", "", "a")},
		{entry("x:a", "text", "a")},
		{entry("x:a", "string")},
		{entry("x:a", "string", "a", "b")},
		{entry("x:a", "numeric", "ten")},
		{entry("x:a", "numericList", "1", "ten")},
		{entry("x:a", "boolean", "yes")},
		{entry("x:a", "ip", "203.0.113.0/24")},
		{entry("x:a", "ip", "localhost")},
		{entry("x:a", "binary", "?")},
		{entry("x:a", "date", "yesterday")},
		{entry("x:a", "string", "a"), entry("X:A", "string", "b")},
	} {
		refuse(t, w.SimulateCustomPolicy, w.root, iamtypes.SimulateCustomPolicyRequest{
			PolicyInputList: []string{}, ActionNames: []string{"ecr:PutImage"}, ContextEntries: bad,
		}, fault.InvalidInput, "ContextEntries.member.")
	}
}

func TestSimulateCustomPolicyRefuses(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	all := policyOf(allow("*", "*"))
	for _, c := range []struct {
		in    iamtypes.SimulateCustomPolicyRequest
		words []string
	}{
		{iamtypes.SimulateCustomPolicyRequest{ActionNames: []string{"ecr:*"}}, []string{`"ecr:*"`, "wildcards"}},
		{iamtypes.SimulateCustomPolicyRequest{ActionNames: []string{"PutImage"}}, []string{`"PutImage"`}},
		{iamtypes.SimulateCustomPolicyRequest{ResourceArns: []string{"app"}}, []string{`"app"`}},
		{iamtypes.SimulateCustomPolicyRequest{ResourceArns: []string{"arn:aws:ecr"}}, []string{`"arn:aws:ecr"`}},
		{iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{all, `{"Statement":[]}`}},
			[]string{"PolicyInputList.member.2", "line 1, column 14"}},
		{iamtypes.SimulateCustomPolicyRequest{PermissionsBoundaryPolicyInputList: []string{"{"}},
			[]string{"PermissionsBoundaryPolicyInputList.member.1", "line 1"}},
		{iamtypes.SimulateCustomPolicyRequest{PermissionsBoundaryPolicyInputList: []string{all, all}}, []string{"one permissions boundary"}},
		{iamtypes.SimulateCustomPolicyRequest{OrderedOrganizationPolicyInputList: []iamtypes.OrderedOrganizationPolicyType{{}}},
			[]string{"OrderedOrganizationPolicyInputList.member.1"}},
		{iamtypes.SimulateCustomPolicyRequest{OrderedOrganizationPolicyInputList: []iamtypes.OrderedOrganizationPolicyType{
			{ServiceControlPolicyInputList: []string{"x"}}}}, []string{"ServiceControlPolicyInputList.member.1"}},
		{iamtypes.SimulateCustomPolicyRequest{CallerArn: alice, ResourcePolicy: all}, []string{"ResourcePolicy", "1:38", "Principal"}},
		{iamtypes.SimulateCustomPolicyRequest{ResourcePolicy: policyOf(`{"Effect":"Allow","Principal":"*","Action":"*"}`)},
			[]string{"CallerArn"}},
		{iamtypes.SimulateCustomPolicyRequest{CallerArn: "arn:aws:iam::111122223333:role/r"}, []string{"CallerArn"}},
		{iamtypes.SimulateCustomPolicyRequest{CallerArn: "alice"}, []string{"CallerArn"}},
		{iamtypes.SimulateCustomPolicyRequest{ResourceOwner: alice}, []string{"ResourceOwner"}},
	} {
		if c.in.ActionNames == nil {
			c.in.ActionNames = []string{"ecr:PutImage"}
		}
		if c.in.PolicyInputList == nil {
			c.in.PolicyInputList = []string{}
		}
		refuse(t, w.SimulateCustomPolicy, w.root, c.in, fault.InvalidInput, c.words...)
	}
}

// A simulation is refused if matching its values needs too much work. A page ends after about a tenth of a second of
// work, and the other results are on the next pages.
func TestSimulationBoundsItsWork(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	slow := policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"*` +
		strings.Repeat("a?", 100) + `b*"}}}`)
	in := iamtypes.SimulateCustomPolicyRequest{PolicyInputList: []string{slow}, ActionNames: []string{"ecr:PutImage"}}
	agent := func(n int) []iamtypes.ContextEntry {
		return []iamtypes.ContextEntry{{ContextKeyName: "aws:UserAgent", ContextKeyType: iamtypes.ContextKeyTypeEnumString,
			ContextKeyValues: []string{strings.Repeat("a", n)}}}
	}
	in.ContextEntries = agent(20 << 10)
	refuse(t, w.SimulateCustomPolicy, w.root, in, fault.InvalidInput, "ecr:PutImage", "too much work")
	in.ContextEntries = agent(2048)
	in.PolicyInputList = []string{
		policyOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"*` +
			strings.Repeat("?a", 200) + `*"}}}`)}
	refuse(t, w.SimulateCustomPolicy, w.root, in, fault.InvalidInput, "PolicyInputList.member.1", "too much work")
	in.PolicyInputList, in.ActionNames = []string{slow}, nil
	for i := range 200 {
		in.ActionNames = append(in.ActionNames, fmt.Sprint("ecr:Action", i))
	}
	var got []string
	pages := 0
	for {
		out := do(t, w.SimulateCustomPolicy, w.root, in)
		pages++
		for _, r := range out.EvaluationResults {
			got = append(got, r.EvalActionName)
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	if !slices.Equal(got, in.ActionNames) || pages < 2 {
		t.Errorf("%d pages have the results %q, want more than one and each action once", pages, got)
	}
}

// Each action is simulated on each resource; a marker belongs to one request.
func TestSimulationPages(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	in := iamtypes.SimulateCustomPolicyRequest{
		PolicyInputList: []string{policyOf(allow("ecr:PutImage", homeApp))}, ActionNames: []string{"ecr:PutImage", "ecr:BatchGetImage"},
		ResourceArns: []string{homeApp, foreignApp, "*"}, MaxItems: new(int32(4)),
	}
	var got []string
	pages := 0
	for {
		out := do(t, w.SimulateCustomPolicy, w.root, in)
		pages++
		for _, r := range out.EvaluationResults {
			got = append(got, r.EvalActionName+" "+r.EvalResourceName+" "+string(r.EvalDecision))
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	same(t, "the results of all pages", got, []string{
		"ecr:PutImage " + homeApp + " allowed", "ecr:PutImage " + foreignApp + " implicitDeny", "ecr:PutImage * implicitDeny",
		"ecr:BatchGetImage " + homeApp + " implicitDeny", "ecr:BatchGetImage " + foreignApp + " implicitDeny", "ecr:BatchGetImage * implicitDeny",
	})
	if pages != 2 {
		t.Errorf("got %d pages of 4, want 2", pages)
	}
	in.ActionNames = []string{"ecr:PutImage", "ecr:ListImages"}
	refuse(t, w.SimulateCustomPolicy, w.root, in, fault.Validation, "Marker")
	in.MaxItems = nil
	in.Marker = "nonsense"
	refuse(t, w.SimulateCustomPolicy, w.root, in, fault.Validation, "Marker")
}

func TestContextKeysForCustomPolicy(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	a := policyOf(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	b := policyOf(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Null":{"AWS:UserName":"true","ecr:ResourceTag/team":"true"}}}`)
	got := do(t, w.GetContextKeysForCustomPolicy, w.root, iamtypes.GetContextKeysForCustomPolicyRequest{PolicyInputList: []string{a, b}})
	same(t, "keys", got.ContextKeyNames, []string{"aws:username", "aws:SecureTransport", "ecr:ResourceTag/team"})
	got = do(t, w.GetContextKeysForCustomPolicy, w.root,
		iamtypes.GetContextKeysForCustomPolicyRequest{PolicyInputList: []string{policyOf(allow("*", "*"))}})
	same(t, "keys of a policy without any", got.ContextKeyNames, []string{})
	refuse(t, w.GetContextKeysForCustomPolicy, w.root, iamtypes.GetContextKeysForCustomPolicyRequest{PolicyInputList: []string{a, "[]"}},
		fault.InvalidInput, "PolicyInputList.member.2", "line 1, column 1")
}
