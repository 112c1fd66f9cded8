package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// What each kind of policy accepts and refuses; with an empty want it is accepted.
func TestKinds(t *testing.T) {
	t.Parallel()
	const all = `"Effect":"Allow","Action":"*","Resource":"*"`
	tests := []struct {
		kind       policy.Kind
		statements string
		want       string
	}{
		{policy.Identity, `{` + all + `}`, ""},
		{policy.Identity,
			`{"Effect":"Allow","Action":["s3:Get*","ecr-public:*","*:*"],"Resource":["arn:aws:s3:::b/*","arn:aws:ecr:*","arn:*:iam::111122223333:role/x"]}`, ""},
		{policy.Identity, `{"Effect":"Allow","NotAction":"iam:*","NotResource":"*"}`, ""},
		{policy.Identity, `{"Principal":"*",` + all + `}`, "Statement[0].Principal: identity-based policies have no Principal"},
		{policy.Identity, `{"Effect":"Allow","Action":"*"}`, "Statement[0]: the element Resource is missing"},
		{policy.Identity, `{"Effect":"Allow","Action":"GetObject","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got "GetObject"`},
		{policy.Identity, `{"Effect":"Allow","Action":"s?:GetObject","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got "s?:GetObject"`},
		{policy.Identity, `{"Effect":"Allow","Action":":x","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got ":x"`},
		// A name of an action may hold any printable ASCII character but a colon and a space.
		{policy.Identity, `{"Effect":"Allow","Action":["s3:a!b","s3:a~b"],"Resource":"*"}`, ""},
		{policy.Identity, `{"Effect":"Allow","Action":"s3:a b","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got "s3:a b"`},
		{policy.Identity, `{"Effect":"Allow","Action":"s3:a\u007fb","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got "s3:a\x7fb"`},
		{policy.Identity, `{"Effect":"Allow","Action":"s3:a:b","Resource":"*"}`,
			`Statement[0].Action: an action is * or SERVICE: and a name that may hold * and ?, got "s3:a:b"`},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"bucket"}`,
			`Statement[0].Resource: a resource is * or arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, got "bucket"`},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"arn:aws"}`,
			`Statement[0].Resource: a resource is * or arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, got "arn:aws"`},

		// What no request can match is accepted as IAM accepts it; the policies of ECR are stricter.
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3"}`, ""},
		{policy.Identity, `{"Effect":"Allow","Action":"service-prefix:action-name","Resource":"*"}`, ""},
		{policy.Session, `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"a":{}}}`, ""},
		{policy.Boundary, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":"b"}}}`, ""},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"a":{"b:c":"d"}}}`,
			`Statement[0].Condition: unknown condition operator "a"`},
		{policy.Repository, `{"Effect":"Allow","Principal":"*","Action":"ecr:*","Condition":{"a":{}}}`,
			`Statement[0].Condition: unknown condition operator "a"`},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"arn:aws:iam:us-east-1::x"}`,
			"Statement[0].Resource: ARNs of iam have no region"},
		{policy.Trust, `{"Effect":"Allow","Principal":"*","Action":"sts:GetFederationToken"}`,
			`Statement[0].Action: "sts:GetFederationToken" is no action that assumes a role`},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"arn:gcp:s3:::b"}`, `Statement[0].Resource: "gcp" is not a partition`},
		{policy.Identity, `{"Sid":"a b",` + all + `}`, `Statement[0].Sid: a Sid must consist of letters and digits, got "a b"`},
		{policy.Identity, `{"Sid":"a",` + all + `},{"Sid":"a",` + all + `}`, `Statement[1].Sid: another statement has the Sid "a"`},
		{policy.Repository,
			`{"Sid":"a b","Effect":"Allow","Principal":"*","Action":"*"},{"Sid":"a b","Effect":"Allow","Principal":"*","Action":"*"}`, ""},

		{policy.Session, `{` + all + `}`, ""},
		{policy.Boundary, `{` + all + `}`, ""},
		{policy.ServiceControl, `{` + all + `}`, ""},
		{policy.ServiceControl, `{"Principal":"*",` + all + `}`, "Statement[0].Principal: service control policies have no Principal"},
		{policy.Boundary, `{"NotPrincipal":"*",` + all + `}`, "Statement[0].NotPrincipal: boundary policies have no Principal"},
		{policy.ResourceControl, `{"Principal":"*",` + all + `}`, ""},
		{policy.ResourceControl, `{"Principal":{"AWS":"*"},` + all + `}`,
			`Statement[0].Principal: the principal of a resource control policy must be "*"`},
		{policy.ResourceControl, `{` + all + `}`, "Statement[0]: the element Principal is missing"},

		{policy.Trust, `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["sts:AssumeRole","sts:TagSession"]}`, ""},
		{policy.Trust,
			`{"Effect":"Allow","Principal":{"Federated":["arn:aws:iam::111122223333:oidc-provider/a.example.com/b","accounts.example.com"]},"Action":"sts:AssumeRoleWithWebIdentity"}`, ""},
		{policy.Trust, `{"Effect":"Allow","Principal":{"Federated":"*"},"Action":"sts:*"}`,
			`Statement[0].Principal.Federated: an identity provider is a host or the ARN of an oidc-provider or saml-provider, got "*"`},
		{policy.Trust, `{"Effect":"Allow","Principal":"*","Action":"*"}`,
			`Statement[0].Action: an action is sts: and a name that may hold * and ?, got "*"`},
		{policy.Trust, `{"Effect":"Allow","Principal":"*","Action":"sts:Assume!Role"}`,
			`Statement[0].Action: an action is sts: and a name that may hold * and ?, got "sts:Assume!Role"`},
		{policy.Repository, `{"Effect":"Allow","Principal":"*","Action":"ecr:Put!Image"}`,
			`Statement[0].Action: an action is * or ecr: and a name that may hold * and ?, got "ecr:Put!Image"`},
		{policy.Trust, `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}`,
			`Statement[0].Action: an action is sts: and a name that may hold * and ?, got "s3:GetObject"`},
		{policy.Trust, `{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`,
			"Statement[0].Resource: trust policies have no Resource"},
	}
	for _, test := range tests {
		text := `{"Version":"2012-10-17","Statement":[` + test.statements + `]}`
		d, err := policy.Parse(text, test.kind)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s policy %s: %v", test.kind, test.statements, err)
			} else {
				roundTrip(t, d)
			}
			continue
		}
		p := problem(t, text, err)
		if got := p.Path + ": " + p.Reason; got != test.want {
			t.Errorf("%s policy %s:\n got %s\nwant %s", test.kind, test.statements, got, test.want)
		}
		if test.kind != policy.Repository && !strings.Contains(err.Error(), "the "+test.kind.String()+" policy cannot be read: 1:") {
			t.Errorf("%s policy %s: the error %q has no kind and place", test.kind, test.statements, err)
		}
	}
}

func TestParseLimit(t *testing.T) {
	t.Parallel()
	text := `{ "Statement": [ {"Effect":"Allow", "Action":"*", "Resource":"*"} ] }`
	length := len(strings.ReplaceAll(text, " ", ""))
	if _, err := policy.ParseLimit(text, policy.Identity, length); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := policy.ParseLimit(text, policy.Identity, length-1)
	if got := problem(t, text, err).Reason; !strings.HasPrefix(got, "the policy has more than 61") {
		t.Errorf("over the limit: %q", got)
	}
}
