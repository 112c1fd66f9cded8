package forge

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// Place is a branch of a repository.
type Place struct {
	Repo     string // OWNER/NAME
	Branch   string
	Revision string // hash of a commit; "" for the head of the branch
	Change   string // of Gerrit, in place of a branch: the id of a change
}

// The limits of what is read of pull requests.
const (
	maxPulls       = 50
	maxCommitPages = 10 // of pageSize commits
	pageSize       = 100
)

// Pulls returns the pull requests of a branch with their commits, at most 50 with 1,000 commits each.
//
// Errors: ErrNotFound (the repository), *Error, that of ctx.
func (c *Client) Pulls(ctx context.Context, s Site, p Place) ([]report.Pull, error) {
	return c.api(s, p).pulls(ctx)
}

// Head returns the commit of the revision, or of the branch.
//
// Errors: ErrNotFound (the branch or the revision), *Error, that of ctx.
func (c *Client) Head(ctx context.Context, s Site, p Place) (report.Commit, error) {
	return c.api(s, p).head(ctx)
}

// api is what a provider is asked.
type api interface {
	pulls(ctx context.Context) ([]report.Pull, error) // with the commits from old to new
	head(ctx context.Context) (report.Commit, error)
}

func (c *Client) api(s Site, p Place) api {
	switch s.Provider {
	case GitLab:
		return gitlab{c, s, p}
	case Bitbucket:
		return bitbucket{c, s, p}
	case BitbucketServer:
		return bitbucketServer{c, s, p}
	case Gerrit:
		return gerrit{c, s, p}
	}
	return github{c, s, p}
}

// commits returns the commits of a pull request, of which get returns a page.
func commits(get func(page int) ([]report.Commit, error)) (all []report.Commit, err error) {
	for page := 1; page <= maxCommitPages; page++ {
		some, err := get(page)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(some) < pageSize {
			break
		}
	}
	return all, nil
}

// github reads the REST API of GitHub. Source: GitHub REST API, search issues, list commits on a pull request, get a commit.
type github struct {
	*Client
	site Site
	at   Place
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
	q := url.Values{"q": {"head:" + g.at.Branch + " type:pr repo:" + g.at.Repo}, "per_page": {strconv.Itoa(maxPulls)}}
	if err := g.get(ctx, g.site, "/search/issues?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for _, one := range found.Items[:min(len(found.Items), maxPulls)] {
		p := report.Pull{Number: one.Number, Title: one.Title, URL: one.HTMLURL, Created: one.CreatedAt}
		if p.Commits, err = commits(func(page int) (some []report.Commit, err error) {
			var read []githubCommit
			err = g.get(ctx, g.site, fmt.Sprintf("/repos/%s/pulls/%d/commits?per_page=%d&page=%d", g.at.Repo, one.Number, pageSize, page), &read)
			for _, c := range read {
				some = append(some, c.commit())
			}
			return some, err
		}); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (g github) head(ctx context.Context) (report.Commit, error) {
	ref := g.at.Branch
	if g.at.Revision != "" {
		ref = g.at.Revision
	}
	var c githubCommit
	err := g.get(ctx, g.site, "/repos/"+g.at.Repo+"/commits/"+url.PathEscape(ref), &c)
	return c.commit(), err
}

// gitlab reads the REST API of GitLab. Source: GitLab REST API, merge requests, branches, commits.
type gitlab struct {
	*Client
	site Site
	at   Place
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

func (g gitlab) project() string { return "/projects/" + url.PathEscape(g.at.Repo) }

func (g gitlab) pulls(ctx context.Context) (all []report.Pull, err error) {
	var found []struct {
		IID       int64     `json:"iid"`
		Title     string    `json:"title"`
		WebURL    string    `json:"web_url"`
		CreatedAt time.Time `json:"created_at"`
	}
	q := url.Values{"source_branch": {g.at.Branch}, "per_page": {strconv.Itoa(maxPulls)}}
	if err := g.get(ctx, g.site, g.project()+"/merge_requests?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for _, one := range found[:min(len(found), maxPulls)] {
		p := report.Pull{Number: one.IID, Title: one.Title, URL: one.WebURL, Created: one.CreatedAt}
		if p.Commits, err = commits(func(page int) (some []report.Commit, err error) {
			var read []gitlabCommit
			err = g.get(ctx, g.site, fmt.Sprintf("%s/merge_requests/%d/commits?per_page=%d&page=%d", g.project(), one.IID, pageSize, page),
				&read)
			for _, c := range read {
				some = append(some, c.commit())
			}
			return some, err
		}); err != nil {
			return nil, err
		}
		slices.Reverse(p.Commits) // the newest comes first there
		all = append(all, p)
	}
	return all, nil
}

func (g gitlab) head(ctx context.Context) (report.Commit, error) {
	if g.at.Revision != "" {
		var c gitlabCommit
		err := g.get(ctx, g.site, g.project()+"/repository/commits/"+url.PathEscape(g.at.Revision), &c)
		return c.commit(), err
	}
	var b struct {
		Commit gitlabCommit `json:"commit"`
	}
	err := g.get(ctx, g.site, g.project()+"/repository/branches/"+url.PathEscape(g.at.Branch), &b)
	return b.Commit.commit(), err
}
