package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of what a preview of a deletion reads. Each customer and each image is one operation.
const (
	maxAskedCustomers = 50
	maxAskedImages    = 20
	maxLosses         = 20 // that are named
)

// losses are who is hit by a deletion.
type losses struct {
	Customers     []link // who may pull what is deleted by their entitlements
	MoreCustomers int64  // that are entitled too, and are not named
	Unasked       int64  // customers whose entitlements were not read
	NoCustomers   *trouble
	Runs          []link // what runs it
	MoreRuns      bool
	NoRuns        *trouble
	Keep          string // how long it can be restored
}

// Entitled reports whether customers lose something, or could without being seen.
func (l *losses) Entitled() bool {
	return len(l.Customers) > 0 || l.Unasked > 0 || l.NoCustomers != nil
}

// losses returns who is hit by the deletion of tags of a repository; of the whole repository for none.
func (x *request) losses(repository string, tags []tagged) (*losses, error) {
	l := &losses{}
	if days := int64(x.Grace / (24 * time.Hour)); days > 0 {
		l.Keep = many(days, "day", "days")
	} else if x.Grace > 0 {
		l.Keep = span(x.Grace)
	}
	if err := l.customers(x, repository, tags); err != nil {
		return nil, err
	}
	var err error
	if len(tags) > 0 {
		err = l.runsOf(x, repository, tags)
	} else {
		err = l.runsIn(x, repository)
	}
	return l, err
}

// customers finds the customers with an entitlement that can reach what is deleted. Channels and times of releases are not looked at: the
// customer of such an entitlement counts.
func (l *losses) customers(x *request, repository string, tags []tagged) error {
	account := x.account.String()
	denied := func(err error) (bool, error) {
		if err != nil && x.status(err) == http.StatusForbidden {
			l.NoCustomers = x.troubleOf(err)
			l.NoCustomers.Nothing = false
			return true, nil
		}
		return false, err
	}
	apps, err := do[ecrintypes.DescribeApplicationsResponse](x, "ecrin", "DescribeApplications",
		&ecrintypes.DescribeApplicationsRequest{AccountId: account})
	if no, err := denied(err); no || err != nil {
		return err
	}
	asked := 0
	reaches := func(slug, customer string) (bool, error) {
		out, err := do[ecrintypes.ListEntitlementsResponse](x, "ecrin", "ListEntitlements", &ecrintypes.ListEntitlementsRequest{
			AccountId: account, ApplicationSlug: slug, CustomerId: customer})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(out.Entitlements, func(e ecrintypes.Entitlement) bool { return reachesAny(e, repository, tags) }), nil
	}
	for _, a := range apps.Applications {
		found, err := do[ecrintypes.ListCustomersResponse](x, "ecrin", "ListCustomers", &ecrintypes.ListCustomersRequest{
			AccountId: account, ApplicationSlug: a.ApplicationSlug, MaxResults: some[int32](maxAskedCustomers)})
		if no, err := denied(err); no || err != nil {
			return err
		}
		if len(found.Customers) == 0 {
			continue
		}
		all, err := reaches(a.ApplicationSlug, "")
		if no, err := denied(err); no || err != nil {
			return err
		}
		if all {
			l.add(link{Text: "all customers of " + shown(a.ApplicationSlug), To: x.applicationTo(a.ApplicationSlug, "customers")})
			continue
		}
		for _, c := range found.Customers {
			if end := timeOf(c.ExpiresAt); !end.IsZero() && !x.Now().Before(end) {
				continue // it may pull nothing
			}
			if asked++; asked > maxAskedCustomers {
				l.Unasked++
				continue
			}
			one, err := reaches(a.ApplicationSlug, c.CustomerId)
			if no, err := denied(err); no || err != nil {
				return err
			}
			if one {
				l.add(link{Text: shown(c.CustomerName) + " of " + shown(a.ApplicationSlug),
					To: x.applicationTo(a.ApplicationSlug, "customers", c.CustomerId)})
			}
		}
		if total := found.TotalCustomers; total != nil {
			l.Unasked += max(int64(*total)-int64(len(found.Customers)), 0)
		} else if found.NextToken != "" {
			l.Unasked++
		}
	}
	return nil
}

func (l *losses) add(customer link) {
	if len(l.Customers) == maxLosses {
		l.MoreCustomers++
		return
	}
	l.Customers = append(l.Customers, customer)
}

// reachesAny reports whether an entitlement can reach one of the tags, or the repository for none, whatever its channels and times say.
func reachesAny(e ecrintypes.Entitlement, repository string, tags []tagged) bool {
	if !(entitlement.Rule{Repositories: e.Repositories}).Reaches(repository) {
		return false
	}
	versions, err := semver.ParseRange(e.Versions)
	return len(tags) == 0 || slices.ContainsFunc(tags, func(t tagged) bool {
		return (len(e.ImageTags) == 0 || slices.ContainsFunc(e.ImageTags, func(p string) bool { return name.Matches(p, t.Tag) })) &&
			(e.Versions == "" || err != nil || versions.Contains(semver.Key(t.Tag))) &&
			(len(e.ImageDigests) == 0 || slices.Contains(e.ImageDigests, t.Digest))
	})
}

// runsOf finds what runs the images of tags.
func (l *losses) runsOf(x *request, repository string, tags []tagged) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Digest] {
			continue
		}
		if seen[t.Digest] = true; len(seen) > maxAskedImages {
			l.MoreRuns = true
			return nil
		}
		out, err := do[ecrintypes.ListImageUsesResponse](x, "ecrin", "ListImageUses", &ecrintypes.ListImageUsesRequest{
			RegistryId: x.account.String(), RepositoryName: repository, ImageDigest: t.Digest, MaxResults: some[int32](maxLosses)})
		if l.NoRuns, err = x.part(err); err != nil || out == nil {
			return err
		}
		l.MoreRuns = l.MoreRuns || out.NextToken != ""
		for _, u := range out.Uses {
			l.run(link{Text: shown(strings.TrimPrefix(u.UsedBy, "application/")) + " runs " + shown(t.Tag),
				To: x.repositoryPath(repository, "tags", t.Tag)})
		}
	}
	return nil
}

// runsIn finds what runs images of a repository.
func (l *losses) runsIn(x *request, repository string) error {
	out, err := do[ecrintypes.ListReportedRepositoriesResponse](x, "ecrin", "ListReportedRepositories",
		&ecrintypes.ListReportedRepositoriesRequest{AccountId: x.account.String(), Search: "/" + repository, Deployed: some(true),
			MaxResults: some[int32](pageSize)})
	if l.NoRuns, err = x.part(err); err != nil || out == nil {
		return err
	}
	l.MoreRuns = out.NextToken != ""
	for _, r := range out.Repositories {
		if _, of, _ := strings.Cut(r.Repository, "/"); of != repository {
			continue
		}
		for _, d := range r.Deployments {
			text := shown(strings.Trim(d.Namespace+"/"+d.ApplicationName, "/")) + " runs " + shown(cmp.Or(d.ImageTag, digest12(d.ImageDigest)))
			l.run(link{Text: text, To: x.runsPath(r.Repository)})
		}
	}
	return nil
}

func (l *losses) run(one link) {
	if len(l.Runs) == maxLosses {
		l.MoreRuns = true
		return
	}
	l.Runs = append(l.Runs, one)
}
