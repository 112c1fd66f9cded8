package identity_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Each operation of the two models succeeds at least once when it is called by the SDK, and its response is
// checked.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{Config: dialsLocal})
	stories := []struct {
		name string
		run  func(*testing.T, actor)
	}{
		{"users", users}, {"user policies", userPolicies}, {"access keys", accessKeys},
		{"login profiles", loginProfiles}, {"groups", groups},
		{"roles", roles}, {"role policies", rolePolicies}, {"service-linked roles", serviceLinked}, {"instance profiles", instanceProfiles},
		{"policies", policies}, {"versions", versions}, {"providers", providers}, {"account", account}, {"details", details},
		{"simulation", simulation}, {"sessions", sessions}, {"chained sessions", chained}, {"decoded denial",
			decodedDenial}, {"web identity", webIdentity},
	}
	ran := make(chan bool, len(stories))
	t.Run("by", func(t *testing.T) {
		for i, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, inst.account(t, fmt.Sprintf("1111222200%02d", i)))
				ran <- true
			})
		}
	})
	if t.Failed() || len(ran) < len(stories) {
		return // a test failed, or -run selects only a part
	}
	for service, names := range map[string][]string{"IAM": iamtypes.OperationNames, "STS": ststypes.OperationNames} {
		for _, n := range names {
			if !inst.calls.done[service+" "+n] {
				t.Errorf("no successful call of %s of %s", n, service)
			}
		}
	}
}
