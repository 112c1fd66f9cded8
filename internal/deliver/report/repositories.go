package report

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxPlaces limits the deployments of one repository in a listing.
const maxPlaces = 50

// found is a repository of a listing while it is read.
type found struct {
	ecrintypes.ReportedRepository
	newest meta.ImageReport
	runs   map[string]bool // digests
	at     int64           // microseconds of the last report
}

// repositoryPlace is where a listing of repositories continues: after this one.
type repositoryPlace struct {
	Repository string
	At         int64
}

func (p repositoryPlace) compare(q repositoryPlace, byTime bool) int {
	if byTime {
		if n := cmp.Compare(q.At, p.At); n != 0 {
			return n
		}
	}
	return cmp.Compare(p.Repository, q.Repository)
}

// ListReportedRepositories returns the repositories of the reports that the request selects and of what runs, each with its newest image
// and where it runs, by pages, in the order of their names, or with UPDATED the last report first. An index is no image of its own. A
// repository has at most 50 deployments in an answer.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListReportedRepositories(ctx context.Context, _ identity.Caller, of name.Account,
	in *ecrintypes.ListReportedRepositoriesRequest) (*ecrintypes.ListReportedRepositoriesResponse, error) {
	byTime := in.SortBy == ecrintypes.ReportSortKeyUPDATED
	filters := *in
	filters.NextToken, filters.MaxResults = "", nil
	var after repositoryPlace
	listing, err := s.listing("ListReportedRepositories", of, filters, in.NextToken, &after)
	if err != nil {
		return nil, err
	}
	reports, err := s.meta.ImageReports(ctx, of)
	if err != nil {
		return nil, err
	}
	apps, places, err := s.runningIn(ctx, of)
	if err != nil {
		return nil, err
	}
	all := repositoriesOf(in, reports, places, apps)
	placeOf := func(f *found) repositoryPlace { return repositoryPlace{f.Repository, f.at} }
	slices.SortFunc(all, func(a, b *found) int { return placeOf(a).compare(placeOf(b), byTime) })
	limit := sizeOf(in.MaxResults)
	out := &ecrintypes.ListReportedRepositoriesResponse{Repositories: []ecrintypes.ReportedRepository{}}
	var last repositoryPlace
	for _, f := range all {
		if in.NextToken != "" && placeOf(f).compare(after, byTime) <= 0 {
			continue
		}
		if len(out.Repositories) == limit {
			out.NextToken = listing.SealJSON(last)
			break
		}
		last = placeOf(f)
		if f.newest.Repository != "" {
			one := show(f.newest, apps.of(f.newest))
			f.Newest = &one
		}
		slices.Sort(f.Applications)
		out.Repositories = append(out.Repositories, f.ReportedRepository)
	}
	return out, nil
}

// searched reports whether a text is a part of the name of a repository, a tag, or the beginning of a digest.
func searched(text, repository, tag, digest string) bool {
	return text == "" || strings.Contains(repository, text) || text == tag || strings.Contains(text, ":") && strings.HasPrefix(digest, text)
}

// repositoriesOf returns the repositories of what a request selects.
func repositoriesOf(in *ecrintypes.ListReportedRepositoriesRequest, reports []meta.ImageReport, places []meta.Deployment,
	apps running) (all []*found) {
	at := map[string]*found{}
	get := func(repository string) *found {
		f := at[repository]
		if f == nil {
			f = &found{runs: map[string]bool{}}
			f.Repository, f.Applications, f.Deployments = repository, []string{}, []ecrintypes.Deployment{}
			at[repository] = f
			all = append(all, f)
		}
		return f
	}
	filter := &ecrintypes.ListImageReportsRequest{ImageTag: in.ImageTag, RegistryType: in.RegistryType, ApplicationName: in.ApplicationName,
		Deployed: in.Deployed, GitBranch: in.GitBranch, GitRepositories: in.GitRepositories}
	for _, r := range reports {
		if r.List || !selects(filter, r, apps.of(r)) || !searched(in.Search, r.Repository, r.Tag, r.Digest) {
			continue
		}
		f := get(r.Repository)
		f.ImageCount++
		if f.newest.Repository == "" || r.CreatedAt.After(f.newest.CreatedAt) {
			f.newest = r
		}
		f.at = max(f.at, r.ReportedAt.UnixMicro())
		if len(apps.of(r)) > 0 {
			f.runs[r.Digest] = true
		}
	}
	// What was not reported has no registry type, branch or git repository.
	only := in.RegistryType == "" && in.GitBranch == "" && len(in.GitRepositories) == 0 && (in.Deployed == nil || *in.Deployed)
	for _, d := range places {
		digest := d.Digest.String()
		f := at[d.Repository]
		if f == nil {
			if !only || in.ImageTag != "" && in.ImageTag != d.Tag || in.ApplicationName != "" && in.ApplicationName != d.Application ||
				!searched(in.Search, d.Repository, d.Tag, digest) {
				continue
			}
			f = get(d.Repository)
		}
		if f.newest.Repository == "" {
			f.at = max(f.at, d.ReportedAt.UnixMicro())
			f.runs[digest] = true
		}
		if !slices.Contains(f.Applications, d.Application) {
			f.Applications = append(f.Applications, d.Application)
		}
		if len(f.Deployments) < maxPlaces {
			f.Deployments = append(f.Deployments, showDeployment(d))
		}
	}
	for _, f := range all {
		f.DeployedCount = int32(len(f.runs))
	}
	return all
}
