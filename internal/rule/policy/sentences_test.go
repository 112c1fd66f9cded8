package policy_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// A problem of a policy of IAM has the sentence with which IAM answers. Source: answers of IAM.
func TestSentencesOfIAM(t *testing.T) {
	t.Parallel()
	const (
		onlySTS  = "AssumeRole policy may only specify STS AssumeRole actions."
		notEmpty = `"Action":"s3:*","Resource":"*"`
		trusts   = `"Principal":"*","Action":"sts:AssumeRole"`
		letters  = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	)
	for _, test := range []struct {
		kind     policy.Kind
		elements string
		want     string
	}{
		{policy.Identity, `"Action":"invalid","Resource":"*"`, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{policy.Identity, `"Action":"a:b:c","Resource":"*"`, "Actions/Condition can contain only one colon."},
		{policy.Identity, `"Action":"s*:Get","Resource":"*"`, "Vendor s* is not valid"},
		{policy.Identity, `"Resource":"*"`, "Policy statement must contain actions."},
		{policy.Identity, `"Action":"s3:*"`, "Policy statement must contain resources."},
		{policy.Identity, notEmpty + `,"Principal":"*"`, "Policy document should not specify a principal."},
		{policy.Boundary, notEmpty + `,"Principal":"*"`, "Policy document should not specify a principal."},
		{policy.Identity, notEmpty + `,"Sid":"a_b"`, letters},
		{policy.Identity, notEmpty + `},{"Effect":"Allow","Sid":"s",` + notEmpty + `},{"Effect":"Allow","Sid":"s",` + notEmpty,
			"Statement IDs (SID) in a single policy must be unique."},
		{policy.Identity, `"Action":"s3:*","Resource":"adf"`, `Resource adf must be in ARN format or "*".`},
		{policy.Identity, `"Action":"s3:*","Resource":"arn:bsd:s3:::b"`, `Partition "bsd" is not valid for resource "arn:bsd:s3:::b".`},
		{policy.Identity, `"Action":"s3:*","Resource":"arn:aws::::b"`, "The policy failed legacy parsing"},
		{policy.Identity, `"Action":"s3:*","Resource":"arn:aws:s3:us-east-1::b"`,
			"Resource arn:aws:s3:us-east-1::b can not contain region information."},
		{policy.Identity, `"Action":"s3:*","Resource":"arn:aws:iam:us-east-1::x"`,
			"IAM resource arn:aws:iam:us-east-1::x cannot contain region information."},

		{policy.Trust, trusts + `,"Resource":"*"`, "Has prohibited field Resource"},
		{policy.Trust, trusts + `,"NotResource":"*"`, "Has prohibited field NotResource"},
		{policy.Trust, `"Principal":"*","Action":"s3:GetObject"`, onlySTS},
		{policy.Trust, `"Principal":"*","Action":"sts:GetFederationToken"`, onlySTS},
		{policy.Trust, trusts + `,"Condition":{"StringEquals":{"https://oidc.example.com/id/X:sub":"a"}}`,
			"Condition can contain only one colon."},
		{policy.Trust, `"Action":"sts:AssumeRole"`, ""}, // the sentence of IAM is not known
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + test.elements + `}]}`
		_, err := policy.Parse(text, test.kind)
		if got := problem(t, text, err).AWS; got != test.want {
			t.Errorf("%s policy with %s:\n got %s\nwant %s", test.kind, test.elements, got, test.want)
		}
	}
}
