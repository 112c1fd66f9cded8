package endpoint

import (
	"slices"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// HostNames returns the host names by which clients reach registries below a domain: ACCOUNT.dkr.ecr.REGION of each registry, and
// api.ecr.REGION and ecr.REGION of each region; with iamSTS also sts.REGION, sts and iam. An empty domain stands for that of AWS for the
// region. The names are unique; those of a region are together, in the order of the registries.
//
// Source: ECR service model, endpoint rules.
func HostNames(registries []name.Registry, domain string, iamSTS bool) []string {
	var all []string
	add := func(host string) {
		if !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	regions := map[name.Region][]name.Registry{}
	var order []name.Region
	for _, r := range registries {
		if regions[r.Region] == nil {
			order = append(order, r.Region)
		}
		regions[r.Region] = append(regions[r.Region], r)
	}
	for _, region := range order {
		below := domain
		if below == "" {
			below = domainsOf(region).registry[0]
		}
		for _, r := range regions[region] {
			add(RegistryName(r, below))
		}
		add("api.ecr." + region.String() + "." + below)
		add("ecr." + region.String() + "." + below)
		if iamSTS {
			add("sts." + region.String() + "." + below)
			add("sts." + below)
			add("iam." + below)
		}
	}
	return all
}
