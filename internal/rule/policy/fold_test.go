package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Only the letters of ASCII fold: the Kelvin sign is no k, and the long s no s, in values, keys, actions and truth values.
func TestAttack31OnlyASCIIFolds(t *testing.T) {
	t.Parallel()
	const kelvin, longS = "\u212a", "\u017f"
	var c policy.Context
	c.Set("aws:username", kelvin)
	c.Set("aws:PrincipalTag/team", "key"+longS)
	c.Set("aws:ResourceTag/équipe", "x")
	for condition, want := range map[string]bool{
		`{"StringEqualsIgnoreCase":{"aws:username":"k"}}`:                                 false,
		`{"StringEqualsIgnoreCase":{"aws:username":"K"}}`:                                 false,
		`{"StringEqualsIgnoreCase":{"aws:username":"` + kelvin + `"}}`:                    true,
		`{"StringNotEqualsIgnoreCase":{"aws:username":"k"}}`:                              true,
		`{"StringEqualsIgnoreCase":{"aws:PrincipalTag/team":"KEYS"}}`:                     false,
		`{"StringEqualsIgnoreCase":{"aws:PrincipalTag/team":"KEY` + longS + `"}}`:         true,
		`{"StringEqualsIgnoreCase":{"aws:PrincipalTag/team":"${AWS:principaltag/TEAM}"}}`: true,
		`{"Null":{"aws:to` + kelvin + `en":"true"}}`:                                      true,
		`{"Null":{"aws:PrincipalTag/TEAM":"false"}}`:                                      true,
		`{"Null":{"aws:ResourceTag/ÉQUIPE":"true"}}`:                                      true,
		`{"Null":{"aws:ResourceTag/éQUIPE":"false"}}`:                                     true,
	} {
		if got := holds(t, condition, &c); got != want {
			t.Errorf("%s: got %v, want %v", condition, got, want)
		}
	}
	c.Set("aws:PrincipalTag/"+kelvin, "sign")
	if got := c.Values("aws:PrincipalTag/k"); got != nil {
		t.Errorf("a tag called %q is read as k: %q", kelvin, got)
	}
	c.Set("aws:SecureTransport", "fal"+longS+"e")
	if holds(t, `{"Bool":{"aws:SecureTransport":"false"}}`, &c) {
		t.Error("a truth value with a long s was read as false")
	}
	for _, elements := range []string{
		`"Action":"ecr:BatchChec` + kelvin + `LayerAvailability"`, `"Action":"ecr:Li` + longS + `tImages"`,
		`"Condition":{"Bool":{"aws:SecureTransport":"fal` + longS + `e"}}`,
	} {
		if _, err := policy.Parse(statement(elements), policy.Repository); err == nil {
			t.Errorf("%s is accepted", elements)
		}
	}
	texts{identity: allow(`"ecr:BatchCheckLayerAvailability"`, "*", "")}.decide(t,
		requestCase{caller: alice, action: "ecr:BatchChec" + kelvin + "LayerAvailability", want: implicit},
		requestCase{caller: alice, action: "ECR:batchcheckLAYERavailability", want: allowed})
}

// A policy variable stands only behind the fifth colon of a resource's ARN. A policy that was stored when it could stand
// anywhere is still read, and its variables match within their parts.
// Source: IAM user guide, policy variables, where you can use them.
func TestAttack31VariablesBeforeTheFifthColon(t *testing.T) {
	t.Parallel()
	for _, resource := range []string{
		"arn:aws:ecr:${aws:RequestedRegion}:111111111111:repository/a", "arn:aws:ecr:*:${aws:PrincipalAccount}:repository/*",
		"arn:${aws:x, 'aws'}:ecr:*:*:repository/*", "arn:aws:ecr:*:${aws:PrincipalTag/a}*:repository/*", "arn:aws:ecr:*:${*}:repository/*",
		"arn:aws:${aws:x}*", "arn:aws:ecr:*:1111${aws:x}",
	} {
		for _, element := range []string{"Resource", "NotResource"} {
			text := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","` + element + `":"` + resource + `"}}`
			_, err := policy.Parse(text, policy.Identity)
			if err == nil {
				t.Errorf("%s %q is accepted", element, resource)
				continue
			}
			if got, want := problem(t, text,
				err).Reason, "a policy variable stands only behind the fifth colon of an ARN"; !strings.HasPrefix(got, want) {
				t.Errorf("%s %q: got %q, want %q", element, resource, got, want)
			}
		}
	}
	for text, kind := range map[string]policy.Kind{
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}:${aws:x}"}}`:                                             policy.Identity,
		`{"Version":"2008-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:ecr:*:${aws:x}:repository/a"}}`:                                                             policy.Identity,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:ResourceAccount}:role/admin"}}}}`: policy.Identity,
	} {
		if _, err := policy.Parse(text, kind); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	const stored = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:${aws:PrincipalTag/a}:*:repository/*"}}`
	d, err := policy.ParseStored(stored, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(d, nil)}}}
	for tag, want := range map[string]policy.Verdict{"eu-west-1": allowed, "us-east-1": implicit, "eu-west-1:111111111111": implicit} {
		r := requestCase{caller: alice, keys: "aws:PrincipalTag/a=" + tag}.request(t)
		if got := policy.Evaluate(p, r); got.Verdict != want {
			t.Errorf("a stored policy with the tag %q: got %s, want %s", tag, got.Verdict, want)
		}
	}
}
