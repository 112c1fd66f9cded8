package awsapi_test

import (
	"strings"
	"testing"
)

// An integration that names a cloud integration uses its key: who makes it, names another one in it or changes one that names it needs
// ecrin:UseCloudIntegration on the cloud integration, and not only the permission for the integration.
func TestIntegrationsNeedTheUseOfTheCloudIntegration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, label := range []string{"aws", "other"} {
		if got := s.callEcrin(s.key, "PutCloudIntegration", `{"cloudName":"`+label+`","region":"eu-west-1",
			"awsAccessKeyId":"AKIAAAAAAAAAAAAAAAAA","awsSecretAccessKey":"s"}`); got.Status != 200 {
			t.Fatalf("PutCloudIntegration: got %+v", got)
		}
	}
	const far = `"kind":"ECR","remoteRegistryId":"111122223333","remoteRegion":"eu-west-1","cloudName":"aws"}`
	user := s.user("carla", allow("ecrin:DescribeIntegrations"))
	steps := []struct{ what, operation, in string }{
		{"make one", "CreateIntegration", `{"integrationName":"far",` + far},
		{"change one that names it", "UpdateIntegration", `{"integrationName":"far","roleArn":"pull"}`},
		{"name another one", "UpdateIntegration", `{"integrationName":"far","cloudName":"other"}`},
	}
	for _, step := range steps {
		s.setInlinePolicy("carla", allow("ecrin:"+step.operation))
		if got := s.callEcrin(user, step.operation, step.in); got.Type != "AccessDeniedException" ||
			!strings.Contains(got.Message, "ecrin:UseCloudIntegration") || !strings.Contains(got.Message, ":cloud-integration/") {
			t.Errorf("%s without ecrin:UseCloudIntegration: got %+v, want a denial that names it", step.what, got)
		}
		s.setInlinePolicy("carla", allow("ecrin:UseCloudIntegration"))
		if got := s.callEcrin(user, step.operation, step.in); got.Type != "AccessDeniedException" ||
			!strings.Contains(got.Message, "ecrin:"+step.operation) {
			t.Errorf("%s without ecrin:%s: got %+v, want a denial that names it", step.what, step.operation, got)
		}
		s.setInlinePolicy("carla", allow("ecrin:"+step.operation, "ecrin:UseCloudIntegration"))
		if got := s.callEcrin(user, step.operation, step.in); got.Status != 200 {
			t.Errorf("%s with both: got %+v, want success", step.what, got)
		}
	}
}
