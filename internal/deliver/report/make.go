package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// pulls are the actions of a pull, for which a caller needs the permission to report an image of this server.
var pulls = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}

// Reported is an image that is reported, and by what it is read.
type Reported struct {
	Account   name.Account
	Variables report.Variables
	Image     report.ImageName
	By        *meta.Integration // of the registry; nil for none
	Git       *meta.Integration // of the git host; nil for none
	Issues    *meta.Integration // of the tracker of issues; nil for none
	Here      *inside           // the image is one of this server; else nil
}

func badVariables(err error) error { return integration.Bad("reportVariables", err.Error()) }

// integrationVariable names the integration of the registry.
const integrationVariable = "CF_CONTAINER_REGISTRY_INTEGRATION"

// OnReport resolves what a report is about. Beside the permission for the report, the caller needs ecrin:UseIntegration on the integrations
// that it names, and for an image of this server those of a pull.
func OnReport(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ReportImageRequest) (t guard.Target[Reported], err error) {
	v := Reported{}
	if v.Account, err = s.accountOf(req, in.AccountId); err != nil {
		return t, err
	}
	if v.Variables, err = report.ParseQuery(in.ReportVariables); err != nil {
		return t, badVariables(err)
	}
	if v.Variables[report.Image] == "" {
		return t, badVariables(errors.New(report.Image + " must be provided as environment variable"))
	}
	if v.Image, err = report.ParseImageName(v.Variables[report.Image]); err != nil {
		return t, badVariables(err)
	}
	t = guard.On(v, askOf(req, v.Account, "report/"+v.Image.Repository()))
	for _, one := range []struct {
		called string
		into   **meta.Integration
	}{
		{v.Variables[integrationVariable], &t.Value.By}, {v.Variables[GitIntegration], &t.Value.Git},
		{cmp.Or(v.Variables[IssuesIntegration], v.Variables[oldIssuesIntegration]), &t.Value.Issues},
	} {
		if one.called == "" {
			continue
		}
		if *one.into, err = s.named(ctx, req, &t, one.called); err != nil {
			return t, err
		}
	}
	if t.Value.By != nil || explicit(v.Variables) {
		return t, nil
	}
	at, repo, ok := s.here(ctx, req, v.Image)
	if !ok {
		return t, nil
	}
	of, d, err := s.ecr.Image(ctx, at, repo.String(), v.Image.Tag, v.Image.Digest)
	if err != nil {
		return t, err
	}
	t.Value.Here = &inside{s: s, by: req.By, from: req.From, repo: of.Value.Repository, top: d, ask: of.Asks[0]}
	if t.Absent == nil {
		t.Absent = of.Absent
	}
	if req.By.Kind != identity.Operator {
		for _, action := range pulls {
			ask := of.Asks[0]
			ask.Action = action
			t.Asks = append(t.Asks, ask)
		}
	}
	return t, nil
}

// here returns the registry and the repository of an image if its host is this server: a host of a registry whose account is one of this
// server, or the host to which the request was sent.
func (s *Service) here(ctx context.Context, req guard.Request, n report.ImageName) (at ecr.Registry, repo name.Repo, ok bool) {
	h, err := s.hosts.Parse(n.Host)
	if err != nil || h.Kind != endpoint.Registry && n.Host != req.Host.String() {
		return at, repo, false
	}
	reg, repo, err := s.hosts.Resolve(h, n.Path)
	if err != nil || !s.identity.Exists(ctx, reg.Account) {
		return at, repo, false
	}
	at, err = ecr.RegistryOf(req, reg.Account.String())
	at.Registry = reg
	return at, repo, err == nil
}

// explicit reports whether variables have credentials for a registry.
func explicit(v report.Variables) bool {
	for _, key := range []string{"CF_DOCKERHUB_USERNAME", "CF_REGISTRY_USERNAME", "CF_GOOGLE_JSON_KEY", "CF_AWS_ROLE"} {
		if v[key] != "" {
			return true
		}
	}
	return false
}

// source returns by what a reported image is read.
//
// Errors: fault.InvalidParameter (the credentials in the variables), and those of integration.Service.At.
func (s *Service) source(ctx context.Context, t Reported, m *messages) (reader, error) {
	v, host := t.Variables, t.Image.Host
	if t.Here != nil {
		return *t.Here, nil
	}
	if t.By != nil {
		r, tokenOf, err := s.remotes.At(ctx, *t.By, host)
		if err != nil {
			return nil, err
		}
		if tokenOf != "" {
			account, _, _ := report.ECRHost(host)
			m.add(Warn, fmt.Sprintf("the token of the integration %s is one of the account %s, and the image is in the account %s: "+
				"the policy of its repository must let %[2]s read it", t.By.Name, tokenOf, account))
		}
		return outside{Registry: r, image: t.Image, by: "the integration " + t.By.Name}, nil
	}
	username, password := "", ""
	pair := func(user, pass string) error {
		if username, password = v[user], v[pass]; username == "" || password == "" {
			return badVariables(fmt.Errorf("%s and %s must be provided together", user, pass))
		}
		return nil
	}
	var err error
	by := "a client without credentials (name an integration by " + integrationVariable + ")"
	switch {
	case v["CF_AWS_ROLE"] != "":
		return nil, badVariables(errors.New("CF_AWS_ROLE is not assumed by the server: add an integration with the role, and name it by " +
			integrationVariable))
	case host == report.DockerHub && v["CF_DOCKERHUB_USERNAME"] != "":
		err, by = pair("CF_DOCKERHUB_USERNAME", "CF_DOCKERHUB_PASSWORD"), "CF_DOCKERHUB_USERNAME"
	case v["CF_REGISTRY_USERNAME"] != "":
		err, by = pair("CF_REGISTRY_USERNAME", "CF_REGISTRY_PASSWORD"), "CF_REGISTRY_USERNAME"
		if domain := strings.ToLower(v["CF_REGISTRY_DOMAIN"]); err == nil && domain != host {
			err = badVariables(fmt.Errorf("CF_REGISTRY_DOMAIN must be the host of the image, %s", host))
		}
	case v["CF_GOOGLE_JSON_KEY"] != "":
		username, password, by = "_json_key", v["CF_GOOGLE_JSON_KEY"], "CF_GOOGLE_JSON_KEY"
		if at := strings.ToLower(v["CF_GOOGLE_REGISTRY_HOST"]); at != host {
			err = badVariables(fmt.Errorf("CF_GOOGLE_REGISTRY_HOST must be the host of the image, %s", host))
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := s.remotes.Direct(host, username, secret.New(password))
	return outside{Registry: r, image: t.Image, by: by}, err
}

// details are what a report keeps beside the columns of meta.ImageReport.
type details struct {
	Dockerfile   string            `json:"dockerFile,omitempty"`
	WorkflowName string            `json:"workflowName,omitempty"`
	WorkflowURL  string            `json:"workflowUrl,omitempty"`
	LogsURL      string            `json:"logsUrl,omitempty"`
	CIType       string            `json:"ciType,omitempty"`
	GitProvider  string            `json:"gitProvider,omitempty"`
	Commit       *report.Commit    `json:"commit,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Layers       []report.Layer    `json:"layers,omitempty"`
}

// maxText is how many bytes a variable has that is stored.
const maxText = 2 << 10

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "")
}

// ReportImage reads an image and what its variables name of it, and stores all that together; after a failure nothing is stored.
//
// Errors: fault.ImageNotFound, fault.IntegrationFailed (the registry, or a provider of git or issues), fault.InvalidParameter (a variable),
// fault.LimitExceeded, fault.Throttled.
func (s *Service) ReportImage(ctx context.Context, by identity.Caller, t Reported, _ *ecrintypes.ReportImageRequest) (
	*ecrintypes.ReportImageResponse, error) {
	leave, err := s.enter(by)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fault.Unavailable.New("the report took more than %s", maxTime))
	defer cancel()
	out, err := s.make(ctx, t, messagesOf(ctx))
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return out, err
}

func (s *Service) make(ctx context.Context, t Reported, m *messages) (*ecrintypes.ReportImageResponse, error) {
	v := t.Variables
	gitSite, err := s.siteOf(t.Git, integration.GitKind) // all this before any call: what is missing is said at once
	if err != nil {
		return nil, err
	}
	issuesSite, err := s.siteOf(t.Issues, integration.Issues)
	if err != nil {
		return nil, err
	}
	git, err := gitOf(v, gitSite)
	if err != nil {
		return nil, err
	}
	issues, err := issuesOf(v, issuesSite)
	if err != nil {
		return nil, err
	}
	from, err := s.source(ctx, t, m)
	if err != nil {
		return nil, err
	}
	m.add(Info, "reading the image "+t.Image.Given)
	image, err := readImage(ctx, from, t.Image.Reference(), m)
	if err != nil {
		return nil, err
	}
	common := details{Dockerfile: v[report.DockerfileContent], WorkflowName: clip(v["CF_WORKFLOW_NAME"]),
		WorkflowURL: clip(v["CF_WORKFLOW_URL"]),
		LogsURL:     clip(v["CF_LOGS_URL"]), CIType: clip(v["CF_CI_TYPE"])}
	row := meta.ImageReport{Image: t.Image.Given, Repository: t.Image.Repository(), Tag: t.Image.Tag, CreatedAt: s.now(),
		Type: report.RegistryType(t.Image.Host, t.Here != nil || t.By != nil && t.By.Kind == integration.Ecrin)}
	var notes []meta.Annotation
	if git != nil {
		found, err := s.readGit(ctx, git, m)
		if err != nil {
			return nil, err
		}
		row.Branch, row.GitRepository, common.GitProvider = clip(git.place.Branch), clip(git.place.Repo), git.site.Provider
		if c := found.commit; c != nil {
			c.Message, c.URL, c.UserName, c.Avatar = clip(c.Message), clip(c.URL), clip(c.UserName), clip(c.Avatar)
			common.Commit, row.Revision = c, clip(c.SHA)
			row.Message, _, _ = strings.Cut(c.Message, "\n")
		}
		row.Pull = clip(found.newest)
		notes = append(notes, found.annotations...)
	}
	if issues != nil {
		found, err := s.readIssues(ctx, issues, m)
		if err != nil {
			return nil, err
		}
		notes = append(notes, found...)
	}
	for i := range notes {
		notes[i].Subject = t.Image.Given
	}
	rows, err := s.rows(row, common, image)
	if err != nil {
		return nil, err
	}
	if err := s.meta.PutReport(ctx, t.Account, rows, notes); err != nil {
		return nil, err
	}
	return answer(t, image, m), nil
}

// rows returns what is stored of an image: a row for each binary, and one of the index.
func (s *Service) rows(row meta.ImageReport, common details, image read) (rows []meta.ImageReport, err error) {
	if image.list {
		list := row
		list.Digest, list.List = image.digest.String(), true
		text, err := json.Marshal(common)
		if err != nil {
			return nil, fmt.Errorf("encoding a report: %w", err)
		}
		list.Details = string(text)
		rows = append(rows, list)
	}
	for _, b := range image.binaries {
		one, d := row, common
		one.Digest, one.Config, one.OS, one.Architecture, one.Size = b.digest.String(), b.id.String(), b.config.OS, b.config.Architecture, b.size
		if image.list {
			one.Parent = image.digest.String()
		}
		if !b.config.Created.IsZero() && b.config.Created.Before(s.now().Add(24*time.Hour)) {
			one.CreatedAt = b.config.Created
		}
		d.Labels, d.Layers = b.config.Labels, b.layers
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encoding a report: %w", err)
		}
		one.Details = string(text)
		rows = append(rows, one)
	}
	return rows, nil
}

func answer(t Reported, image read, m *messages) *ecrintypes.ReportImageResponse {
	out := &ecrintypes.ReportImageResponse{ImageName: t.Image.Given, ImageDigest: image.digest.String()}
	if len(image.binaries) == 1 && !image.list {
		out.ConfigDigest = image.binaries[0].id.String()
	}
	out.ImageLink = "/2.0/images/" + url.PathEscape(t.Image.Repository()) + "/" + cmp.Or(out.ConfigDigest, out.ImageDigest) + "/" +
		url.PathEscape(t.Image.Given)
	m.add(Info, fmt.Sprintf("reported the image %s with the digest %s", t.Image.Given, image.digest))
	out.Messages = m.all
	return out
}
