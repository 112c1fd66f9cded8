package endpoint

import (
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Served describes the host names that an installation answers for, apart from IP addresses.
type Served struct {
	Regions []name.Region // regions whose names of ECR are served
	IAMSTS  bool          // also the names of IAM and STS
	Domains []string      // served with everything below them: domains of the operator, the name of the machine
}

// Subtrees returns the DNS subtrees that contain all the names, sorted, each without a leading dot: a subtree x contains x and
// the names below it. localhost is always one of them. Of the domains of AWS the result has the subtrees of ECR, and with IAMSTS
// those of IAM and STS; an element of Domains that is a domain of AWS, or has one below it, adds nothing.
//
// The subtree ecr.REGION.amazonaws.com contains api.ecr.REGION.amazonaws.com and ACCOUNT.dkr.ecr.REGION.amazonaws.com.
// Source: ECR service model, endpoint rules; RFC 5280, 4.2.1.10.
func (s Served) Subtrees() []string {
	all := []string{"localhost"}
	for _, r := range s.Regions {
		region := r.String()
		d := domainsOf(r)
		for _, domain := range d.registry {
			all = append(all, "ecr."+region+"."+domain, "ecr-fips."+region+"."+domain)
			if s.IAMSTS {
				all = append(all, "iam."+domain, "iam."+region+"."+domain,
					"sts."+domain, "sts."+region+"."+domain, "sts-fips."+region+"."+domain)
			}
		}
		if d.dual != "" {
			all = append(all, "dkr-ecr."+region+"."+d.dual, "dkr-ecr-fips."+region+"."+d.dual)
		}
		all = append(all, "ecr."+region+"."+d.api, "ecr-fips."+region+"."+d.api)
	}
	for _, domain := range s.Domains {
		domain = strings.ToLower(strings.Trim(domain, "."))
		if domain != "" && !isPublic(domain) {
			all = append(all, domain)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Advice returns the setting with which Subtrees would contain a host that it does not contain, as the end of a sentence about that
// host. host is in lower case, without a trailing dot.
func (s Served) Advice(host string) string {
	var regions []name.Region
	if h, err := NewMap(nil, name.Registry{}).Parse(host); err == nil && h.Registry.Region != (name.Region{}) {
		regions = append(regions, h.Registry.Region)
	}
	with := Served{Regions: append(slices.Clip(s.Regions), regions...), IAMSTS: s.IAMSTS}
	switch {
	case len(regions) > 0 && Within(host, with.Subtrees()):
		return "to serve it, add the region to tls.regions: --tls-regions " + joinRegions(with.Regions)
	case Within(host, Served{Regions: s.Regions, IAMSTS: true}.Subtrees()):
		return "to serve it, set tls.iam_sts: --tls-iam-sts"
	case len(regions) > 0 && Within(host, Served{Regions: with.Regions, IAMSTS: true}.Subtrees()):
		return "to serve it, set tls.iam_sts and tls.regions: --tls-iam-sts --tls-regions " + joinRegions(with.Regions)
	case slices.ContainsFunc(public, func(d string) bool { return Within(host, []string{d}) }):
		return "it is a name of AWS that no setting serves"
	case strings.Contains(host, "."):
		return "to serve it, add its domain to domains: --domain " + host
	}
	return "no setting serves a name without a dot other than that of the machine; --tls=files serves any certificate"
}

// Within reports whether a host is in one of the DNS subtrees.
func Within(host string, subtrees []string) bool {
	return slices.ContainsFunc(subtrees, func(s string) bool { return host == s || strings.HasSuffix(host, "."+s) })
}

// public are the built-in domains that belong to AWS.
var public = slices.DeleteFunc(slices.Clone(builtin), func(d string) bool { return d == "localhost" })

// isPublic reports whether a domain is one of AWS or has one below it.
func isPublic(domain string) bool {
	return slices.ContainsFunc(public, func(p string) bool { return Within(p, []string{domain}) })
}

// regionDomains are the domains in which a region has names.
type regionDomains struct {
	registry []string // of registries and APIs; several where clients accept only the first, see RegistryHost
	dual     string   // of registries with dual-stack addresses, "" if there is none
	api      string   // of APIs with dual-stack addresses
}

// domainsOf returns the domains of a region. Source: ECR service model, endpoint rules; partitions.json of the AWS SDKs.
func domainsOf(r name.Region) regionDomains {
	switch r.Partition() {
	case "aws-cn":
		return regionDomains{[]string{"amazonaws.com.cn"}, "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn"}
	case "aws-eusc":
		return regionDomains{[]string{"amazonaws.com", "amazonaws.eu"}, "", "api.amazonwebservices.eu"}
	}
	return regionDomains{[]string{"amazonaws.com"}, "on.aws", "api.aws"}
}

func joinRegions(regions []name.Region) string {
	var texts []string
	for _, r := range regions {
		if !slices.Contains(texts, r.String()) {
			texts = append(texts, r.String())
		}
	}
	return strings.Join(texts, ",")
}
