package forge

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// bitbucket reads the REST API of Bitbucket Cloud. Source: Bitbucket Cloud REST API 2.0, pull requests, commits, refs.
type bitbucket struct {
	*Client
	site Site
	at   Place
}

// link is a link of both APIs of Bitbucket.
type link struct {
	Href string `json:"href"`
}

type bitbucketCommit struct {
	Hash    string    `json:"hash"`
	Date    time.Time `json:"date"`
	Message string    `json:"message"`
	Author  struct {
		Raw  string `json:"raw"` // NAME <ADDRESS>
		User struct {
			DisplayName string `json:"display_name"`
			Links       struct {
				Avatar link `json:"avatar"`
			} `json:"links"`
		} `json:"user"`
	} `json:"author"`
	Links struct {
		HTML link `json:"html"`
	} `json:"links"`
}

func (c bitbucketCommit) commit() report.Commit {
	who := c.Author.User.DisplayName
	if who == "" {
		who, _, _ = strings.Cut(c.Author.Raw, " <")
	}
	return report.Commit{SHA: c.Hash, Message: c.Message, URL: c.Links.HTML.Href, UserName: who, Avatar: c.Author.User.Links.Avatar.Href,
		Date: c.Date}
}

func (b bitbucket) pulls(ctx context.Context) (all []report.Pull, err error) {
	var found struct {
		Values []struct {
			ID        int64     `json:"id"`
			Title     string    `json:"title"`
			CreatedOn time.Time `json:"created_on"`
			Links     struct {
				HTML link `json:"html"`
			} `json:"links"`
		} `json:"values"`
	}
	q := url.Values{"q": {`source.branch.name="` + b.at.Branch + `"`}, "pagelen": {strconv.Itoa(maxPulls)},
		"state": {"OPEN", "MERGED", "DECLINED", "SUPERSEDED"}}
	if err := b.get(ctx, b.site, "/repositories/"+b.at.Repo+"/pullrequests?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for _, one := range found.Values[:min(len(found.Values), maxPulls)] {
		p := report.Pull{Number: one.ID, Title: one.Title, URL: one.Links.HTML.Href, Created: one.CreatedOn}
		path := fmt.Sprintf("/repositories/%s/pullrequests/%d/commits?pagelen=%d", b.at.Repo, one.ID, pageSize)
		for page := 1; page <= maxCommitPages && path != ""; page++ {
			var read struct {
				Values []bitbucketCommit `json:"values"`
				Next   string            `json:"next"` // URL; "" after the last page
			}
			if err := b.get(ctx, b.site, path, &read); err != nil {
				return nil, err
			}
			for _, c := range read.Values {
				p.Commits = append(p.Commits, c.commit())
			}
			path, _ = strings.CutPrefix(read.Next, b.site.API()) // a page elsewhere would get the password
			if path == read.Next {
				path = ""
			}
		}
		slices.Reverse(p.Commits) // the newest comes first there
		all = append(all, p)
	}
	return all, nil
}

func (b bitbucket) head(ctx context.Context) (report.Commit, error) {
	if b.at.Revision != "" {
		var c bitbucketCommit
		err := b.get(ctx, b.site, "/repositories/"+b.at.Repo+"/commit/"+b.at.Revision, &c)
		return c.commit(), err
	}
	var branch struct {
		Target bitbucketCommit `json:"target"`
	}
	err := b.get(ctx, b.site, "/repositories/"+b.at.Repo+"/refs/branches/"+url.PathEscape(b.at.Branch), &branch)
	return branch.Target.commit(), err
}

// bitbucketServer reads the REST API of Bitbucket Server and Data Center. Source: Bitbucket Data Center REST API, pull requests, commits.
type bitbucketServer struct {
	*Client
	site Site
	at   Place
}

type bitbucketServerCommit struct {
	ID        string `json:"id"`
	Message   string `json:"message"`
	Timestamp int64  `json:"committerTimestamp"` // ms
	Author    struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	} `json:"author"`
}

// repo returns the path of the repository, in the API and in the pages.
func (b bitbucketServer) repo() string {
	project, repo, _ := strings.Cut(b.at.Repo, "/")
	return "/projects/" + project + "/repos/" + repo
}

func (b bitbucketServer) commit(c bitbucketServerCommit) report.Commit {
	who := c.Author.DisplayName
	if who == "" {
		who = c.Author.Name
	}
	return report.Commit{SHA: c.ID, Message: c.Message, URL: b.site.Base() + b.repo() + "/commits/" + c.ID, UserName: who,
		Date: time.UnixMilli(c.Timestamp).UTC()}
}

func (b bitbucketServer) pulls(ctx context.Context) (all []report.Pull, err error) {
	var found struct {
		Values []struct {
			ID      int64  `json:"id"`
			Title   string `json:"title"`
			Created int64  `json:"createdDate"` // ms
		} `json:"values"`
	}
	q := url.Values{"at": {"refs/heads/" + b.at.Branch}, "direction": {"OUTGOING"}, "state": {"ALL"}, "limit": {strconv.Itoa(maxPulls)}}
	if err := b.get(ctx, b.site, b.repo()+"/pull-requests?"+q.Encode(), &found); err != nil {
		return nil, err
	}
	for _, one := range found.Values[:min(len(found.Values), maxPulls)] {
		path := fmt.Sprintf("%s/pull-requests/%d", b.repo(), one.ID)
		p := report.Pull{Number: one.ID, Title: one.Title, URL: b.site.Base() + path, Created: time.UnixMilli(one.Created).UTC()}
		if p.Commits, err = commits(func(page int) (some []report.Commit, err error) {
			var read struct {
				Values []bitbucketServerCommit `json:"values"`
			}
			err = b.get(ctx, b.site, fmt.Sprintf("%s/commits?limit=%d&start=%d", path, pageSize, (page-1)*pageSize), &read)
			for _, c := range read.Values {
				some = append(some, b.commit(c))
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

func (b bitbucketServer) head(ctx context.Context) (report.Commit, error) {
	until := "refs/heads/" + b.at.Branch
	if b.at.Revision != "" {
		until = b.at.Revision
	}
	var read struct {
		Values []bitbucketServerCommit `json:"values"`
	}
	if err := b.get(ctx, b.site, b.repo()+"/commits?"+url.Values{"until": {until}, "limit": {"1"}}.Encode(), &read); err != nil {
		return report.Commit{}, err
	}
	if len(read.Values) == 0 {
		return report.Commit{}, ErrNotFound
	}
	return b.commit(read.Values[0]), nil
}
