package report

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Running are the images that an application is reported to run.
type Running struct {
	Account name.Account
	Images  []runningImage
}

type runningImage struct {
	report.ImageName
	digest name.Digest // zero if this server does not have the image
}

// The times for which a deployment is reported.
const (
	deployedFor    = 7 * 24 * time.Hour
	maxDeployedFor = 366 * 24 * time.Hour
)

// OnDeployments resolves what an application runs. For an image of this server that the request names by its tag, the caller needs
// the permission for ecr:DescribeImages, since the answer has its digest.
func OnDeployments(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ReportDeploymentsRequest) (t guard.Target[Running],
	err error) {
	v := Running{}
	if v.Account, err = s.accountOf(req, in.AccountId); err != nil {
		return t, err
	}
	resource := "application/" + in.ApplicationName
	if in.Namespace != "" {
		resource = "application/" + in.Namespace + "/" + in.ApplicationName
	}
	t = guard.On(v, askOf(req, v.Account, resource))
	for _, text := range in.Images {
		n, err := report.ParseImageName(text)
		if err != nil {
			return t, integration.Bad("images", err.Error())
		}
		one := runningImage{ImageName: n}
		if one.digest, err = s.digestHere(ctx, req, n, &t); err != nil {
			return t, err
		}
		t.Value.Images = append(t.Value.Images, one)
	}
	return t, nil
}

// digestHere returns the digest that an image has in its name, or in this server; zero if it has none.
func (s *Service) digestHere(ctx context.Context, req guard.Request, n report.ImageName,
	t *guard.Target[Running]) (d name.Digest, err error) {
	if n.Digest != "" {
		return name.ParseDigest(n.Digest)
	}
	at, repo, ok := s.here(ctx, req, n)
	if !ok {
		return d, nil
	}
	of, d, err := s.ecr.Image(ctx, at, repo.String(), n.Tag, "")
	if err != nil {
		return d, err
	}
	if t.Absent == nil {
		t.Absent = of.Absent
	}
	if req.By.Kind != identity.Operator {
		ask := of.Asks[0]
		ask.Action = "ecr:DescribeImages"
		t.Asks = append(t.Asks, ask)
	}
	return d, nil
}

// ReportDeployments stores which images an application runs in a namespace, instead of what was reported before. Until the time of the
// request, without one for seven days, no lifecycle policy acts on them. A tag of an image that this server does not have stands for the
// digest that was last reported under the name.
//
// Errors: fault.InvalidParameter (until), fault.ImageNotFound (the digest of an image is not known), and those of
// meta.Store.PutDeployments.
func (s *Service) ReportDeployments(ctx context.Context, by identity.Caller, v Running, in *ecrintypes.ReportDeploymentsRequest) (
	*ecrintypes.DeploymentsResponse, error) {
	until := s.now().Add(deployedFor)
	if in.Until != nil {
		until = in.Until.Time
		if !until.After(s.now()) || until.After(s.now().Add(maxDeployedFor)) {
			return nil, integration.Bad("until", "must be in the future, at most 366 days")
		}
	}
	out := &ecrintypes.DeploymentsResponse{Deployments: []ecrintypes.Deployment{}}
	var all []meta.Deployment
	for _, one := range v.Images {
		if one.digest == (name.Digest{}) {
			var err error
			if one.digest, err = s.lastReported(ctx, v.Account, one.Given); err != nil {
				return nil, err
			}
		}
		all = append(all, meta.Deployment{Application: in.ApplicationName, Namespace: in.Namespace, Image: one.Given,
			Repository: one.Repository(),
			Tag:        one.Tag, Digest: one.digest, Until: until, ReportedAt: s.now(), ReportedBy: by.ARN})
	}
	if err := s.meta.PutDeployments(ctx, v.Account, in.ApplicationName, in.Namespace, all); err != nil {
		return nil, err
	}
	for _, d := range all {
		out.Deployments = append(out.Deployments, showDeployment(d))
	}
	return out, nil
}

// lastReported returns the digest that was last reported under a name: of an index that of the index.
func (s *Service) lastReported(ctx context.Context, of name.Account, image string) (name.Digest, error) {
	found, err := s.meta.ReportsOf(ctx, of, image, maxShownImages)
	if err != nil {
		return name.Digest{}, err
	}
	var last *meta.ImageReport
	for i := range found {
		if found[i].Parent == "" && (last == nil || found[i].ReportedAt.After(last.ReportedAt)) {
			last = &found[i]
		}
	}
	if last == nil {
		return name.Digest{},
			fault.ImageNotFound.New("the digest of %s is not known: name the image by its digest, or report it before", name.Clip(image))
	}
	return name.ParseDigest(last.Digest)
}

func showDeployment(d meta.Deployment) ecrintypes.Deployment {
	return ecrintypes.Deployment{ApplicationName: d.Application, Namespace: d.Namespace, ImageName: d.Image, Repository: d.Repository,
		ImageTag: d.Tag, ImageDigest: d.Digest.String(), Until: *awswire.At(d.Until), ReportedAt: *awswire.At(d.ReportedAt),
		ReportedBy: d.ReportedBy}
}

// OnRunning resolves the deployments of an account.
func OnRunning(s *Service, _ context.Context, req guard.Request,
	in *ecrintypes.ListDeploymentsRequest) (t guard.Target[name.Account], err error) {
	of, err := s.accountOf(req, in.AccountId)
	return guard.On(of, askOf(req, of, "application/*")), err
}

// ListDeployments returns where images of an account run, by pages, in the order of applications, namespaces and names of images.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListDeployments(ctx context.Context, _ identity.Caller, of name.Account, in *ecrintypes.ListDeploymentsRequest) (
	*ecrintypes.DeploymentsResponse, error) {
	listing := s.pages.Listing("ListDeployments", of.String())
	var after [3]string
	if err := listing.OpenJSON(in.NextToken, &after); err != nil {
		return nil, err
	}
	all, err := s.meta.Deployments(ctx, of)
	if err != nil {
		return nil, err
	}
	limit := pageSize
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	out := &ecrintypes.DeploymentsResponse{Deployments: []ecrintypes.Deployment{}}
	var last [3]string
	for _, d := range all {
		at := [3]string{d.Application, d.Namespace, d.Image}
		if in.NextToken != "" && !later(at, after) {
			continue
		}
		if len(out.Deployments) == limit {
			out.NextToken = listing.SealJSON(last)
			break
		}
		last = at
		out.Deployments = append(out.Deployments, showDeployment(d))
	}
	return out, nil
}

// later reports whether a comes after b.
func later(a, b [3]string) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}
