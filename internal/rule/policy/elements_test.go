package policy_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestParsePrincipal(t *testing.T) {
	t.Parallel()
	account := name.MustAccount("111122223333")
	tests := map[string]policy.Principal{
		`{"AWS":"*"}`:                              {Kind: policy.Anyone},
		`{"AWS":"111122223333"}`:                   {Kind: policy.Account, Account: account},
		`{"AWS":"arn:aws:iam::111122223333:root"}`: {Kind: policy.Account, Account: account, Partition: "aws"},
		`{"AWS":"arn:aws:iam::111122223333:user/bob"}`: {
			Kind: policy.User, Account: account, Partition: "aws", Path: "/", Name: "bob"},
		`{"AWS":"arn:aws-us-gov:iam::111122223333:user/eng/web/a.l+i=c,e@x-y_z"}`: {
			Kind: policy.User, Account: account, Partition: "aws-us-gov", Path: "/eng/web/", Name: "a.l+i=c,e@x-y_z"},
		`{"AWS":"arn:aws-cn:iam::111122223333:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX"}`: {
			Kind: policy.Role, Account: account, Partition: "aws-cn", Path: "/aws-service-role/x.amazonaws.com/", Name: "AWSServiceRoleForX"},
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/deployer/i-0abc"}`: {
			Kind: policy.RoleSession, Account: account, Partition: "aws", Name: "deployer", Session: "i-0abc"},
		`{"AWS":"arn:aws:sts::111122223333:federated-user/fed1"}`: {
			Kind: policy.FederatedUser, Account: account, Partition: "aws", Name: "fed1"},
		`{"Service":"codebuild.amazonaws.com"}`: {Kind: policy.Service, Name: "codebuild.amazonaws.com"},
	}
	for text, want := range tests {
		want.Text = strings.Split(text, `"`)[3]
		got := mustParse(t, statement(`"Principal":`+text)).Statements[0].Principal
		if got.Bare || got.Not || len(got.Groups) != 1 || got.Groups[0].List || !reflect.DeepEqual(got.Groups[0].Of, []policy.Principal{want}) {
			t.Errorf("Principal %s:\n got %+v\nwant one group of %+v", text, got, want)
		}
	}
	bare := mustParse(t, statement(`"Principal":"*"`)).Statements[0].Principal
	for one := range bare.All() {
		if !bare.Bare || one.Kind != policy.Anyone {
			t.Errorf(`Principal "*": got %+v, want Bare and one Anyone`, bare)
		}
	}
}

func TestPrincipalsAll(t *testing.T) {
	t.Parallel()
	d := mustParse(t, statement(`"NotPrincipal":{"Service":["a.amazonaws.com","b.amazonaws.com"],"AWS":"111122223333"}`))
	var got []string
	for one := range d.Statements[0].Principal.All() {
		got = append(got, one.Text)
	}
	want := []string{"a.amazonaws.com", "b.amazonaws.com", "111122223333"}
	if diff := cmp.Diff(want, got); diff != "" || !d.Statements[0].Principal.Not {
		t.Errorf("NotPrincipal %v (-want +got):\n%s", d.Statements[0].Principal.Not, diff)
	}
}

func TestParseRefusesPrincipal(t *testing.T) {
	t.Parallel()
	const (
		form    = "a principal is *, an account of 12 digits, or an ARN of IAM or STS"
		wild    = "a principal other than * has no wildcard"
		other   = "a principal is an account, user, role, role session or federated user, no group and no other resource"
		session = "a session looks like arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION"
		service = "a service looks like codebuild.amazonaws.com"
		buyer   = "a customer looks like arn:aws:ecrin::ACCOUNT:customer/APPLICATION/CUSTOMER"
		digits  = "the ARN of a principal has an account of 12 digits"
	)
	tests := map[string]string{
		`"arn:aws:iam::111122223333:root"`: `: must be "*" or an object`,
		`["*"]`:                            `: must be "*" or an object`,
		`null`:                             `: must be "*" or an object`,
		`{}`:                               `: the object must not be empty`,
		`{"AWS":[]}`:                       `.AWS: the array must not be empty`,
		`{"AWS":{}}`:                       `.AWS: must be a string, is an object`,
		`{"AWS":["*",111122223333]}`:       `.AWS[1]: must be a string, is a number`,
		`{"aws":"*"}`:                      `: unknown element "aws"`,
		`{"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8"}`: `: unknown element "CanonicalUser"`,
		`{"Federated":"cognito-identity.amazonaws.com"}`:                       `: unknown element "Federated"`,
		`{"AWS":""}`:              `.AWS: ` + form,
		`{"AWS":"11112222333"}`:   `.AWS: ` + form,
		`{"AWS":"AROAEXAMPLEID"}`: `.AWS: ` + form,
		`{"AWS":"arn:aws:iam:us-east-1:111122223333:user/bob"}`:             `.AWS: ` + form,
		`{"AWS":"ARN:aws:iam::111122223333:user/bob"}`:                      `.AWS: ` + form,
		`{"AWS":"arn:azure:iam::111122223333:user/bob"}`:                    `.AWS: ` + form,
		`{"AWS":"arn:aws:iam::111122223333:*"}`:                             `.AWS: ` + wild,
		`{"AWS":"arn:aws:iam::*:root"}`:                                     `.AWS: ` + wild,
		`{"AWS":"arn:aws:iam::111122223333:user/b?b"}`:                      `.AWS: ` + wild,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/deployer/*"}`:       `.AWS: ` + wild,
		`{"AWS":"arn:aws:iam::11112222333a:root"}`:                          `.AWS: ` + digits,
		`{"AWS":"arn:aws:iam::${aws:PrincipalAccount}:root"}`:               `.AWS: ` + digits,
		`{"AWS":"arn:aws:iam::111122223333:root/x"}`:                        `.AWS: the ARN of an account ends with :root`,
		`{"AWS":"arn:aws:iam::111122223333:group/dev"}`:                     `.AWS: ` + other,
		`{"AWS":"arn:aws:iam::111122223333:instance-profile/node"}`:         `.AWS: ` + other,
		`{"AWS":"arn:aws:sts::111122223333:user/bob"}`:                      `.AWS: ` + other,
		`{"AWS":"arn:aws:iam::111122223333:user"}`:                          `.AWS: the path or the name of the user is not valid`,
		`{"AWS":"arn:aws:iam::111122223333:role/x/"}`:                       `.AWS: the path or the name of the role is not valid`,
		`{"AWS":"arn:aws:iam::111122223333:role/a b"}`:                      `.AWS: the path or the name of the role is not valid`,
		`{"AWS":"arn:aws:iam::111122223333:role/a\n"}`:                      `.AWS: the path or the name of the role is not valid`,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/deployer"}`:         `.AWS: ` + session,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/path/deployer/s1"}`: `.AWS: ` + session,
		`{"AWS":"arn:aws:sts::111122223333:federated-user/"}`:               `.AWS: the name of the federated user is not valid`,
		`{"AWS":"arn:aws:ecrin::111122223333:customer/shop"}`:               `.AWS: ` + buyer,
		`{"AWS":"arn:aws:ecrin::111122223333:customer/shop/"}`:              `.AWS: ` + buyer,
		`{"AWS":"arn:aws:ecrin::111122223333:customer//ada"}`:               `.AWS: ` + buyer,
		`{"AWS":"arn:aws:ecrin::111122223333:customer/shop/a/b"}`:           `.AWS: ` + buyer,
		`{"Service":"*"}`:                       `.Service: ` + service,
		`{"Service":"codebuild"}`:               `.Service: ` + service,
		`{"Service":"CodeBuild.amazonaws.com"}`: `.Service: ` + service,
	}
	for principal, want := range tests {
		text := statement(`"Principal":` + principal)
		_, err := policy.Parse(text, policy.Repository)
		p := problem(t, text, err)
		if got := p.Path + ": " + p.Reason; !strings.HasPrefix(got, "Statement[0].Principal"+want) {
			t.Errorf("Principal %s:\n got %s\nwant Statement[0].Principal%s", principal, got, want)
		}
	}
}

// conditionsOf parses a statement with a condition.
func conditionsOf(t *testing.T, condition string) []policy.Condition {
	t.Helper()
	return mustParse(t, statement(`"Condition":`+condition)).Statements[0].Conditions
}

// The operators of the language, each with a value that it accepts and a value that it refuses ("" when it accepts all
// values).
func TestParseOperators(t *testing.T) {
	t.Parallel()
	values := map[string][2]string{
		"String": {`"a*"`, ""}, "Arn": {`"arn:aws:iam::*:role/x"`, ""}, "Numeric": {`"3600"`, `"x"`},
		"Date": {`"2026-01-01T00:00:00Z"`, `"yesterday"`}, "Bool": {`"TRUE"`, `"yes"`}, "BinaryEquals": {`"QmluYXJ5"`, `"*"`},
		"Ip": {`"10.0.0.0/8"`, `"10.0.0.0/33"`}, "NotIp": {`"2001:db8::1"`, `"::1%eth0"`}, "Null": {`true`, `"1"`},
	}
	operators := strings.Fields(`StringEquals StringNotEquals StringEqualsIgnoreCase StringNotEqualsIgnoreCase StringLike
		StringNotLike NumericEquals NumericNotEquals NumericLessThan NumericLessThanEquals NumericGreaterThan
		NumericGreaterThanEquals DateEquals DateNotEquals DateLessThan DateLessThanEquals DateGreaterThan
		DateGreaterThanEquals Bool BinaryEquals IpAddress NotIpAddress ArnEquals ArnLike ArnNotEquals ArnNotLike Null`)
	for _, test := range operators {
		var value [2]string
		for prefix, v := range values {
			if strings.HasPrefix(test, prefix) {
				value = v
			}
		}
		for prefix, over := range map[string]policy.Over{"": policy.OneValue, "ForAllValues:": policy.AllValues,
			"ForAnyValue:": policy.AnyValue} {
			for _, suffix := range []string{"", "IfExists"} {
				operator := prefix + test + suffix
				text := statement(`"Condition":{"` + operator + `":{"aws:x":` + value[0] + `}}`)
				d, err := policy.Parse(text, policy.Repository)
				if test == "Null" && operator != test {
					if err == nil {
						t.Errorf("%s was accepted", operator)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", operator, err)
					continue
				}
				want := policy.Operator{Text: operator, Over: over, Test: policy.Test(test), IfExists: suffix != ""}
				if got := d.Statements[0].Conditions[0].Operator; got != want {
					t.Errorf("%s: got %+v, want %+v", operator, got, want)
				}
			}
		}
		if value[1] != "" {
			text := statement(`"Condition":{"` + test + `":{"aws:x":[` + value[0] + "," + value[1] + `]}}`)
			_, err := policy.Parse(text, policy.Repository)
			if got := problem(t, text, err); got.Path != "Statement[0].Condition."+test+".aws:x[1]" {
				t.Errorf("%s of %s: got %v, want an error at the second value", test, value[1], got)
			}
		}
	}
	for _, unknown := range []string{"", "stringEquals", "StringEqual", "NotStringEquals", "IfExists", "StringEqualsIfExistsIfExists",
		"ForAllValues:", "ForAllValues:ForAnyValue:StringEquals", "forAnyValue:StringEquals", "ForAnyValues:StringEquals", "IPAddress"} {
		text := statement(`"Condition":{"` + unknown + `":{"aws:x":"a"}}`)
		_, err := policy.Parse(text, policy.Repository)
		if got, want := problem(t, text, err).Reason, `unknown condition operator "`+unknown+`"`; got != want {
			t.Errorf("operator %q: got %q, want %q", unknown, got, want)
		}
	}
}

func TestParseConditionValues(t *testing.T) {
	t.Parallel()
	prefix := func(s string) policy.Value { return policy.Value{Prefix: netip.MustParsePrefix(s)} }
	at := func(s string) policy.Value {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return policy.Value{Time: when.UTC()}
	}
	bare := func(v policy.Value, f policy.Form) policy.Value { v.Form = f; return v }
	tests := []struct {
		operator, value string
		want            policy.Value
	}{
		{"NumericEquals", `"-1.5e2"`, policy.Value{Number: -150}},
		{"NumericEquals", `1.50`, policy.Value{Number: 1.5, Form: policy.BareNumber}},
		{"DateEquals", `"2026-03-04T05:06:07+02:00"`, at("2026-03-04T03:06:07Z")},
		{"DateEquals", `"2026-03-04T05:06Z"`, at("2026-03-04T05:06:00Z")},
		{"DateEquals", `"2026-03-04"`, at("2026-03-04T00:00:00Z")},
		{"DateEquals", `"2026"`, at("2026-01-01T00:00:00Z")},
		{"DateEquals", `1700000000`, bare(at("2023-11-14T22:13:20Z"), policy.BareNumber)},
		{"DateEquals", `"0"`, at("1970-01-01T00:00:00Z")},
		{"DateEquals", `"253402300799"`, at("9999-12-31T23:59:59Z")},
		{"Bool", `true`, policy.Value{Truth: true, Form: policy.BareBoolean}},
		{"Bool", `"False"`, policy.Value{}},
		{"BinaryEquals", `"QmluYXJ5"`, policy.Value{Binary: []byte("Binary")}},
		{"IpAddress", `"10.1.2.3/8"`, prefix("10.0.0.0/8")},
		{"IpAddress", `"203.0.113.7"`, prefix("203.0.113.7/32")},
		{"IpAddress", `"::ffff:203.0.113.7"`, prefix("203.0.113.7/32")},
		{"IpAddress", `"::ffff:203.0.113.7/120"`, prefix("203.0.113.0/24")},
		{"IpAddress", `"2001:DB8::1"`, prefix("2001:db8::1/128")},
		{"StringEquals", `7`, policy.Value{Form: policy.BareNumber, Pattern: policy.Pattern{Text: "7", Parts: []policy.Part{{Text: "7"}}}}},
		{"StringEquals", `"a*"`, policy.Value{Pattern: policy.Pattern{Text: "a*", Parts: []policy.Part{{Text: "a*"}}}}},
		{"ArnEquals", `"a*"`, policy.Value{Pattern: policy.Pattern{Text: "a*", Parts: []policy.Part{{Text: "a"}, {Kind: policy.AnyRun}}}}},
	}
	for _, test := range tests {
		test.want.Text = strings.Trim(test.value, `"`)
		got := conditionsOf(t, `{"`+test.operator+`":{"AWS:sOURCEiP":`+test.value+`}}`)[0].Keys[0]
		want := policy.ConditionKey{Key: "AWS:sOURCEiP", Folded: "aws:sourceip", Values: []policy.Value{test.want}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s:\n got %+v\nwant %+v", test.operator, test.value, got, want)
		}
	}
	for operator, values := range map[string][]string{
		"NumericEquals": {`""`, `"0x10"`, `"Inf"`, `"NaN"`, `"1_000"`, `"1e999"`, `"${aws:x}"`, `true`},
		"DateEquals":    {`""`, `"2026-13-01"`, `-1`, `1.5`, `"253402300800"`, `"99999999999999"`},
		"IpAddress":     {`""`, `"10.0.0"`, `"10.0.0.0/"`, `"fe80::1%eth0/64"`, `"*"`},
		"BinaryEquals":  {`"QQ"`, `"Q Q="`},
		"StringEquals":  {`null`, `{}`, `[["a"]]`, `[null]`, `"${aws:x"`},
	} {
		for _, value := range values {
			text := statement(`"Condition":{"` + operator + `":{"aws:x":` + value + `}}`)
			if _, err := policy.Parse(text, policy.Repository); err == nil {
				t.Errorf("%s accepted the value %s", operator, value)
			}
		}
	}
}

// Conditions that IAM accepts although they have no effect: without operators, keys or values.
func TestParseEmptyConditions(t *testing.T) {
	t.Parallel()
	if got := conditionsOf(t, `{}`); len(got) != 0 {
		t.Errorf("{}: got %+v, want none", got)
	}
	if got := conditionsOf(t, `{"Bool":{}}`); len(got) != 1 || len(got[0].Keys) != 0 {
		t.Errorf(`{"Bool":{}}: got %+v, want a condition without keys`, got)
	}
	if got := conditionsOf(t, `{"Bool":{"aws:x":[]}}`)[0].Keys[0]; !got.List || len(got.Values) != 0 {
		t.Errorf(`{"Bool":{"aws:x":[]}}: got %+v, want a list without values`, got)
	}
}

func TestParseConditionKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"aws:SourceIp", "ecr:ResourceTag/Cost Center", "aws:ResourceTag/a:b/é", "login.example.com/x:aud"} {
		conditionsOf(t, `{"StringEquals":{"`+key+`":"x"}}`)
	}
	for _, key := range []string{"", "SourceIp", ":x", "aws:", "aws: x", " aws:x", "aws:x ", `aws:x\n`, "a b:x"} {
		text := statement(`"Condition":{"StringEquals":{"` + key + `":"x"}}`)
		_, err := policy.Parse(text, policy.Repository)
		if got := problem(t, text, err).Reason; !strings.HasSuffix(got, "is not a condition key") {
			t.Errorf("key %q: got %q, want … is not a condition key", key, got)
		}
	}
	text := statement(`"Condition":{"StringEquals":{"aws:SourceVpc":"x","AWS:sourcevpc":"y"}}`)
	_, err := policy.Parse(text, policy.Repository)
	if got, want := problem(t, text, err).Reason, `the key "AWS:sourcevpc" appears twice, in another case`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPatternParts(t *testing.T) {
	t.Parallel()
	lit := func(s string) policy.Part { return policy.Part{Text: s} }
	run, one := policy.Part{Kind: policy.AnyRun}, policy.Part{Kind: policy.AnyOne}
	const arn = "arn:aws:ecr:*:111122223333:repository/"
	head := []policy.Part{lit("arn:aws:ecr:"), run, lit(":111122223333:repository/")}
	tests := map[string][]policy.Part{
		"a?b":                {lit("a"), one, lit("b")},
		"**":                 {run},
		"??":                 {one, one},
		"${aws:UserName}/*":  {{Kind: policy.Variable, Text: "aws:username"}, lit("/"), run},
		"x${*}${?}${$}y":     {lit("x*?$y")},
		"${aws:x, 'a*b'}":    {{Kind: policy.Variable, Text: "aws:x", Default: "a*b", HasDefault: true}},
		"${aws:x,''}":        {{Kind: policy.Variable, Text: "aws:x", HasDefault: true}},
		"${aws:TagKeys/a b}": {{Kind: policy.Variable, Text: "aws:tagkeys/a b"}},
		"$x{y}":              {lit("$x{y}")},
	}
	for s, tail := range tests {
		want := append([]policy.Part{}, head...)
		if first := tail[0]; first.Kind == policy.Literal {
			want[2].Text += first.Text
			tail = tail[1:]
		}
		want = append(want, tail...)
		got := mustParse(t, statement(`"Resource":"`+arn+s+`"`)).Statements[0].Resource.Of[0]
		if diff := cmp.Diff(policy.Pattern{Text: arn + s, Parts: want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
}

// The colons in a variable do not separate parts of an ARN.
func TestVariableWithinARN(t *testing.T) {
	t.Parallel()
	const resource = "arn:aws:ecr:*:*:repository/${aws:username}:${aws:x, 'a:b'}"
	got := mustParse(t, statement(`"Resource":"`+resource+`"`)).Statements[0].Resource.Of[0].Parts
	want := []policy.Part{
		{Text: "arn:aws:ecr:"}, {Kind: policy.AnyRun}, {Text: ":"}, {Kind: policy.AnyRun}, {Text: ":repository/"},
		{Kind: policy.Variable, Text: "aws:username"}, {Text: ":"}, {Kind: policy.Variable, Text: "aws:x", Default: "a:b", HasDefault: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", resource, diff)
	}
}

// Attack 31: rules of the language that evaluators differ in. Actions and keys are case-insensitive, elements and
// operators are case-sensitive; version 2008-10-17 has no variables, so that ${ is plain text.
func TestAttack31Readings(t *testing.T) {
	t.Parallel()
	text := statement(`"Action":"ECR:Batch*Image"`)
	got := mustParse(t, text).Statements[0].Action.Of[0]
	want := policy.Pattern{Text: "ECR:Batch*Image", Parts: []policy.Part{{Text: "ecr:batch"}, {Kind: policy.AnyRun}, {Text: "image"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("action (-want +got):\n%s", diff)
	}
	const resource = "arn:aws:ecr:eu-west-1:111122223333:repository/${aws:username}"
	text = statement(`"Resource":"` + resource + `"`)
	for _, version := range []string{`"Version":"2008-10-17",`, ""} {
		old := mustParse(t, strings.Replace(text, `"Version":"2012-10-17",`, version, 1))
		if got := old.Statements[0].Resource.Of[0].Parts; len(got) != 1 || got[0].Text != resource || old.Language() != policy.Version2008 {
			t.Errorf("with %q the language is %s and the resource %+v, want one literal", version, old.Language(), got)
		}
	}
	// The version applies wherever it is written in the document.
	last := strings.TrimSuffix(strings.Replace(text, `"Version":"2012-10-17",`, "", 1), "}") + `,"Version":"2012-10-17"}`
	if got := mustParse(t, last).Statements[0].Resource.Of[0].Parts; len(got) != 2 || got[1].Kind != policy.Variable {
		t.Errorf("with the version at the end the resource is %+v, want a variable", got)
	}
}
