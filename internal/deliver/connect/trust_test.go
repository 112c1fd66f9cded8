package connect

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
)

// Names are compared as they are and namespaces as patterns, each in a statement of its own with the audience.
func TestTrust(t *testing.T) {
	t.Parallel()
	text, err := Trust("arn:aws:iam::111122223333:oidc-provider/i.test", "i.test", "aud", []Subject{{"shop", "web"}, {Namespace: "billing"},
		{"shop", "api"}, {Namespace: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	const federated = `"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/i.test"}`
	if err := json.Unmarshal([]byte(`{"Version":"2012-10-17","Statement":[{`+federated+`,"Condition":{"StringEquals":{"i.test:aud":"aud",
		"i.test:sub":["system:serviceaccount:shop:web","system:serviceaccount:shop:api"]}}},{`+federated+`,"Condition":{
		"StringEquals":{"i.test:aud":"aud"},"StringLike":{"i.test:sub":["system:serviceaccount:billing:*","system:serviceaccount:*"]}}}]}`),
		&want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the trust policy (-want +got):\n%s", d)
	}
}

// Names of Kubernetes have no * or other characters of patterns.
func TestParseSubject(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"shop/web": true, "shop/*": false, "shop": false, "/web": false, "a/b/c": false, "shop/w?b": false,
		"Shop/web": false} {
		if got, err := ParseSubject(text); (err == nil) != ok {
			t.Errorf("ParseSubject(%q): got %+v and %v, want ok = %t", text, got, err, ok)
		}
	}
	for text, ok := range map[string]bool{"shop": true, "*": true, "sh*": false, "": false, "a:b": false} {
		if got, err := ParseNamespace(text); (err == nil) != ok {
			t.Errorf("ParseNamespace(%q): got %+v and %v, want ok = %t", text, got, err, ok)
		}
	}
}

// Role and provider are those of the partition of the region.
func TestPartition(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov",
		"eusc-de-east-1": "aws-eusc", "": "aws"} {
		c := Connection{Account: "000000000000", Role: "pull", Config: aws.Config{Region: region},
			Issuer: kube.Issuer{URL: "https://issuer.test"}}
		if got, want := c.RoleARN()+" "+c.ProviderARN(), "arn:"+want+":iam::000000000000:role/pull arn:"+want+
			":iam::000000000000:oidc-provider/issuer.test"; got != want {
			t.Errorf("%s: got %s, want %s", region, got, want)
		}
	}
}
