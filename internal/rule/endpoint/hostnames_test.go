package endpoint_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestHostNames(t *testing.T) {
	t.Parallel()
	one, two := name.MustAccount("111111111111"), name.MustAccount("222222222222")
	west, beijing := name.MustRegion("eu-west-1"), name.MustRegion("cn-north-1")
	registries := []name.Registry{{Account: one, Region: west}, {Account: one, Region: beijing}, {Account: two, Region: west},
		{Account: one, Region: west}}
	want := []string{"111111111111.dkr.ecr.eu-west-1.amazonaws.com", "222222222222.dkr.ecr.eu-west-1.amazonaws.com",
		"api.ecr.eu-west-1.amazonaws.com", "ecr.eu-west-1.amazonaws.com", "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn",
		"api.ecr.cn-north-1.amazonaws.com.cn", "ecr.cn-north-1.amazonaws.com.cn"}
	if diff := cmp.Diff(want, endpoint.HostNames(registries, "", false)); diff != "" {
		t.Errorf("under the domains of AWS (-want +got):\n%s", diff)
	}
	want = []string{"222222222222.dkr.ecr.eu-west-1.ecr.test", "api.ecr.eu-west-1.ecr.test", "ecr.eu-west-1.ecr.test",
		"sts.eu-west-1.ecr.test", "sts.ecr.test", "iam.ecr.test"}
	if diff := cmp.Diff(want, endpoint.HostNames(registries[2:3], "ecr.test", true)); diff != "" {
		t.Errorf("under ecr.test with IAM and STS (-want +got):\n%s", diff)
	}
	if got := endpoint.HostNames(nil, "", true); len(got) != 0 {
		t.Errorf("without registries: got %v, want none", got)
	}
}
