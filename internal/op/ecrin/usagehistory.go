package ecrin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnUsageHistory resolves the registry whose usage is read: all its repositories, or those of the request, which need not exist any more.
func OnUsageHistory(s *Service, _ context.Context, req guard.Request, in *ecrintypes.GetUsageHistoryRequest) (
	guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	if err != nil {
		return guard.Target[ecr.Registry]{}, err
	}
	names := slices.Clone(in.RepositoryNames)
	if in.RepositoryName != "" {
		names = append(names, in.RepositoryName)
	}
	t := guard.Target[ecr.Registry]{Value: at}
	for _, one := range names {
		if _, err := name.ParseRepo(one); err != nil {
			return guard.Target[ecr.Registry]{}, err
		}
		t.Asks = append(t.Asks, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN(one)})
	}
	if len(names) == 0 {
		t.Asks = []guard.Ask{{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN("*")}}
	}
	return t, nil
}

// usageHistoryPlace is where a listing of usage of hours or days continues.
type usageHistoryPlace struct {
	Start           time.Time
	Region, Subject string
}

// GetUsageHistory tells what was done in each hour or day, by repository, principal or tag, in the order of time and names, or all of a
// registry together; together with a repository name, of that repository. The denials of a registry are those of its principals, since
// many are of no repository. Without times it begins 24 hours ago, or with days 30 days ago, and ends now. Numbers appear after up to half
// a minute.
//
// With repositoryNames, or a repository and imageTags, the answer has the rows of these, in the order of time and names and without pages:
// at most 50 names in at most 31 hours or days.
//
// Errors: fault.InvalidParameter (nextToken, the times, principals of one repository, or names with what has none).
func (s *Service) GetUsageHistory(ctx context.Context, _ identity.Caller, r ecr.Registry, in *ecrintypes.GetUsageHistoryRequest) (
	*ecrintypes.GetUsageHistoryResponse, error) {
	q := meta.UsageQuery{Registry: r.Registry, Kind: meta.ByRepository, Daily: in.Granularity == ecrintypes.UsageGranularityDAILY,
		To: s.now(), Subject: in.RepositoryName}
	if in.GroupBy == ecrintypes.UsageGroupPRINCIPAL {
		if q.Kind = meta.ByPrincipal; in.RepositoryName != "" {
			return nil, ecr.BadMember("groupBy", "PRINCIPAL is counted for the registry, not for one repository")
		}
	}
	if in.GroupBy == ecrintypes.UsageGroupTAG {
		q.Kind = meta.ByTag
	}
	unit, length := time.Hour, 24*time.Hour
	if q.Daily {
		unit, length = 24*time.Hour, 30*24*time.Hour
	}
	if in.EndTime != nil {
		q.To = in.EndTime.Time
	}
	q.From = q.To.Add(-length)
	if in.StartTime != nil {
		q.From = in.StartTime.Time
	}
	if q.From.After(q.To) {
		return nil, ecr.BadMember("startTime", "must not be after endTime")
	}
	q.From = q.From.UTC().Truncate(unit) // the hour or day in which it is
	if len(in.RepositoryNames)+len(in.ImageTags) > 0 {
		rows, err := s.usageOfNames(ctx, q, in, unit)
		if err != nil {
			return nil, err
		}
		out := &ecrintypes.GetUsageHistoryResponse{Usage: []ecrintypes.UsagePeriod{}}
		for _, row := range rows {
			out.Usage = append(out.Usage, usagePeriod(q, in, row))
		}
		return out, nil
	}
	scope := "GetUsageHistory " + r.Registry.String() + " " + in.RepositoryName + " " + string(in.GroupBy) + " " + string(in.Granularity)
	var at usageHistoryPlace
	if err := s.resume(scope, in.NextToken, &at); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 1000)
	var rows []meta.UsageRow
	var err error
	if in.GroupBy == ecrintypes.UsageGroupREGISTRY {
		rows, err = s.usageTotals(ctx, q, at.Start, limit+1)
	} else {
		rows, err = s.meta.UsageHistory(ctx, q, meta.UsageKey{Start: at.Start, Region: at.Region, Subject: at.Subject}, limit+1)
	}
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.GetUsageHistoryResponse{Usage: []ecrintypes.UsagePeriod{}}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		out.NextToken = s.pages.Listing(scope).SealJSON(usageHistoryPlace{last.Start, last.Region, last.Subject})
	}
	for _, row := range rows {
		out.Usage = append(out.Usage, usagePeriod(q, in, row))
	}
	return out, nil
}

// usageTotals returns the sums of a registry, or of a repository. Those of a registry have all denials of its principals: many requests
// that are denied are of no repository.
func (s *Service) usageTotals(ctx context.Context, q meta.UsageQuery, after time.Time, limit int) ([]meta.UsageRow, error) {
	rows, err := s.meta.UsageTotals(ctx, q, after, limit)
	if err != nil || q.Subject != "" {
		return rows, err
	}
	q.Kind = meta.ByPrincipal
	people, err := s.meta.UsageTotals(ctx, q, after, limit)
	if err != nil {
		return nil, err
	}
	denials := map[time.Time]int64{}
	for _, p := range people {
		denials[p.Start] = p.Denials
	}
	for i := range rows {
		rows[i].Denials = denials[rows[i].Start]
		delete(denials, rows[i].Start)
	}
	for _, p := range people {
		if n := denials[p.Start]; n > 0 { // nothing was done in a repository then
			rows = append(rows, meta.UsageRow{UsageKey: p.UsageKey, Activity: meta.Activity{Denials: n}})
		}
	}
	slices.SortFunc(rows, func(a, b meta.UsageRow) int { return a.Start.Compare(b.Start) })
	return rows[:min(len(rows), limit)], nil
}

// usagePeriod returns a row as the answer has it.
func usagePeriod(q meta.UsageQuery, in *ecrintypes.GetUsageHistoryRequest, row meta.UsageRow) ecrintypes.UsagePeriod {
	one := ecrintypes.UsagePeriod{StartTime: *awswire.At(row.Start), Pulls: row.Pulls, Pushes: row.Pushes, Denials: row.Denials,
		SentBytes: row.Sent, StoredBytes: row.Stored, ReleasedBytes: row.Released}
	switch {
	case in.GroupBy == ecrintypes.UsageGroupREGISTRY:
		one.RepositoryName = in.RepositoryName
	case q.Kind == meta.ByPrincipal:
		one.Principal = row.Subject
	case q.Kind == meta.ByTag:
		one.RepositoryName, one.ImageTag, _ = strings.Cut(row.Subject, ":")
	default:
		one.RepositoryName = row.Subject
	}
	return one
}

// usageOfNames returns the rows of the repositories or tags of a request.
func (s *Service) usageOfNames(ctx context.Context, q meta.UsageQuery, in *ecrintypes.GetUsageHistoryRequest, unit time.Duration) (
	[]meta.UsageRow, error) {
	names := in.RepositoryNames
	switch {
	case in.NextToken != "":
		return nil, ecr.BadMember("nextToken", "an answer about names has one page")
	case q.To.Sub(q.From) > meta.MaxUsagePeriods*unit:
		return nil, ecr.BadMember("startTime", "an answer about names has at most 31 hours or days")
	case len(in.ImageTags) > 0 && (len(names) > 0 || in.RepositoryName == "" || q.Kind != meta.ByTag):
		return nil, ecr.BadMember("imageTags", "tags are of one repositoryName, by TAG")
	case len(names) > 0 && (in.RepositoryName != "" || q.Kind != meta.ByRepository || in.GroupBy == ecrintypes.UsageGroupREGISTRY):
		return nil, ecr.BadMember("repositoryNames", "they are counted by REPOSITORY, and without repositoryName")
	}
	if len(in.ImageTags) > 0 {
		names = nil
		for _, tag := range in.ImageTags {
			names = append(names, in.RepositoryName+":"+tag)
		}
	}
	rows, err := s.meta.UsageOf(ctx, q, names)
	slices.SortFunc(rows, func(a, b meta.UsageRow) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Subject, b.Subject))
	})
	return rows, err
}
