package integration

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// isSite reports whether a kind is not one of a registry.
func isSite(kind string) bool { return kind == GitKind || kind == Issues }

// CheckRegistry checks that an integration is one of a registry. Errors: fault.IntegrationFailed.
func CheckRegistry(i meta.Integration) error {
	if isSite(i.Kind) {
		return fault.IntegrationFailed.New("the integration %s is not one of a registry: its kind is %s", i.Name, i.Kind)
	}
	return nil
}

// checkSite checks settings and secrets of a host of git repositories or of a tracker of issues, and fills in the host.
//
// Errors: fault.InvalidParameter.
func checkSite(kind string, s *Settings, secrets Secrets) error {
	git := s.Provider == forge.GitHub || s.Provider == forge.GitLab || s.Provider == forge.Git
	if kind == GitKind && s.Provider == forge.Git && !strings.HasPrefix(s.URL, "https:") {
		return checkGit(s, secrets)
	}
	switch {
	case secrets.Key != "" || s.KnownHosts != "":
		return Bad("privateKey", "must be absent unless the provider is git and the URL one of ssh")
	case kind == GitKind && !git:
		return Bad("provider", "must be github, gitlab or git for the kind GIT")
	case kind == Issues && s.Provider != forge.Jira:
		return Bad("provider", "must be jira for the kind ISSUES")
	case secrets.Password == "" && s.Provider != forge.Git:
		return Bad("password", "must be the token for the API of "+s.Provider)
	case s.Username != "" && secrets.Password == "":
		return Bad("username", "must be present together with password")
	}
	site := siteOf(*s, secrets)
	if err := site.Check(); err != nil {
		return Bad("url", err.Error())
	}
	u, err := url.Parse(site.Base())
	if err != nil {
		return Bad("url", "must be a URL")
	}
	s.URL, s.Host = site.Base(), u.Host
	return nil
}

func siteOf(s Settings, secrets Secrets) forge.Site {
	return forge.Site{Provider: s.Provider, URL: s.URL, Username: s.Username, Token: secret.New(secrets.Password)}
}

// Site returns the service of an integration of the kinds GIT and ISSUES, with its token.
//
// Errors: fault.IntegrationFailed (another kind, or its secrets cannot be read).
func (s *Service) Site(i meta.Integration) (forge.Site, error) {
	if !isSite(i.Kind) {
		return forge.Site{}, fault.IntegrationFailed.New("the integration %s is one of a registry: its kind is %s", i.Name, i.Kind)
	}
	settings, secrets, err := s.Open(i)
	if err != nil {
		return forge.Site{}, fault.IntegrationFailed.New("the secrets of the integration %s cannot be read with the master key of this server: set them again by ecrin integration update",
			i.Name).Because(err)
	}
	return siteOf(settings, secrets), nil
}

// testSite asks the service of an integration who the owner of its token is.
func (s *Service) testSite(ctx context.Context, i meta.Integration) ([]Step, error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return nil, err
	}
	if byGit(settings) {
		return s.testGit(ctx, i)
	}
	site, err := s.Site(i)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	a, err := forge.Who(ctx, s.guard, site)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	step := Step{Name: site.Probe(), Passed: err == nil, Found: a.Who, Message: a.Message, Took: time.Since(began)}
	problem := ""
	if err != nil {
		if a.Status != 0 {
			step.Code = strconv.Itoa(a.Status)
		}
		if step.Message == "" {
			step.Message = siteError(err)
		}
		step.Cure = siteCure(a.Status, err)
		problem = step.Name + ": " + siteError(err) + "; " + step.Cure
	}
	return []Step{step}, s.meta.IntegrationTested(ctx, i, problem, true)
}

// siteError returns the public text of an error of package forge.
func siteError(err error) string {
	if isLoop(err) {
		return "the name leads back to this installation"
	}
	if errors.Is(err, forge.ErrStatus) || errors.Is(err, forge.ErrAnswer) {
		return err.Error()
	}
	return "the host cannot be reached from here"
}

// siteCure returns what to do about an error of package forge.
func siteCure(status int, err error) string {
	switch {
	case status == http.StatusUnauthorized:
		return "the token is not accepted: set another one by ecrin integration update"
	case status == http.StatusForbidden:
		return "give the token the permission to read the user, the repositories and the pull requests, or to browse the project"
	case status == http.StatusNotFound:
		return "check the URL: there is no such API or repository at it, or the token may not see it"
	case status == http.StatusTooManyRequests:
		return "the other side limits the rate of requests: try again later"
	case status >= http.StatusInternalServerError:
		return "the other side fails: try again later"
	case errors.Is(err, forge.ErrAnswer), errors.Is(err, forge.ErrStatus):
		return "check provider and URL: at it must be the service itself, and no page for a login"
	}
	if isLoop(err) {
		return loopCure
	}
	if _, refused := errors.AsType[*egress.RefusedError](err); refused {
		return "check the name of the host; if its addresses are private, let the operator list them in the setting egress_allow"
	}
	return "check that the other side runs and is reached from here; for a private authority of certificates there is the setting egress_ca"
}
