package assertion

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Actions without an operation of the same name.
var (
	iamOnly   = []string{"PassRole"}
	stsOnly   = []string{"SetSourceIdentity", "TagSession"}
	ecrinOnly = []string{"ArchiveCustomer", "CreateOwnToken", "UnarchiveCustomer", "UseCloudIntegration", "UseIntegration"}
)

// actionsOf returns the actions of a service with their prefix; nil if ecrin has no such service.
func actionsOf(service string) []string {
	var all []string
	switch service {
	case "ecr":
		return policy.Actions()
	case "iam":
		all = slices.Concat(iamtypes.OperationNames, iamOnly)
	case "sts":
		all = slices.Concat(ststypes.OperationNames, stsOnly)
	case "ecrin":
		all = slices.Concat(ecrintypes.OperationNames, ecrinOnly)
	}
	for i := range all {
		all[i] = service + ":" + all[i]
	}
	return all
}

// CheckAction returns an error if there is no action with a name such as ecr:PutImage, whatever its case, with the nearest one. A pattern
// is an error too.
func CheckAction(action string) error {
	service, _, _ := strings.Cut(strings.ToLower(action), ":")
	known := actionsOf(service)
	if known == nil {
		return fmt.Errorf("%q is no action of ecr, ecrin, iam or sts", name.Clip(action))
	}
	if strings.ContainsAny(action, "*?") {
		for _, one := range known {
			if ok, err := path.Match(strings.ToLower(action), strings.ToLower(one)); err == nil && ok {
				return fmt.Errorf("%q stands for several actions, such as %s: write a sentence for each", name.Clip(action), one)
			}
		}
		return fmt.Errorf("no action of %s matches %q", service, name.Clip(action))
	}
	if !slices.ContainsFunc(known, func(one string) bool { return strings.EqualFold(one, action) }) {
		return fmt.Errorf("there is no action %q; the nearest is %s", name.Clip(action), policy.Nearest(name.Clip(action), known))
	}
	return nil
}
