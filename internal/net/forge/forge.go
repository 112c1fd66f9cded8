// Package forge reads hosts of git repositories and trackers of issues: who the owner of a token is, pull requests, commits and issues.
//
// The other side is not trusted: every connection passes the guard of package egress, the token goes to one host only and redirects are not
// followed, answers have limits, and no text of an error is one of the other side, but a short one of printable ASCII for the owner of the
// token ([Answer]).
package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The providers.
const (
	GitHub = "github"
	GitLab = "gitlab"
	Git    = "git"  // a repository by https, without an API
	Jira   = "jira" // a tracker of issues

	Bitbucket       = "bitbucket" // Cloud
	BitbucketServer = "bitbucket-server"
	Gerrit          = "gerrit"
)

// Site is a service and the token for it.
type Site struct {
	Provider string
	URL      string // https://HOST[:PORT], with the path of the repository for Git; "" for the public one of github and gitlab
	Username string // for Basic authentication; "" for a Bearer token
	Token    secret.String
	APIURL   string // of the API; "" for the one that follows from URL
	From     string // where the token is from, for messages, such as the name of a variable
}

// Title returns the name of the service for people.
func (s Site) Title() string {
	switch s.Provider {
	case GitHub:
		return "GitHub"
	case GitLab:
		return "GitLab"
	case Jira:
		return "Jira"
	case Bitbucket, BitbucketServer:
		return "Bitbucket"
	case Gerrit:
		return "Gerrit"
	}
	return "the git host"
}

// Base returns the URL of the service.
func (s Site) Base() string {
	base := strings.TrimRight(s.URL, "/")
	switch {
	case base == "" && s.Provider == GitHub:
		base = "https://github.com"
	case base == "" && s.Provider == GitLab:
		base = "https://gitlab.com"
	}
	return base
}

// API returns the URL of the API of the service. Source: REST API documentation of GitHub (of Enterprise Server too), GitLab, Jira,
// Bitbucket and Gerrit.
func (s Site) API() string {
	base := s.Base()
	switch {
	case s.APIURL != "":
		return strings.TrimRight(s.APIURL, "/")
	case s.Provider == GitHub && base == "https://github.com":
		return "https://api.github.com"
	case s.Provider == GitHub:
		return base + "/api/v3"
	case s.Provider == GitLab:
		return base + "/api/v4"
	case s.Provider == Jira:
		return base + "/rest/api/2"
	case s.Provider == Bitbucket:
		return cmp.Or(base, "https://api.bitbucket.org") + "/2.0"
	case s.Provider == BitbucketServer:
		return base + "/rest/api/1.0"
	case s.Provider == Gerrit:
		return base + "/a"
	}
	return base
}

// Authorize puts the token into the header of a request to the service.
func (s Site) Authorize(h http.Header) {
	token := s.Token.Reveal()
	switch {
	case token == "":
	case s.Provider == GitLab:
		h.Set("Private-Token", token)
	case s.Provider == Git, s.Username != "" && s.Provider != GitHub:
		r := http.Request{Header: h}
		r.SetBasicAuth(s.Username, token)
	default:
		h.Set("Authorization", "Bearer "+token)
	}
}

// accept returns the media type that the API of the service is asked for.
func (s Site) accept() string {
	if s.Provider == GitHub {
		return "application/vnd.github+json"
	}
	return "application/json"
}

// Answer is what a service said.
type Answer struct {
	Who     string // the owner of the token; "" if the service has no name for it
	Status  int    // 0 without an answer
	Message string // of the service after a failure, printable ASCII
}

// Probe returns the name of the request that Who makes.
func (s Site) Probe() string {
	switch s.Provider {
	case Jira:
		return "GET /myself"
	case Git:
		return "GET /info/refs"
	}
	return "GET /user"
}

const (
	maxWho     = 256 << 10 // bytes of the answer to Who
	maxMessage = 300       // bytes
	timeout    = 15 * time.Second
)

// ErrStatus is the error of an answer that is not a success.
var ErrStatus = errors.New("the service refuses the request")

// ErrAnswer is the error of an answer that is not one of such a service.
var ErrAnswer = errors.New("the service does not answer as one of its provider")

// Who asks the service who the owner of the token is.
//
// Errors: ErrStatus, ErrAnswer, *egress.RefusedError (the address is not allowed), and those of the network, without the URL.
func Who(ctx context.Context, guard *egress.Guard, s Site) (a Answer, err error) {
	address := s.API()
	switch s.Provider {
	case Jira:
		address += "/myself"
	case Git:
		address += "/info/refs?service=git-upload-pack"
	default:
		address += "/user"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return a, ErrAnswer
	}
	s.Authorize(r.Header)
	r.Header.Set("User-Agent", "ecrin")
	r.Header.Set("Accept", s.accept())
	client := guard.Client(egress.ClientOptions{Timeout: timeout, MaxBytes: maxWho})
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error { return http.ErrUseLastResponse } // the token stays with its host
	resp, err := client.Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return a, fmt.Errorf("asking %s: %w", r.URL.Host, cause)
		}
		return a, egress.Cause(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	a.Status = resp.StatusCode
	if s.Provider == Git && resp.StatusCode == http.StatusOK {
		if resp.Header.Get("Content-Type") != "application/x-git-upload-pack-advertisement" {
			return a, ErrAnswer
		}
		return a, nil // its list of branches may be long
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, egress.Cause(err)
	}
	var said struct {
		Login, Username, DisplayName, EmailAddress, Name, Message, Error string
		ErrorMessages                                                    []string
	}
	bad := json.Unmarshal(body, &said)
	if resp.StatusCode != http.StatusOK {
		a.Message = printable(strings.Join(append([]string{said.Message + said.Error}, said.ErrorMessages...), " "))
		return a, ErrStatus
	}
	for _, text := range []string{said.Login, said.Username, said.DisplayName, said.Name, said.EmailAddress} {
		if a.Who == "" {
			a.Who = printable(text)
		}
	}
	if bad != nil || a.Who == "" {
		return a, ErrAnswer
	}
	return a, nil
}

// Check checks the URL of a service. It must be https, without user, query and fragment, and with a path only where a path belongs.
func (s Site) Check() error {
	u, err := url.Parse(s.Base())
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be https://HOST, https://HOST:PORT or one with a path")
	}
	if s.Provider == Git && strings.Trim(u.Path, "/") == "" {
		return errors.New("must be the URL of a repository, https://HOST/PATH")
	}
	return nil
}

// printable returns the printable ASCII characters of a text of the other side, shortened.
func printable(text string) string {
	text = strings.TrimSpace(name.Printable(text))
	return text[:min(len(text), maxMessage)]
}
