package report

import (
	"cmp"
	"context"
	"reflect"
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

// maxRead limits the repositories whose reports are read at once.
const maxRead = 200

// ListReportedRepositories returns the repositories of the reports that the request selects and of what runs, each with its newest image
// and where it runs, by pages, in the order of their names, or with UPDATED the last report first. An index is no image of its own. A
// repository has at most 50 deployments in an answer.
//
// It reads the reports of the repositories of the page; with filters those of the repositories up to the end of the page, and with filters
// in the order of UPDATED all reports.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListReportedRepositories(ctx context.Context, _ identity.Caller, of name.Account,
	in *ecrintypes.ListReportedRepositoriesRequest) (*ecrintypes.ListReportedRepositoriesResponse, error) {
	filters := *in
	filters.NextToken, filters.MaxResults = "", nil
	var after repositoryPlace
	listing, err := s.listing("ListReportedRepositories", of, filters, in.NextToken, &after)
	if err != nil {
		return nil, err
	}
	limit, byTime := sizeOf(in.MaxResults), in.SortBy == ecrintypes.ReportSortKeyUPDATED
	filters.SortBy, filters.AccountId = "", ""
	filtered := !reflect.DeepEqual(filters, ecrintypes.ListReportedRepositoriesRequest{})
	var all []*found
	switch {
	case !byTime:
		all, err = s.byName(ctx, of, in, after.Repository, limit+1)
	case !filtered:
		all, err = s.byReport(ctx, of, in, after, limit+1)
	default:
		all, err = s.selected(ctx, of, in, after)
	}
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListReportedRepositoriesResponse{Repositories: []ecrintypes.ReportedRepository{}}
	for i, f := range all {
		if i == limit {
			out.NextToken = listing.SealJSON(all[i-1].place())
			break
		}
		slices.Sort(f.Applications)
		out.Repositories = append(out.Repositories, f.ReportedRepository)
	}
	return out, nil
}

// place is where a listing continues after a repository.
func (f *found) place() repositoryPlace { return repositoryPlace{f.Repository, f.at} }

// byName returns the repositories after a name that a request selects, at most limit.
func (s *Service) byName(ctx context.Context, of name.Account, in *ecrintypes.ListReportedRepositoriesRequest, after string, limit int) (
	all []*found, err error) {
	for len(all) < limit {
		names, err := s.meta.ReportedRepositories(ctx, of, after, min(limit, maxRead))
		if err != nil || len(names) == 0 {
			return all, err
		}
		after = names[len(names)-1]
		some, err := s.between(ctx, of, in, names[0], after)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(some, func(a, b *found) int { return a.place().compare(b.place(), false) })
		all = append(all, some...)
	}
	return all, nil
}

// byReport returns the repositories, the last report first, that come after a place, at most limit. The request has no filter.
func (s *Service) byReport(ctx context.Context, of name.Account, in *ecrintypes.ListReportedRepositoriesRequest, after repositoryPlace,
	limit int) (all []*found, err error) {
	last, err := s.meta.LastReports(ctx, of)
	if err != nil {
		return nil, err
	}
	places := make([]repositoryPlace, 0, len(last))
	for _, r := range last {
		if p := (repositoryPlace{r.Repository, r.At.UnixMicro()}); in.NextToken == "" || p.compare(after, true) > 0 {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b repositoryPlace) int { return a.compare(b, true) })
	for _, p := range places[:min(limit, len(places))] {
		some, err := s.between(ctx, of, in, p.Repository, p.Repository)
		if err != nil {
			return nil, err
		}
		all = append(all, some...) // none, if the reports have been deleted meanwhile
	}
	return all, nil
}

// selected returns all repositories that a request selects after a place, the last report first.
func (s *Service) selected(ctx context.Context, of name.Account, in *ecrintypes.ListReportedRepositoriesRequest, after repositoryPlace) (
	[]*found, error) {
	reports, err := s.meta.ImageReports(ctx, of)
	if err != nil {
		return nil, err
	}
	apps, places, err := s.runningIn(ctx, of)
	if err != nil {
		return nil, err
	}
	all := repositoriesOf(in, reports, places, apps)
	slices.SortFunc(all, func(a, b *found) int { return a.place().compare(b.place(), true) })
	return slices.DeleteFunc(all, func(f *found) bool { return in.NextToken != "" && f.place().compare(after, true) <= 0 }), nil
}

// between returns the repositories from one name to another one that a request selects.
func (s *Service) between(ctx context.Context, of name.Account, in *ecrintypes.ListReportedRepositoriesRequest, from, to string) ([]*found,
	error) {
	reports, err := s.meta.ImagesReportedIn(ctx, of, from, to)
	if err != nil {
		return nil, err
	}
	places, err := s.meta.DeploymentsIn(ctx, of, from, to)
	if err != nil {
		return nil, err
	}
	return repositoriesOf(in, reports, places, runningOf(places)), nil
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
		if f.newest.Repository != "" {
			one := show(f.newest, apps.of(f.newest))
			f.Newest = &one
		}
	}
	return all
}
