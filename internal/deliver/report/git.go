package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// gitInput is what the variables say of git.
type gitInput struct {
	provider, repo, branch, revision string
	base, token                      string
	tokenKey                         string
	perUser                          int
	said                             *report.Commit // of the provider local, which the client has read
}

// The limits of what is read of a git provider.
const (
	maxPulls        = 50
	maxCommitPages  = 10  // of 100 commits
	maxShownCommits = 100 // of a pull request, the last ones
)

// Source: git check-ref-format, without what would change a search.
var (
	branchForm   = regexp.MustCompile(`^[^\x00-\x20\x7f"~^:?*\[\\]{1,255}$`)
	repoForm     = regexp.MustCompile(`^[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+$`)
	revisionForm = regexp.MustCompile(`^[0-9a-fA-F]{7,64}$`)
)

// gitOf returns what the variables say of git; nil for nothing.
//
// Errors: fault.InvalidParameter, which lists the variables to add.
func gitOf(v report.Variables) (*gitInput, error) {
	given := false
	for key := range v {
		for _, prefix := range []string{"CF_GIT_", "CF_GITHUB_", "CF_GITLAB_", "CF_BITBUCKET_", "CF_GERRIT_"} {
			given = given || strings.HasPrefix(key, prefix)
		}
	}
	if !given {
		return nil, nil
	}
	g := &gitInput{provider: v["CF_GIT_PROVIDER"], repo: v["CF_GIT_REPO"], branch: v["CF_GIT_BRANCH"], revision: v[report.GitRevision]}
	need := []string{"CF_GIT_REPO", "CF_GIT_BRANCH"}
	var err error
	switch g.provider {
	case "":
		need = append([]string{"CF_GIT_PROVIDER"}, need...)
	case "github":
		g.tokenKey = "CF_GITHUB_TOKEN"
		base := v["CF_GITHUB_API_HOST_URL"]
		if base == "" {
			base = "https://api.github.com"
		} else if !strings.Contains(base, "://") {
			base = "https://" + base
		}
		if g.base, err = baseOf("CF_GITHUB_API_HOST_URL", strings.TrimRight(base, "/")+"/"+
			strings.Trim(v["CF_GITHUB_API_PATH_PREFIX"], "/")); err != nil {
			return nil, err
		}
	case "gitlab":
		g.tokenKey = "CF_GITLAB_TOKEN"
		base := v["CF_GITLAB_HOST_URL"]
		if base == "" {
			base = "https://gitlab.com"
		}
		if g.base, err = baseOf("CF_GITLAB_HOST_URL", base); err != nil {
			return nil, err
		}
	case "local":
		need = []string{report.GitRevision}
		g.said = &report.Commit{SHA: strings.ToLower(g.revision), Message: v["CF_GIT_COMMIT_MESSAGE"], UserName: v["CF_GIT_COMMIT_AUTHOR"]}
		g.said.Date, _ = time.Parse(time.RFC3339, v["CF_GIT_COMMIT_DATE"]) // it is shown only
	default:
		return nil, badVariables(fmt.Errorf("CF_GIT_PROVIDER must be github, gitlab or local: the others are not supported"))
	}
	if g.tokenKey != "" {
		need = append(need, g.tokenKey)
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
	case g.provider != "local" && !repoForm.MatchString(g.repo):
		return nil, badVariables(errors.New("CF_GIT_REPO must be OWNER/NAME"))
	case g.branch != "" && !branchForm.MatchString(g.branch):
		return nil, badVariables(errors.New("CF_GIT_BRANCH must be the name of a branch"))
	case g.revision != "" && !revisionForm.MatchString(g.revision):
		return nil, badVariables(errors.New("CF_GIT_REVISION must be the hash of a commit"))
	}
	g.token = v[g.tokenKey]
	g.perUser, _ = strconv.Atoi(v["CF_COMMITS_BY_USER_LIMIT"]) // 0 is no limit
	return g, nil
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

// forge reads a git provider.
type forge interface {
	pulls(ctx context.Context) ([]report.Pull, error)
	head(ctx context.Context) (report.Commit, error) // errNotThere for no branch
}

// readGit reads pull requests and commits of a branch. Without pull requests it reads the commit of the branch, whose absence is a warning.
//
// Errors: fault.IntegrationFailed.
func (s *Service) readGit(ctx context.Context, g *gitInput, m *messages) (found gitFound, err error) {
	if g.said != nil {
		found.commit = g.said
		return found, nil
	}
	var f forge
	if g.provider == "github" {
		f = github{provider{s: s, title: "GitHub", base: g.base, token: g.tokenKey, header: http.Header{
			"Authorization": {"Bearer " + g.token}, "Accept": {"application/vnd.github+json"}}}, g}
	} else {
		f = gitlab{provider{s: s, title: "GitLab", base: g.base, token: g.tokenKey, header: http.Header{"Private-Token": {g.token}}}, g}
	}
	m.add(Info, "reading pull requests of the branch "+g.branch+" of "+g.repo)
	pulls, err := f.pulls(ctx)
	if errors.Is(err, errNotThere) {
		err = provider{title: titles[g.provider]}.failed("has no repository %s, or does not show it to the credentials (404)", g.repo)
	}
	if err != nil {
		return found, err
	}
	if c, ok := report.ChooseCommit(g.revision, pulls); ok {
		found.commit = &c
	}
	if found.commit == nil {
		c, err := f.head(ctx)
		switch {
		case errors.Is(err, errNotThere):
			m.add(Warn, fmt.Sprintf("the branch %s of %s does not exist: the image is reported without a commit", g.branch, g.repo))
		case err != nil:
			return found, err
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
		p.Commits = p.Commits[max(0, len(p.Commits)-maxShownCommits):]
		for i := range p.Commits {
			p.Commits[i].Message, _, _ = strings.Cut(clip(p.Commits[i].Message), "\n")
		}
		value, err := json.Marshal(pullAnnotation{"#" + strconv.FormatInt(p.Number, 10), clip(p.URL), clip(p.Title), p.Committers(), p.Commits})
		if err != nil {
			return found, fmt.Errorf("encoding a pull request: %w", err)
		}
		found.annotations = append(found.annotations, meta.Annotation{Key: fmt.Sprintf("#%s#%s#%d", g.provider, g.repo, p.Number), Type: "pr",
			Value: string(value)})
	}
	return found, nil
}

var titles = map[string]string{"github": "GitHub", "gitlab": "GitLab"}

// github reads the REST API of GitHub. Source: GitHub REST API, search issues, list commits on a pull request, get a commit.
type github struct {
	provider
	in *gitInput
}

type githubCommit struct {
	SHA     string `json:"sha"`
	HTMLURL string `json:"html_url"`
	Commit  struct {
		Message string `json:"message"`
		Author  struct {
			Name string    `json:"name"`
			Date time.Time `json:"date"`
		} `json:"author"`
	} `json:"commit"`
	Author *struct {
		Login     string `json:"login"`
		AvatarURL string `json:"avatar_url"`
	} `json:"author"`
}

func (c githubCommit) commit() report.Commit {
	out := report.Commit{SHA: c.SHA, Message: c.Commit.Message, URL: c.HTMLURL, UserName: c.Commit.Author.Name, Date: c.Commit.Author.Date}
	if c.Author != nil && c.Author.Login != "" {
		out.UserName, out.Avatar = c.Author.Login, c.Author.AvatarURL
	}
	return out
}

func (g github) pulls(ctx context.Context) (all []report.Pull, err error) {
	var found struct {
		Items []struct {
			Number    int64     `json:"number"`
			Title     string    `json:"title"`
			HTMLURL   string    `json:"html_url"`
			CreatedAt time.Time `json:"created_at"`
		} `json:"items"`
	}
	q := url.Values{"q": {"head:" + g.in.branch + " type:pr repo:" + g.in.repo}, "per_page": {strconv.Itoa(maxPulls)}}
	if _, err := g.get(ctx, "/search/issues?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for i, one := range found.Items {
		if i == maxPulls {
			break
		}
		p := report.Pull{Number: one.Number, Title: one.Title, URL: one.HTMLURL, Created: one.CreatedAt}
		for page := 1; page <= maxCommitPages; page++ {
			var commits []githubCommit
			if _, err := g.get(ctx, fmt.Sprintf("/repos/%s/pulls/%d/commits?per_page=100&page=%d", g.in.repo, one.Number, page),
				&commits); err != nil {
				return nil, err
			}
			for _, c := range commits {
				p.Commits = append(p.Commits, c.commit())
			}
			if len(commits) < 100 {
				break
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func (g github) head(ctx context.Context) (report.Commit, error) {
	ref := g.in.branch
	if g.in.revision != "" {
		ref = g.in.revision
	}
	var c githubCommit
	_, err := g.get(ctx, "/repos/"+g.in.repo+"/commits/"+url.PathEscape(ref), &c)
	return c.commit(), err
}

// gitlab reads the REST API of GitLab. Source: GitLab REST API, merge requests, branches, commits.
type gitlab struct {
	provider
	in *gitInput
}

type gitlabCommit struct {
	ID         string    `json:"id"`
	Message    string    `json:"message"`
	WebURL     string    `json:"web_url"`
	AuthorName string    `json:"author_name"`
	Date       time.Time `json:"committed_date"`
	Created    time.Time `json:"created_at"`
}

func (c gitlabCommit) commit() report.Commit {
	at := c.Date
	if at.IsZero() {
		at = c.Created
	}
	return report.Commit{SHA: c.ID, Message: c.Message, URL: c.WebURL, UserName: c.AuthorName, Date: at}
}

func (g gitlab) project() string { return "/api/v4/projects/" + url.PathEscape(g.in.repo) }

func (g gitlab) pulls(ctx context.Context) (all []report.Pull, err error) {
	var found []struct {
		IID       int64     `json:"iid"`
		Title     string    `json:"title"`
		WebURL    string    `json:"web_url"`
		CreatedAt time.Time `json:"created_at"`
	}
	q := url.Values{"source_branch": {g.in.branch}, "per_page": {strconv.Itoa(maxPulls)}}
	if _, err := g.get(ctx, g.project()+"/merge_requests?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for i, one := range found {
		if i == maxPulls {
			break
		}
		p := report.Pull{Number: one.IID, Title: one.Title, URL: one.WebURL, Created: one.CreatedAt}
		for page := 1; page <= maxCommitPages; page++ {
			var commits []gitlabCommit
			if _, err := g.get(ctx, fmt.Sprintf("%s/merge_requests/%d/commits?per_page=100&page=%d", g.project(), one.IID, page),
				&commits); err != nil {
				return nil, err
			}
			for _, c := range commits {
				p.Commits = append(p.Commits, c.commit())
			}
			if len(commits) < 100 {
				break
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func (g gitlab) head(ctx context.Context) (report.Commit, error) {
	if g.in.revision != "" {
		var c gitlabCommit
		_, err := g.get(ctx, g.project()+"/repository/commits/"+url.PathEscape(g.in.revision), &c)
		return c.commit(), err
	}
	var b struct {
		Commit gitlabCommit `json:"commit"`
	}
	_, err := g.get(ctx, g.project()+"/repository/branches/"+url.PathEscape(g.in.branch), &b)
	return b.Commit.commit(), err
}
