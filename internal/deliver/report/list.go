package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const pageSize = 100

// OnReports resolves the reports of an account.
func OnReports[In interface{ GetAccountId() string }](s *Service, _ context.Context, req guard.Request,
	in In) (t guard.Target[name.Account], err error) {
	of, err := s.accountOf(req, in.GetAccountId())
	return guard.On(of, askOf(req, of, "report/*")), err
}

// Named is what has been reported under a name of an image.
type Named struct {
	Account name.Account
	Image   report.ImageName // of a digest: its Digest alone
}

// imageNamed is an input with the members accountId and imageName.
type imageNamed interface {
	GetAccountId() string
	GetImageName() string
}

// OnImage resolves the name of a reported image, or for annotations a digest.
func OnImage[In imageNamed](s *Service, _ context.Context, req guard.Request, in In) (t guard.Target[Named], err error) {
	v := Named{}
	if v.Account, err = s.accountOf(req, in.GetAccountId()); err != nil {
		return t, err
	}
	text := in.GetImageName()
	if d, err := name.ParseDigest(text); err == nil {
		v.Image = report.ImageName{Given: d.String(), Digest: d.String()}
		return guard.On(v, askOf(req, v.Account, "report/"+d.String())), nil
	}
	if v.Image, err = report.ParseImageName(text); err != nil {
		return t, integration.Bad("imageName", err.Error())
	}
	return guard.On(v, askOf(req, v.Account, "report/"+v.Image.Repository())), nil
}

// running are the names of the applications that run each digest.
type running map[string][]string

func (s *Service) runningIn(ctx context.Context, of name.Account) (running, []meta.Deployment, error) {
	all, err := s.meta.Deployments(ctx, of)
	if err != nil {
		return nil, nil, err
	}
	return runningOf(all), all, nil
}

func runningOf(all []meta.Deployment) running {
	r := running{}
	for _, d := range all {
		if key := d.Repository + "@" + d.Digest.String(); !slices.Contains(r[key], d.Application) {
			r[key] = append(r[key], d.Application)
		}
	}
	return r
}

// of returns the applications that run an image: by its digest, or by that of the index that it is in.
func (r running) of(one meta.ImageReport) []string {
	all := slices.Clone(r[one.Repository+"@"+one.Digest])
	if one.Parent != "" {
		for _, app := range r[one.Repository+"@"+one.Parent] {
			if !slices.Contains(all, app) {
				all = append(all, app)
			}
		}
	}
	slices.Sort(all)
	return all
}

func show(r meta.ImageReport, applications []string) ecrintypes.ImageReport {
	if r.CreatedAt.IsZero() { // an image that is built to be repeated says 1970, which the store keeps as 0
		r.CreatedAt = time.Unix(0, 0)
	}
	return ecrintypes.ImageReport{ImageName: r.Image, Repository: r.Repository, ImageTag: r.Tag, ImageDigest: r.Digest, ConfigDigest: r.Config,
		ParentDigest: r.Parent, ManifestList: r.List, RegistryType: ecrintypes.ReportedRegistryType(r.Type), Os: r.OS,
		Architecture: r.Architecture, ImageSize: r.Size, CreatedAt: *awswire.At(r.CreatedAt), ReportedAt: *awswire.At(r.ReportedAt),
		GitBranch: r.Branch, GitRepository: r.GitRepository, Revision: r.Revision, CommitMessage: r.Message, PullRequestUrl: r.Pull,
		Applications: applications}
}

// place is where a listing continues: after this report.
type place struct {
	Repository, Image, Digest string
	At                        int64
}

func placeOf(r meta.ImageReport) place {
	return place{r.Repository, r.Image, r.Digest, r.ReportedAt.UnixMicro()}
}

func (p place) compare(q place, byTime bool) int {
	if byTime {
		if n := cmp.Compare(q.At, p.At); n != 0 {
			return n
		}
	}
	return cmp.Or(cmp.Compare(p.Repository, q.Repository), cmp.Compare(p.Image, q.Image), cmp.Compare(p.Digest, q.Digest))
}

// selects reports whether a listing has a report.
func selects(in *ecrintypes.ListImageReportsRequest, r meta.ImageReport, applications []string) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return (len(in.Repositories) == 0 || slices.Contains(in.Repositories, r.Repository)) && is(in.ImageTag, r.Tag) &&
		is(string(in.RegistryType), r.Type) && is(in.GitBranch, r.Branch) &&
		(len(in.GitRepositories) == 0 || slices.Contains(in.GitRepositories, r.GitRepository)) &&
		(in.ApplicationName == "" || slices.Contains(applications, in.ApplicationName)) &&
		(in.Deployed == nil || *in.Deployed == (len(applications) > 0))
}

// listing returns the listing of an operation on an account with its filters, which are encoded as JSON, and reads into after, a pointer,
// the place of the row before the page that a token names.
//
// Errors: fault.InvalidParameter (the token).
func (s *Service) listing(operation string, of name.Account, filters any, token string, after any) (pagetoken.Listing, error) {
	text, err := json.Marshal(filters)
	if err != nil {
		return pagetoken.Listing{}, fmt.Errorf("encoding the filters of a listing: %w", err)
	}
	l := s.pages.Listing(operation, of.String(), string(text))
	return l, l.OpenJSON(token, after)
}

// sizeOf returns how many rows a page has for which a request asks; nil means pageSize.
func sizeOf(asked *int32) int {
	if asked == nil {
		return pageSize
	}
	return int(*asked)
}

// ListImageReports returns the reports that the request selects, by pages, in the order of their names, or with UPDATED the last one first.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListImageReports(ctx context.Context, _ identity.Caller, of name.Account, in *ecrintypes.ListImageReportsRequest) (
	*ecrintypes.ListImageReportsResponse, error) {
	byTime := in.SortBy == ecrintypes.ReportSortKeyUPDATED
	filters := *in
	filters.NextToken, filters.MaxResults = "", nil
	var after place
	listing, err := s.listing("ListImageReports", of, filters, in.NextToken, &after)
	if err != nil {
		return nil, err
	}
	all, err := s.meta.ImageReports(ctx, of)
	if err != nil {
		return nil, err
	}
	apps, _, err := s.runningIn(ctx, of)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b meta.ImageReport) int { return placeOf(a).compare(placeOf(b), byTime) })
	limit := sizeOf(in.MaxResults)
	out := &ecrintypes.ListImageReportsResponse{Reports: []ecrintypes.ImageReport{}}
	var last place
	for _, r := range all {
		applications := apps.of(r)
		if in.NextToken != "" && placeOf(r).compare(after, byTime) <= 0 || !selects(in, r, applications) {
			continue
		}
		if len(out.Reports) == limit {
			out.NextToken = listing.SealJSON(last)
			break
		}
		last = placeOf(r)
		out.Reports = append(out.Reports, show(r, applications))
	}
	return out, nil
}

// The limits of what GetImageReport returns.
const (
	maxShownImages      = 100
	maxShownAnnotations = 200
)

// GetImageReport returns all that is known under the name of an image: its binaries with their layers, annotations of the name and of its
// digests, and where it runs.
//
// Errors: fault.ObjectNotFound.
func (s *Service) GetImageReport(ctx context.Context, _ identity.Caller, n Named, _ *ecrintypes.GetImageReportRequest) (
	*ecrintypes.GetImageReportResponse, error) {
	found, err := s.meta.ReportsOf(ctx, n.Account, n.Image.Given, maxShownImages)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.ObjectNotFound.New("nothing has been reported about the image %s", name.Clip(n.Image.Given))
	}
	apps, deployments, err := s.runningIn(ctx, n.Account)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b meta.ImageReport) int { return b.ReportedAt.Compare(a.ReportedAt) })
	out := &ecrintypes.GetImageReportResponse{Images: []ecrintypes.ImageBinary{}, Annotations: []ecrintypes.ImageAnnotation{},
		Deployments: []ecrintypes.Deployment{}}
	subjects := []string{n.Image.Given}
	for _, r := range found {
		one, err := showBinary(r, apps.of(r))
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, one)
		for _, d := range []string{r.Digest, r.Config} {
			if d != "" && !slices.Contains(subjects, d) {
				subjects = append(subjects, d)
			}
		}
	}
	for _, subject := range subjects {
		all, err := s.meta.Annotations(ctx, n.Account, subject, maxShownAnnotations)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			out.Annotations = append(out.Annotations, ecrintypes.ImageAnnotation{Subject: a.Subject, Key: a.Key, Type: a.Type, Value: a.Value,
				SetAt: *awswire.At(a.SetAt)})
		}
	}
	for _, d := range deployments {
		if d.Repository == n.Image.Repository() && slices.Contains(subjects, d.Digest.String()) {
			out.Deployments = append(out.Deployments, showDeployment(d))
		}
	}
	return out, nil
}

func showBinary(r meta.ImageReport, applications []string) (b ecrintypes.ImageBinary, err error) {
	var d details
	if err := json.Unmarshal([]byte(r.Details), &d); err != nil {
		return b, fmt.Errorf("reading the report of %s: %w", r.Image, err)
	}
	b = ecrintypes.ImageBinary{Report: show(r, applications), Dockerfile: d.Dockerfile, WorkflowName: d.WorkflowName,
		WorkflowUrl: d.WorkflowURL,
		LogsUrl:     d.LogsURL, CiType: d.CIType}
	for _, l := range d.Layers {
		b.Layers = append(b.Layers, ecrintypes.ImageLayer{CreatedAt: awswire.At(l.Created), LayerSize: l.Size, Instruction: l.Instruction,
			Arguments: l.Args})
	}
	for _, key := range slices.Sorted(maps.Keys(d.Labels)) {
		b.Labels = append(b.Labels, ecrintypes.ImageLabel{Key: key, Value: d.Labels[key]})
	}
	if c := d.Commit; c != nil {
		b.Commit = &ecrintypes.ReportedCommit{GitProvider: d.GitProvider, Sha: c.SHA, Message: c.Message, Url: c.URL, Author: c.UserName,
			Avatar: c.Avatar, CommittedAt: awswire.At(c.Date)}
	}
	return b, nil
}

// AnnotateImage stores a value about an image: about its name, or about a digest whatever its name. It replaces that with the same key.
//
// Errors: fault.AccountNotFound.
func (s *Service) AnnotateImage(ctx context.Context, _ identity.Caller, n Named, in *ecrintypes.AnnotateImageRequest) (
	*ecrintypes.AnnotateImageResponse, error) {
	value := in.Value
	if !json.Valid([]byte(value)) {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding an annotation: %w", err)
		}
		value = string(text)
	}
	a := meta.Annotation{Subject: n.Image.Given, Key: in.Key, Type: cmp.Or(in.Type, "note"), Value: strings.TrimSpace(value)}
	return &ecrintypes.AnnotateImageResponse{}, s.meta.PutAnnotation(ctx, n.Account, a)
}
