package vendorapi

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

var clusterRows = []row{
	{method: "GET", path: "app/{app}/cluster-usage", serve: clusterUsage},
}

// maxInstancePages limits the pages of installations, of 1,000 each, that are counted.
const maxInstancePages = 20

// clusterKind is a kind of clusters on which installations run. What installations do not tell is empty.
type clusterKind struct {
	Distribution string `json:"kubernetes_distribution"`
	Version      string `json:"kubernetes_version"`
	KotsVersion  string `json:"kots_version"`
	Cloud        string `json:"cloud_provider"`
	IsKurl       bool   `json:"is_kurl"`
	Instances    int    `json:"number_of_instances"`
	IsAirgap     bool   `json:"is_airgap"` // never: an installation that cannot reach the server is not seen
}

// distributions are the distributions of Kubernetes that the text of a version names, with the cloud that they are of.
var distributions = []struct{ in, distribution, cloud string }{
	{"+k3s", "k3s", ""}, {"+rke2", "rke2", ""}, {"+k0s", "k0s", ""}, {"-eks-", "eks", "aws"}, {"-gke.", "gke", "gcp"},
}

func kindOf(version string) clusterKind {
	out := clusterKind{Version: version}
	for _, d := range distributions {
		if strings.Contains(version, d.in) {
			out.Distribution, out.Cloud = d.distribution, d.cloud
		}
	}
	return out
}

// clusterUsage counts installations by the versions of Kubernetes that they have told.
func clusterUsage(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	kinds := map[string]clusterKind{}
	in := &ecrintypes.ListInstancesRequest{ApplicationSlug: slug, MaxResults: new(int32(1000))}
	for range maxInstancePages {
		page, err := do[ecrintypes.ListInstancesResponse](x, "ListInstances", in)
		if err != nil {
			return answer{}, err
		}
		for _, i := range page.Instances {
			if i.KubernetesVersion == "" {
				continue
			}
			one, known := kinds[i.KubernetesVersion]
			if !known {
				one = kindOf(i.KubernetesVersion)
			}
			one.Instances++
			kinds[i.KubernetesVersion] = one
		}
		if in.NextToken = page.NextToken; in.NextToken == "" {
			break
		}
	}
	all := slices.AppendSeq([]clusterKind{}, maps.Values(kinds))
	slices.SortFunc(all, func(a, b clusterKind) int {
		return cmp.Or(b.Instances-a.Instances, strings.Compare(a.Version, b.Version))
	})
	return ok(map[string]any{"clusterUsageDetails": all})
}
