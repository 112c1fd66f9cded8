package ecrin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// licensed is a pull of a customer that is being explained: its links are looked at in order, up to the first that is broken.
type licensed struct {
	s     *Service
	at    Licensee
	from  guard.Origin
	image rewrite.Reference
	text  string // the image as it was given

	registry  ecr.Registry
	repo      string
	proxied   string                // what follows proxy/SLUG/, or the image itself; "" for one of the vendor's own
	up        *integration.Upstream // of a proxied image
	unreached error                 // why a proxied image has none
	ask       guard.Ask
	why       *ecrintypes.Explanation
}

// ExplainLicense returns whether a customer may pull an image now, and why not: the licence, whose image it is, whether it is there, and
// the entitlements. The first link that is broken is the last step, with what mends it. An image without a host is one of the vendor's.
// Nothing is pulled.
//
// Errors: fault.InvalidParameter (the image).
func (s *Service) ExplainLicense(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.ExplainLicenseRequest) (
	*ecrintypes.ExplainLicenseResponse, error) {
	image, err := rewrite.ParseReference(in.Image)
	if err != nil {
		return nil, err
	}
	if image.Tag == "" && image.Digest == "" {
		image.Tag = "latest"
	}
	l := &licensed{s: s, at: at, image: image, text: in.Image, from: guard.Origin{Secure: at.Secure}}
	out := &ecrintypes.ExplainLicenseResponse{Allowed: true, Steps: []ecrintypes.LicenseStep{}}
	for _, link := range []struct {
		name  string
		check func(context.Context) (ecrintypes.LicenseStep, error)
	}{
		{"licence", l.license},
		{"application", l.application},
		{"integration", l.integrated},
		{"image", l.stored},
		{"entitlement", l.entitled},
		{"upstream", l.upstream},
	} {
		step, err := link.check(ctx)
		if err != nil {
			return nil, err
		}
		if step == (ecrintypes.LicenseStep{}) {
			continue // it is no link of this image
		}
		step.Name = link.name
		step.Passed = step.Problem == ""
		out.Steps = append(out.Steps, step)
		out.Allowed = step.Passed
		if !out.Allowed {
			break
		}
	}
	out.Explanation = l.why
	return out, nil
}

// customer returns the words of a command that name the customer.
func (l *licensed) customer() string { return l.at.Slug + " " + l.at.Customer.ID }

func (l *licensed) license(context.Context) (step ecrintypes.LicenseStep, _ error) {
	c := l.at.Customer
	switch end := c.ExpiresAt; {
	case !c.ArchivedAt.IsZero():
		step.Problem = fmt.Sprintf("the customer %s is archived since %s: each request is refused with status 401", c.Name,
			c.ArchivedAt.UTC().Format("2006-01-02T15:04:05Z"))
		step.Cure = "ecrin customer archive " + l.customer() + " --undo"
	case end.IsZero():
		step.Found = fmt.Sprintf("the licence of %s is valid, and has no end", c.Name)
	case !l.s.now().Before(end):
		step.Problem = fmt.Sprintf("the licence of %s has expired on %s: each request is refused with status 401", c.Name,
			end.UTC().Format("2006-01-02T15:04:05Z"))
		step.Cure = "ecrin customer update " + l.customer() + " --never-expires"
	default:
		step.Found = fmt.Sprintf("the licence of %s is valid until %s", c.Name, end.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return step, nil
}

// application finds the repository of the image, which must be one that the customers of the application can name.
func (l *licensed) application(ctx context.Context) (step ecrintypes.LicenseStep, _ error) {
	at := l.s.hosts.Default()
	l.registry.Registry = name.Registry{Account: l.at.Account, Region: at.Region}
	host, err := l.s.hosts.Parse(l.image.Host)
	if l.image.Host == "" {
		l.repo = l.image.Path
	} else {
		if err == nil && host.Kind == endpoint.Registry && host.Registry.Account == l.at.Account {
			l.registry.Registry = host.Registry
		}
		of, alias, err := l.s.vendor.HostOf(ctx, l.image.Host)
		if err != nil {
			return step, err
		}
		if alias && of.Application != l.at.ID {
			step.Problem = fmt.Sprintf("the host %s is one of another application, and the licence is one of %s: the request is refused with "+
				"status 403", of.Host, l.at.Slug)
			step.Cure = "pull from " + l.at.Host.String() + strings.TrimPrefix(l.text, l.image.Host)
			return step, nil
		}
		text, byProxy := strings.CutPrefix(l.image.Path, "proxy/")
		slug, rest, _ := strings.Cut(text, "/")
		if byProxy && slug != l.at.Slug {
			step.Problem = fmt.Sprintf("the image is one of the application %s, and the licence is one of %s: the request is refused with "+
				"status 403", slug, l.at.Slug)
			step.Cure = "pull " + strings.Replace(l.text, "proxy/"+slug+"/", "proxy/"+l.at.Slug+"/", 1) +
				", or with a licence of the application " + slug
			return step, nil
		}
		if err := l.find(ctx, rest, byProxy); err != nil {
			return step, err
		}
	}
	if l.proxied != "" {
		step.Found = fmt.Sprintf("the image is pulled as proxy/%s/%s", l.at.Slug, l.proxied)
		return step, nil
	}
	step.Found = fmt.Sprintf("the image is %s of the application %s", l.repo, l.at.Slug)
	return step, nil
}

func (l *licensed) reference() string {
	if l.image.Digest != "" {
		return "@" + l.image.Digest
	}
	return ":" + l.image.Tag
}

// stored finds the image.
func (l *licensed) stored(ctx context.Context) (step ecrintypes.LicenseStep, _ error) {
	if l.proxied != "" {
		return step, l.proxiedAsk(ctx)
	}
	absent := func(what string) (ecrintypes.LicenseStep, error) {
		step.Problem = what + ": a pull ends with status 404, or with 403 if no entitlement reaches it"
		step.Cure = fmt.Sprintf("push the image: skopeo copy docker-archive:IMAGE.tar docker://%s/%s%s", l.at.Host, l.repo, l.reference())
		return step, nil
	}
	if _, err := name.ParseRepo(l.repo); err != nil {
		return absent(fmt.Sprintf("%s is no repository of the vendor", l.repo))
	}
	t, err := l.s.ecr.Repository(ctx, l.registry, l.repo)
	if err != nil {
		return step, err
	}
	if t.Absent != nil {
		return absent(fmt.Sprintf("there is no repository %s in the region %s of the account %s", l.repo, l.registry.Region, l.registry.Account))
	}
	l.ask = t.Asks[0]
	l.ask.Action = "ecr:BatchGetImage"
	l.ask.Image.Stored = true
	var of name.Reference
	if l.image.Digest != "" {
		of.Digest, err = name.ParseDigest(l.image.Digest)
	} else {
		of.Tag, err = name.ParseTag(l.image.Tag)
	}
	if err != nil {
		return step, err
	}
	head, err := l.s.meta.Head(ctx, l.ask.Repository.ID, of)
	switch {
	case errors.Is(err, fault.ImageNotFound):
		return absent(fmt.Sprintf("the repository %s has no image %s", l.repo, strings.TrimLeft(l.reference(), ":@")))
	case err != nil:
		return step, err
	}
	of.Digest = head.Digest
	l.ask.Image.Reference = of
	step.Found = "the image is there: " + head.Digest.String()
	return step, nil
}

// proxiedAsk sets the ask for an image of another registry, which need not have been fetched yet.
func (l *licensed) proxiedAsk(ctx context.Context) error {
	l.ask = guard.Ask{Action: "ecr:BatchGetImage", Resource: l.registry.RepositoryARN(l.up.Name()), Owner: guard.OwnedBy(l.at.Account),
		Region: l.registry.Region}
	var err error
	if l.ask.Image.Reference, err = name.ParseReference(strings.TrimLeft(l.reference(), ":@")); err != nil {
		return err
	}
	repo, err := l.up.Repository()
	if err != nil {
		return err
	}
	found, err := l.s.registry.Repository(ctx, l.registry.Registry, repo)
	switch {
	case errors.Is(err, fault.RepositoryNotFound):
		return nil
	case err != nil:
		return err
	}
	l.ask.Repository = &found
	head, err := l.s.meta.Head(ctx, found.ID, l.ask.Image.Reference)
	if errors.Is(err, fault.ImageNotFound) {
		return nil
	}
	l.ask.Image.Stored, l.ask.Image.Digest = err == nil, head.Digest
	return err
}

// find finds out whether an image with a host is one of the vendor's own. It looks as the registry does: at a host of this installation the
// image is the vendor's, unless it is pulled by the proxy; by the proxy an integration is tried first, and then the own registry.
func (l *licensed) find(ctx context.Context, rest string, byProxy bool) error {
	image := l.image.Host + "/" + l.image.Path
	if byProxy {
		image = rest
	}
	own, ok, err := l.s.vendor.Own(ctx, l.at.Account, l.registry.Registry, l.at.Host, image)
	host, _ := l.s.hosts.Parse(l.image.Host)
	if direct := !byProxy && host.Kind == endpoint.Any; !ok || !direct {
		up, failed := l.s.remotes.Upstream(ctx, l.at.Account, l.at.Application.ID, image)
		if !ok || !errors.Is(failed, integration.ErrNoIntegration) {
			l.proxied, l.up, l.unreached = image, up, failed
			return nil
		}
	}
	l.registry.Registry, l.repo = own.Registry, own.Repo.String()
	return err
}

// integrated finds the integrations by which an image of another registry is reached.
func (l *licensed) integrated(ctx context.Context) (step ecrintypes.LicenseStep, _ error) {
	if l.proxied == "" {
		return step, nil
	}
	err, up := l.unreached, l.up
	if err == nil {
		var names []string
		for _, i := range up.By {
			names = append(names, i.Name)
		}
		step.Found = fmt.Sprintf("%s is reached by the integration %s", up.Host, strings.Join(names, " or "))
		return step, nil
	}
	if !errors.Is(err, fault.AccessDenied) {
		return step, err
	}
	host, _, _ := strings.Cut(l.proxied, "/")
	step.Problem = fault.From(err).Public + ": the request is refused with status 403"
	isHost := strings.ContainsAny(host, ".:") || host == "localhost"
	if errors.Is(err, integration.ErrNoIntegration) {
		if !isHost {
			host = rewrite.Hub
		}
		kind := "oci"
		if at, err := l.s.hosts.Parse(host); err == nil && at.Kind == endpoint.Registry {
			kind = "ecr"
		}
		step.Cure = fmt.Sprintf("ecrin integration add NAME --kind %s --registry-host %s\necrin app registry add NAME --app %s",
			kind, host, l.at.Slug)
		return step, nil
	}
	label := host // of an integration, unless it is a host
	if !isHost {
		if _, err := l.s.meta.Integration(ctx, l.at.Account, host); errors.Is(err, fault.IntegrationNotFound) {
			host, isHost = rewrite.Hub, true
		} else if err != nil {
			return step, err
		}
	}
	if isHost {
		all, err := l.s.remotes.ForHost(ctx, l.at.Account, host, "")
		if err != nil {
			return step, err
		}
		label = "NAME"
		if len(all) > 0 {
			label = all[0].Name
		}
	}
	step.Cure = fmt.Sprintf("ecrin app registry add %s --app %s", label, l.at.Slug)
	return step, nil
}

// upstream makes the calls of a pull at the other registry, by each integration until one succeeds.
func (l *licensed) upstream(ctx context.Context) (step ecrintypes.LicenseStep, _ error) {
	if l.up == nil {
		return step, nil
	}
	for _, i := range l.up.By {
		steps, _, err := l.s.remotes.Test(ctx, i, l.up.Path+l.reference())
		if err != nil {
			return step, err
		}
		last := steps[len(steps)-1]
		if last.Passed {
			return ecrintypes.LicenseStep{Found: fmt.Sprintf("%s has the image: %s", l.up.Host, last.Found)}, nil
		}
		step.Problem = strings.TrimSpace(fmt.Sprintf("%s, by the integration %s, in the step %s: %s %s", l.up.Host, i.Name, last.Name, last.Code,
			last.Message))
		step.Cure = last.Cure
	}
	return step, nil
}

// entitled decides the pull as the registry decides it.
func (l *licensed) entitled(ctx context.Context) (step ecrintypes.LicenseStep, _ error) {
	r, why, err := l.s.guard.Explain(ctx, meta.CustomerARN(l.at.Account, l.at.Slug, l.at.Customer.ID), l.from, l.ask)
	if err != nil {
		return step, err
	}
	e := explain.Of(&r, why)
	l.why = &e
	if e.Allowed {
		step.Found = "an entitlement allows the pull"
		for _, f := range e.Findings {
			if f.Failed == "" {
				step.Found = "the " + f.Policy + " allows the pull"
			}
		}
		return step, nil
	}
	rights, err := l.s.meta.Entitlements(ctx, l.at.Application.ID, l.at.Customer.ID)
	if err != nil {
		return step, err
	}
	near := ""
	for _, f := range e.Findings {
		if f.Failed != "" && f.Layer == policy.LayerIdentity.String() {
			near = fmt.Sprintf("; the %s is for another %s: %s", f.Policy, f.Failed, f.Detail)
		}
	}
	switch {
	case e.Verdict == ecrintypes.VerdictExplicitDeny:
		step.Problem = "a policy denies the pull: " + e.Text
	case len(rights) == 0:
		step.Problem = "the customer has no entitlement, and nothing can be pulled without one"
	default:
		step.Problem = fmt.Sprintf("none of the %d entitlements of the customer is for this image", len(rights)) + near
	}
	step.Cure = explain.Cure(e)
	return step, nil
}
