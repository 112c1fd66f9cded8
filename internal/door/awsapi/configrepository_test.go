package awsapi_test

import (
	"strings"
	"testing"
)

// Who sets the certificate to which the secrets of all integrations are sealed can use them all, and needs that right.
func TestConfigRepositoryNeedsTheUseOfIntegrations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("carla", allow("ecr:ListImages"))
	rights := []string{"ecrin:PutConfigRepository", "ecrin:UseIntegration", "ecrin:UseCloudIntegration"}
	const in = `{"url":"https://git.invalid/config.git","namespace":"x","secretStore":"vault"}`
	for _, without := range append(rights, "") {
		var actions []string
		for _, a := range rights {
			if a != without {
				actions = append(actions, a)
			}
		}
		s.setInlinePolicy("carla", allow(actions...))
		got := s.callEcrin(user, "PutConfigRepository", in)
		switch {
		case without == "" && got.Status != 200:
			t.Errorf("with all rights: got %+v", got)
		case without != "" && (got.Type != "AccessDeniedException" || !strings.Contains(got.Message, without)):
			t.Errorf("without %s: got %+v, want a denial that names it", without, got)
		}
	}
}
