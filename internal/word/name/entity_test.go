package name_test

import (
	"errors"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestEntityARN(t *testing.T) {
	t.Parallel()
	account := name.MustAccount("111122223333")
	for s, want := range map[string]name.Entity{
		"arn:aws:iam::111122223333:root":                                   {Kind: name.AccountRoot},
		"arn:aws:iam::111122223333:user/bob":                               {Kind: name.IAMUser, Path: "/", Name: "bob"},
		"arn:aws:iam::111122223333:user/team/a/bob":                        {Kind: name.IAMUser, Path: "/team/a/", Name: "bob"},
		"arn:aws:iam::111122223333:group/dev":                              {Kind: name.IAMGroup, Path: "/", Name: "dev"},
		"arn:aws:iam::111122223333:role/service/ci":                        {Kind: name.IAMRole, Path: "/service/", Name: "ci"},
		"arn:aws:iam::111122223333:policy/p":                               {Kind: name.IAMPolicy, Path: "/", Name: "p"},
		"arn:aws:iam::111122223333:instance-profile/node":                  {Kind: name.InstanceProfile, Path: "/", Name: "node"},
		"arn:aws:iam::111122223333:oidc-provider/ci.example.com:8443/a/b":  {Kind: name.OIDCProvider, Name: "ci.example.com:8443/a/b"},
		"arn:aws:sts::111122223333:assumed-role/ci/build-7":                {Kind: name.AssumedRole, Name: "ci", Session: "build-7"},
		"arn:aws:sts::111122223333:federated-user/guest":                   {Kind: name.FederatedUser, Name: "guest"},
		"arn:aws:ecrin::111122223333:customer/shop/ada":                    {Kind: name.Customer, Name: "shop/ada"},
		"arn:aws-cn:iam::111122223333:user/cn":                             {Kind: name.IAMUser, Path: "/", Name: "cn"},
		"arn:aws-us-gov:sts::111122223333:assumed-role/ci/build@agent.gov": {Kind: name.AssumedRole, Name: "ci", Session: "build@agent.gov"},
	} {
		a, got, err := name.ParseEntityARN(s)
		if err != nil || got != want || a.Account != account || a.AWS {
			t.Errorf("ParseEntityARN(%q) = %+v, %+v, %v; want %+v of %s", s, a, got, err, want, account)
		}
		if back := got.ARN(a.Partition, account); back.String() != s {
			t.Errorf("the ARN of %+v = %q, want %q", got, back, s)
		}
	}
	const want = "arn:aws:iam::111122223333:role/ci"
	if got := (name.Entity{Kind: name.IAMRole, Name: "ci"}).ARN("aws", account).String(); got != want {
		t.Errorf("the ARN of a role without a path = %q, want %q", got, want)
	}
}

func TestAWSPolicyARN(t *testing.T) {
	t.Parallel()
	const want = "arn:aws-cn:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
	if got := name.AWSPolicyARN("aws-cn", "/service-role/", "AmazonECSTaskExecutionRolePolicy").String(); got != want {
		t.Errorf("AWSPolicyARN = %q, want %q", got, want)
	}
	a, e, err := name.ParseEntityARN(want)
	if err != nil || !a.AWS || a.Account != (name.Account{}) || e.Kind != name.IAMPolicy || e.Path != "/service-role/" {
		t.Errorf("ParseEntityARN(%q) = %+v, %+v, %v; want a policy of AWS", want, a, e, err)
	}
}

func TestParseEntityARNRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "bob", "111122223333", "arn:aws:iam::111122223333:root/x", "arn:aws:iam::111122223333:roots",
		"arn:aws:iam::111122223333:user", "arn:aws:iam::111122223333:user/", "arn:aws:iam::111122223333:role/x/",
		"arn:aws:iam::111122223333:oidc-provider/", "arn:aws:iam::111122223333:server-certificate/x",
		"arn:aws:iam::111122223333:assumed-role/ci/s", "arn:aws:sts::111122223333:user/bob", "arn:aws:sts::111122223333:assumed-role/ci",
		"arn:aws:sts::111122223333:assumed-role/ci/", "arn:aws:sts::111122223333:assumed-role//s",
		"arn:aws:sts::111122223333:assumed-role/path/ci/s", "arn:aws:sts::111122223333:federated-user/",
		"arn:aws:iam:us-east-1:111122223333:user/bob", "arn:aws:iam::aws:user/bob", "arn:aws:iam::aws:root",
		"arn:aws:iam:::policy/p", "arn:aws:iam:::root", "arn:aws:iam:::operator", "arn:aws:ecr:us-east-1:111122223333:repository/a",
	} {
		a, e, err := name.ParseEntityARN(s)
		if !errors.Is(err, fault.InvalidParameter) || a != (name.ARN{}) || e != (name.Entity{}) {
			t.Errorf("ParseEntityARN(%q) = %+v, %+v, %v; want InvalidParameter", s, a, e, err)
		}
	}
}

// The kind of an incomplete entity is returned, so that an error text can say what is missing.
func TestIncompleteEntityHasItsKind(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]name.EntityKind{
		"arn:aws:iam::111122223333:user":              name.IAMUser,
		"arn:aws:iam::111122223333:role/x/":           name.IAMRole,
		"arn:aws:iam::111122223333:root/x":            name.AccountRoot,
		"arn:aws:sts::111122223333:assumed-role/ci":   name.AssumedRole,
		"arn:aws:iam:us-east-1:111122223333:user/bob": "",
		"arn:aws:sts::111122223333:user/bob":          "",
	} {
		a, err := name.ParseARN(s)
		if err != nil {
			t.Fatalf("ParseARN(%q): %v", s, err)
		}
		if e, ok := a.Entity(); ok || e != (name.Entity{Kind: want}) {
			t.Errorf("%q names %+v, %t; want the kind %q alone and false", s, e, ok, want)
		}
	}
}
