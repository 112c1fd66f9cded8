package policy_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// holds reports whether a condition holds for a context, by a statement that allows everything else.
func holds(t testing.TB, condition string, c *policy.Context) bool {
	t.Helper()
	return holdsIn(t, "2012-10-17", condition, c)
}

func holdsIn(t testing.TB, version, condition string, c *policy.Context) bool {
	t.Helper()
	d, err := policy.Parse(`{"Version":"`+version+`","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+
		condition+`}}`, policy.Identity)
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	p := &policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(d, nil)}}}
	account := name.MustAccount(owner)
	return policy.Evaluate(p, &policy.Request{
		Caller: policy.Caller{Kind: policy.User, Account: account, ARN: alice}, Action: "ecr:PutImage", Resource: webARN,
		ResourceAccount: account, Context: c,
	}).Allowed()
}

func TestOperators(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &policy.Context{Time: noon, SourceIP: netip.MustParseAddr("203.0.113.7")}
	c.Set("aws:PrincipalTag/Team", "Core")
	c.Set("aws:username", "alice")
	c.Set("aws:MultiFactorAuthAge", "300")
	c.Set("aws:SecureTransport", "true")
	c.Set("aws:PrincipalArn", role)
	c.Set("aws:TokenIssueTime", "2026-03-01T11:30:00Z")
	c.Set("ecr:Blob", "QmluYXJ5")
	c.Set("aws:VpcSourceIp", "10.1.2.3")
	c.Set("aws:empty", "")
	c.Set("aws:PrincipalTag/Short", strings.Repeat("0", 63)+"7") // a number has at most 64 characters
	c.Set("aws:PrincipalTag/Long", strings.Repeat("0", 64)+"7")
	c.SetList("aws:TagKeys", "env", "team")
	tests := []struct {
		condition string
		want      bool
	}{
		{`{"StringEquals":{"aws:PrincipalTag/team":"Core"}}`, true},
		{`{"StringEquals":{"AWS:pRINCIPALtAG/TEAM":["x","Core"]}}`, true},
		{`{"StringEquals":{"aws:PrincipalTag/team":"core"}}`, false},
		{`{"StringEquals":{"aws:PrincipalTag/team":"Cor*"}}`, false},
		{`{"StringEquals":{"aws:PrincipalTag/team":[]}}`, false},
		{`{"StringNotEquals":{"aws:PrincipalTag/team":"core"}}`, true},
		{`{"StringNotEquals":{"aws:PrincipalTag/team":["x","Core"]}}`, false},
		{`{"StringNotEquals":{"aws:PrincipalTag/team":[]}}`, true},
		{`{"StringEqualsIgnoreCase":{"aws:PrincipalTag/team":"cORE"}}`, true},
		{`{"StringEqualsIgnoreCase":{"aws:PrincipalTag/team":"cORE2"}}`, false},
		{`{"StringNotEqualsIgnoreCase":{"aws:PrincipalTag/team":"cORE"}}`, false},
		{`{"StringLike":{"aws:PrincipalTag/team":"C?r*"}}`, true},
		{`{"StringLike":{"aws:PrincipalTag/team":"c*"}}`, false},
		{`{"StringNotLike":{"aws:PrincipalTag/team":["x*","C*"]}}`, false},
		{`{"StringLike":{"aws:PrincipalArn":"arn:*deployer"}}`, true},

		{`{"NumericEquals":{"aws:MultiFactorAuthAge":"300.0"}}`, true},
		{`{"NumericNotEquals":{"aws:MultiFactorAuthAge":300}}`, false},
		{`{"NumericLessThan":{"aws:MultiFactorAuthAge":"300"}}`, false},
		{`{"NumericLessThanEquals":{"aws:MultiFactorAuthAge":"300"}}`, true},
		{`{"NumericGreaterThan":{"aws:MultiFactorAuthAge":"299"}}`, true},
		{`{"NumericGreaterThanEquals":{"aws:MultiFactorAuthAge":"301"}}`, false},
		{`{"NumericLessThan":{"aws:username":"300"}}`, false},
		{`{"NumericNotEquals":{"aws:username":"300"}}`, true},
		{`{"NumericEquals":{"aws:PrincipalTag/Short":"7"}}`, true},
		{`{"NumericEquals":{"aws:PrincipalTag/Long":"7"}}`, false},
		{`{"NumericGreaterThan":{"aws:EpochTime":"1772366399"}}`, true},

		{`{"DateLessThan":{"aws:CurrentTime":"2026-03-01T12:00:00Z"}}`, false},
		{`{"DateLessThanEquals":{"aws:CurrentTime":"2026-03-01T13:00:00+01:00"}}`, true},
		{`{"DateEquals":{"aws:CurrentTime":"1772366400"}}`, true},
		{`{"DateNotEquals":{"aws:CurrentTime":"2026-03-01T12:00:00Z"}}`, false},
		{`{"DateGreaterThan":{"aws:TokenIssueTime":"2026-03-01"}}`, true},
		{`{"DateGreaterThanEquals":{"aws:EpochTime":"2026-03-02"}}`, false},
		{`{"DateLessThan":{"aws:username":"2030-01-01"}}`, false},
		{`{"StringLike":{"aws:CurrentTime":"2026-03-01T*Z"}}`, true},

		{`{"Bool":{"aws:SecureTransport":"TRUE"}}`, true},
		{`{"Bool":{"aws:SecureTransport":false}}`, false},
		{`{"Bool":{"aws:username":"false"}}`, false},
		{`{"BinaryEquals":{"ecr:Blob":"QmluYXJ5"}}`, true},
		{`{"BinaryEquals":{"ecr:Blob":"QmluYXJ6"}}`, false},

		{`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.7"]}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"::/0"}}`, false},
		{`{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}`, false},
		{`{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}`, true},
		{`{"IpAddress":{"aws:username":"0.0.0.0/0"}}`, false},
		{`{"StringEquals":{"aws:SourceIp":"203.0.113.7"}}`, true},

		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:role/d*"}}`, true},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::1111?????111:role/deployer"}}`, true},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:*:role/deployer"}}`, false}, // a wildcard does not match beyond its part
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*"}}`, true},
		{`{"ArnLike":{"aws:username":"arn:aws:iam::*:*"}}`, false},
		{`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/*"}}`, true},
		{`{"ArnNotEquals":{"aws:PrincipalArn":["arn:aws:iam::*:user/*","` + role + `"]}}`, false},

		{`{"Null":{"aws:username":"false"}}`, true},
		{`{"Null":{"aws:username":"true"}}`, false},
		{`{"Null":{"aws:x":["true"]}}`, true},
		{`{"Null":{"aws:CurrentTime":"false","aws:SourceIp":"false","aws:TagKeys":"false"}}`, true},

		// Without the key.
		{`{"StringEquals":{"aws:x":"a"}}`, false},
		{`{"StringNotEquals":{"aws:x":"a"}}`, true},
		{`{"StringEqualsIfExists":{"aws:x":"a"}}`, true},
		{`{"NumericNotEqualsIfExists":{"aws:x":"1"}}`, true},
		{`{"NotIpAddress":{"aws:x":"10.0.0.0/8"}}`, true},
		{`{"ArnNotLike":{"aws:x":"arn:aws:iam::*:*"}}`, true},
		{`{"DateNotEquals":{"aws:x":"2026"}}`, true},
		{`{"Bool":{"aws:x":"false"}}`, false},
		{`{"BoolIfExists":{"aws:x":"true"}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:x":"a"}}`, true},
		{`{"ForAllValues:StringNotEquals":{"aws:x":"a"}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:x":"a"}}`, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:x":"a"}}`, false},
		{`{"ForAnyValue:StringEqualsIfExists":{"aws:x":"a"}}`, true},

		// With several values.
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["team","env","x"]}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":"env"}}`, false},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":"x"}}`, true},
		{`{"ForAllValues:StringNotLike":{"aws:TagKeys":"e*"}}`, false},
		{`{"ForAnyValue:StringLike":{"aws:TagKeys":"t*"}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":"x"}}`, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":"env"}}`, true},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env","team"]}}`, false},
		{`{"StringEquals":{"aws:TagKeys":"env"}}`, false}, // a list needs a set operator
		{`{"StringNotEquals":{"aws:TagKeys":"x"}}`, false},
		{`{"StringEqualsIfExists":{"aws:TagKeys":"env"}}`, false},
		{`{"ForAllValues:StringEquals":{"aws:username":"alice"}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:username":"bob"}}`, false},
		{`{"ForAllValues:StringEquals":{"aws:empty":"x"}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:empty":""}}`, false},
		{`{"StringEquals":{"aws:empty":""}}`, true},

		// Variables.
		{`{"StringEquals":{"aws:username":"${AWS:userName}"}}`, true},
		{`{"StringLike":{"aws:PrincipalArn":"*:role/${aws:x, 'dep'}*"}}`, true},
		{`{"StringEquals":{"aws:username":"${aws:x}"}}`, false},
		{`{"StringEquals":{"aws:username":["${aws:x}","alice"]}}`, true},
		{`{"StringNotEquals":{"aws:username":"${aws:x}"}}`, true},
		{`{"StringNotEquals":{"aws:username":["bob","${aws:x, 'carol'}"]}}`, true},
		{`{"StringEquals":{"aws:username":"${aws:TagKeys}"}}`, false}, // a list gives a variable no value
		{`{"StringEqualsIgnoreCase":{"aws:username":"A${*}"}}`, false},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:account,'111111111111'}:role/*"}}`, true},
		{`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:account}:role/*"}}`, true},

		// All operators and keys must hold.
		{`{"StringEquals":{"aws:username":"alice","aws:PrincipalTag/team":"Core"},"Bool":{"aws:SecureTransport":true}}`, true},
		{`{"StringEquals":{"aws:username":"alice","aws:PrincipalTag/team":"x"},"Bool":{"aws:SecureTransport":true}}`, false},
		{`{"Bool":{}}`, true},
	}
	for _, test := range tests {
		if got := holds(t, test.condition, c); got != test.want {
			t.Errorf("%s: got %v, want %v", test.condition, got, test.want)
		}
	}
	if holdsIn(t, "2008-10-17", `{"StringEquals":{"aws:username":"${aws:username}"}}`, c) {
		t.Error("version 2008-10-17 replaced a policy variable")
	}
	c.Set("aws:literal", "${aws:username}")
	if !holdsIn(t, "2008-10-17", `{"StringEquals":{"aws:literal":"${aws:username}"}}`, c) {
		t.Error("version 2008-10-17 did not compare a policy variable as plain text")
	}
}

// A wildcard in the value of a variable is a plain character.
func TestVariableValuesHaveNoWildcards(t *testing.T) {
	t.Parallel()
	var c policy.Context
	c.Set("aws:PrincipalTag/prefix", "*")
	c.Set("aws:username", "alice")
	if holds(t, `{"StringLike":{"aws:username":"${aws:PrincipalTag/prefix}"}}`, &c) {
		t.Error("a tag of * matched everything")
	}
	c.Set("aws:username", "*")
	if !holds(t, `{"StringLike":{"aws:username":"${aws:PrincipalTag/prefix}"}}`, &c) {
		t.Error("a tag of * did not match *")
	}
}

func TestContextSet(t *testing.T) {
	t.Parallel()
	var c policy.Context
	c.Set("aws:SourceIp", "::ffff:10.1.2.3")
	c.Set("AWS:CurrentTime", "2026-03-01T12:00:00Z")
	c.Set("A:b", "1")
	c.SetList("a:B", "2", "3")
	for key, want := range map[string]string{
		"aws:sourceip": "10.1.2.3", "aws:CurrentTime": "2026-03-01T12:00:00Z", "aws:EpochTime": "1772366400", "a:b": "2 3", "x:y": "",
	} {
		if got := strings.Join(c.Values(key), " "); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	c.SetList("a:b")
	if got := c.Values("a:b"); got != nil {
		t.Errorf("after SetList without values: %q", got)
	}
}

// StringLike gives the same results as a regular expression made from the pattern.
func TestStringLikeIsRegular(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("aabé*?")), 0, 12, -1).Draw(rt, "pattern")
		value := rapid.StringOfN(rapid.RuneFrom([]rune("aabé")), 0, 16, -1).Draw(rt, "value")
		expression := strings.NewReplacer("*", ".*", "?", ".").Replace(pattern)
		want := regexp.MustCompile("^(?s:" + expression + ")$").MatchString(value)
		var c policy.Context
		c.Set("a:b", value)
		if got := holds(t, `{"StringLike":{"a:b":"`+pattern+`"}}`, &c); got != want {
			rt.Fatalf("%q like %q: got %v, want %v", value, pattern, got, want)
		}
		folded := strings.NewReplacer("a", "A", "*", "a", "?", "É").Replace(pattern)
		lower := strings.NewReplacer("A", "a", "B", "b").Replace
		if got, want := holds(t, `{"StringEqualsIgnoreCase":{"a:b":"`+folded+`"}}`, &c), lower(folded) == lower(value); got != want {
			rt.Fatalf("%q equals %q but for case: got %v, want %v", value, folded, got, want)
		}
	})
}
