package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// gitInput is what the variables say of git.
type gitInput struct {
	site    forge.Site
	place   forge.Place
	perUser int
	said    *report.Commit // of the provider local, which the client has read
}

// GitIntegration names an integration of the kind GIT in place of the variables of a provider.
const GitIntegration = "CF_GIT_INTEGRATION"

// maxShownCommits is how many commits of a pull request are stored, the last ones.
const maxShownCommits = 100

// local is the provider of a commit that the client has read itself.
const local = "local"

// Source: git check-ref-format, without what would change a search.
var (
	branchForm   = lazyregexp.New(`^[^\x00-\x20\x7f"~^:?*\[\\]{1,255}$`)
	repoForm     = lazyregexp.New(`^[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+$`)
	revisionForm = lazyregexp.New(`^[0-9a-fA-F]{7,64}$`)
	changeForm   = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9~%._/-]{0,254}$`) // Source: Gerrit REST API, change-id
)

// gitOf returns what the variables say of git; nil for nothing. named is the service of the integration that they name, nil for none.
//
// Errors: fault.InvalidParameter, which lists the variables to add.
func gitOf(v report.Variables, named *forge.Site) (*gitInput, error) {
	given := false
	for key := range v {
		for _, prefix := range []string{"CF_GIT_", "CF_GITHUB_", "CF_GITLAB_", "CF_BITBUCKET_", "CF_GERRIT_"} {
			given = given || strings.HasPrefix(key, prefix)
		}
	}
	if !given {
		return nil, nil
	}
	g := &gitInput{place: forge.Place{Repo: v["CF_GIT_REPO"], Branch: v["CF_GIT_BRANCH"], Revision: strings.ToLower(v[report.GitRevision])}}
	need := []string{"CF_GIT_REPO", "CF_GIT_BRANCH"}
	switch provider := v["CF_GIT_PROVIDER"]; {
	case named != nil && provider != "" && provider != named.Provider:
		return nil, badVariables(fmt.Errorf("CF_GIT_PROVIDER must be that of the integration, %s", named.Provider))
	case named != nil && named.Provider == forge.Git:
		return nil, badVariables(errors.New(GitIntegration + " must be one of GitHub or GitLab: the repository alone has no pull requests"))
	case named != nil:
		g.site = *named
	case provider == "":
		need = append([]string{GitIntegration + " or CF_GIT_PROVIDER"}, need...)
	case provider == local:
		g.site.Provider, need = local, []string{report.GitRevision}
		g.said = &report.Commit{SHA: g.place.Revision, Message: v["CF_GIT_COMMIT_MESSAGE"], UserName: v["CF_GIT_COMMIT_AUTHOR"]}
		g.said.Date, _ = time.Parse(time.RFC3339, v["CF_GIT_COMMIT_DATE"]) // it is shown only
	default:
		more, err := g.explicit(provider, v)
		if err != nil {
			return nil, err
		}
		need = append(need, more...)
	}
	var missing []string
	for _, key := range need {
		if v[key] == "" {
			missing = append(missing, key)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, badVariables(fmt.Errorf("of git, add %s", strings.Join(missing, ", ")))
	case g.said == nil && g.site.Provider != forge.Gerrit && !repoForm.MatchString(g.place.Repo),
		g.site.Provider == forge.Gerrit && !repoForm.MatchString("x/"+g.place.Repo): // a project of Gerrit may have one part
		return nil, badVariables(errors.New("CF_GIT_REPO must be OWNER/NAME"))
	case g.place.Branch != "" && !branchForm.MatchString(g.place.Branch):
		return nil, badVariables(errors.New("CF_GIT_BRANCH must be the name of a branch"))
	case g.place.Revision != "" && !revisionForm.MatchString(g.place.Revision):
		return nil, badVariables(errors.New("CF_GIT_REVISION must be the hash of a commit"))
	}
	g.perUser, _ = strconv.Atoi(v["CF_COMMITS_BY_USER_LIMIT"]) // 0 is no limit
	return g, nil
}

// explicit sets the service that the variables of a provider name. It returns which of them are needed.
//
// Errors: fault.InvalidParameter.
func (g *gitInput) explicit(provider string, v report.Variables) (need []string, err error) {
	g.site.Provider = provider
	switch provider {
	case forge.GitHub:
		g.site.From = "CF_GITHUB_TOKEN"
		if base := v["CF_GITHUB_API_HOST_URL"]; base != "" || v["CF_GITHUB_API_PATH_PREFIX"] != "" {
			g.site.APIURL, err = baseOf("CF_GITHUB_API_HOST_URL", strings.TrimRight(cmp.Or(base, "https://api.github.com"), "/")+"/"+
				strings.Trim(v["CF_GITHUB_API_PATH_PREFIX"], "/"))
		}
	case forge.GitLab:
		g.site.From = "CF_GITLAB_TOKEN"
		if base := v["CF_GITLAB_HOST_URL"]; base != "" {
			g.site.URL, err = baseOf("CF_GITLAB_HOST_URL", base)
		}
	case forge.Bitbucket, forge.BitbucketServer:
		need = g.password(v, "CF_BITBUCKET_")
		if base := v["CF_BITBUCKET_HOST_URL"]; base != "" {
			g.site.URL, err = baseOf("CF_BITBUCKET_HOST_URL", base)
		} else if provider == forge.BitbucketServer {
			need = append(need, "CF_BITBUCKET_HOST_URL")
		}
		return need, err
	case forge.Gerrit:
		g.place.Change = v["CF_GERRIT_CHANGE_ID"]
		if g.place.Change != "" && !changeForm.MatchString(g.place.Change) {
			return nil, badVariables(errors.New("CF_GERRIT_CHANGE_ID must be the id of a change"))
		}
		if base := v["CF_GERRIT_HOST_URL"]; base != "" {
			g.site.URL, err = baseOf("CF_GERRIT_HOST_URL", base)
		}
		return append(g.password(v, "CF_GERRIT_"), "CF_GERRIT_CHANGE_ID", "CF_GERRIT_HOST_URL"), err
	default:
		return nil, badVariables(errors.New("CF_GIT_PROVIDER must be github, gitlab, bitbucket, bitbucket-server, gerrit or local"))
	}
	g.site.Token = secret.New(v[g.site.From])
	return []string{g.site.From}, err
}

// password sets the credentials of a provider from the variables with a prefix. It returns their names.
func (g *gitInput) password(v report.Variables, prefix string) (need []string) {
	need = []string{prefix + "USERNAME", prefix + "PASSWORD"}
	g.site.Username, g.site.Token, g.site.From = v[need[0]], secret.New(v[need[1]]), need[0]+" and "+need[1]
	return need
}

// gitFound is what a git provider has of a branch.
type gitFound struct {
	commit      *report.Commit // nil if the branch does not exist there
	newest      string         // URL of the newest pull request
	annotations []meta.Annotation
}

// pullAnnotation is the value of an annotation of a pull request.
type pullAnnotation struct {
	ID         string             `json:"id"`
	URL        string             `json:"url"`
	Title      string             `json:"title"`
	Committers []report.Committer `json:"committers"`
	Commits    []report.Commit    `json:"commits"`
}

// The limits of the annotation of a pull request. The caller chooses the provider, which may answer with texts of any length.
const (
	maxShownCommitters = 50
	maxPullValue       = 64 << 10 // bytes
)

// pullValue returns the value of the annotation of a pull request: its committers, and as many of its last commits as there is room for.
func pullValue(p report.Pull) (string, error) {
	short := func(s *string, n int) { *s = strings.ToValidUTF8((*s)[:min(len(*s), n)], "") }
	for i := range p.Commits {
		c := &p.Commits[i]
		c.Message, _, _ = strings.Cut(c.Message, "\n")
		short(&c.SHA, 64)
		short(&c.Message, 500)
		short(&c.URL, 1000)
		short(&c.UserName, 200)
		short(&c.Avatar, 500)
	}
	committers := p.Committers()
	v := pullAnnotation{"#" + strconv.FormatInt(p.Number, 10), clip(p.URL), clip(p.Title),
		committers[:min(len(committers), maxShownCommitters)], p.Commits[max(0, len(p.Commits)-maxShownCommits):]}
	for {
		value, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encoding a pull request: %w", err)
		}
		switch {
		case len(value) > maxPullValue && len(v.Commits) > 0:
			v.Commits = v.Commits[(len(v.Commits)+1)/2:]
		case len(value) > maxPullValue && len(v.Committers) > 0:
			v.Committers = v.Committers[:len(v.Committers)/2]
		default:
			return string(value), nil
		}
	}
}

// readGit reads pull requests and commits of a branch. Without pull requests it reads the commit of the branch, whose absence is a warning.
//
// Errors: fault.IntegrationFailed.
func (s *Service) readGit(ctx context.Context, g *gitInput, m *messages) (found gitFound, err error) {
	if g.said != nil {
		found.commit = g.said
		return found, nil
	}
	if g.place.Change != "" {
		m.add(Info, "reading the change "+g.place.Change+" of "+g.place.Repo)
	} else {
		m.add(Info, "reading pull requests of the branch "+g.place.Branch+" of "+g.place.Repo)
	}
	pulls, err := s.forge.Pulls(ctx, g.site, g.place)
	if errors.Is(err, forge.ErrNotFound) {
		return found, fault.IntegrationFailed.New("%s has no repository %s, or does not show it to the credentials (404)", g.site.Title(),
			g.place.Repo)
	}
	if err != nil {
		return found, failed(err)
	}
	if c, ok := report.ChooseCommit(g.place.Revision, pulls); ok {
		found.commit = &c
	}
	if found.commit == nil {
		c, err := s.forge.Head(ctx, g.site, g.place)
		switch {
		case errors.Is(err, forge.ErrNotFound):
			m.add(Warn, fmt.Sprintf("the branch %s of %s does not exist: the image is reported without a commit", g.place.Branch, g.place.Repo))
		case err != nil:
			return found, failed(err)
		default:
			found.commit = &c
		}
	}
	var newest time.Time
	for _, p := range pulls {
		if !p.Created.Before(newest) {
			newest, found.newest = p.Created, p.URL
		}
		p.Commits = report.PerUser(p.Commits, g.perUser)
		value, err := pullValue(p)
		if err != nil {
			return found, err
		}
		found.annotations = append(found.annotations, meta.Annotation{Type: "pr", Value: value,
			Key: fmt.Sprintf("#%s#%s#%d", g.site.Provider, g.place.Repo, p.Number)})
	}
	return found, nil
}
