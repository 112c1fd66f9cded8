package forge

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// gerrit reads the REST API of Gerrit, in which a change stands for a pull request and has one commit. Source: Gerrit REST API, changes.
type gerrit struct {
	*Client
	site Site
	at   Place
}

// gerritTime is the form of times. They are in UTC.
const gerritTime = "2006-01-02 15:04:05.999999999"

func (g gerrit) pulls(ctx context.Context) ([]report.Pull, error) {
	var c struct {
		Number  int64  `json:"_number"`
		Project string `json:"project"`
		Subject string `json:"subject"`
		Created string `json:"created"`
		Owner   struct {
			Name    string `json:"name"`
			Avatars []struct {
				URL string `json:"url"`
			} `json:"avatars"`
		} `json:"owner"`
		Current   string `json:"current_revision"`
		Revisions map[string]struct {
			Commit struct {
				Message string `json:"message"`
				Author  struct {
					Name string `json:"name"`
					Date string `json:"date"`
				} `json:"author"`
			} `json:"commit"`
		} `json:"revisions"`
	}
	id := g.at.Change
	if plain, err := url.PathUnescape(id); err == nil { // Gerrit shows ids with a / as %2F
		id = plain
	}
	err := g.get(ctx, g.site, "/changes/"+url.PathEscape(id)+"?o=CURRENT_REVISION&o=CURRENT_COMMIT&o=DETAILED_ACCOUNTS", &c)
	if err != nil {
		return nil, err
	}
	now, ok := c.Revisions[c.Current]
	if !ok || c.Number == 0 {
		return nil, g.site.failed("answers with something else than its API documents")
	}
	p := report.Pull{Number: c.Number, Title: c.Subject, URL: g.site.Base() + "/c/" + c.Project + "/+/" + strconv.FormatInt(c.Number, 10)}
	p.Created, _ = time.Parse(gerritTime, c.Created) // it is shown only
	one := report.Commit{SHA: c.Current, Message: now.Commit.Message, URL: p.URL, UserName: now.Commit.Author.Name}
	one.Date, _ = time.Parse(gerritTime, now.Commit.Author.Date) // likewise
	if one.UserName == "" {
		one.UserName = c.Owner.Name
	}
	if one.UserName == c.Owner.Name && len(c.Owner.Avatars) > 0 {
		one.Avatar = c.Owner.Avatars[0].URL
	}
	p.Commits = []report.Commit{one}
	return []report.Pull{p}, nil
}

// head is of no use: a change has its commit.
func (g gerrit) head(context.Context) (report.Commit, error) { return report.Commit{}, ErrNotFound }
