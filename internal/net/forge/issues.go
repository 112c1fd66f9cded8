package forge

import (
	"context"
	"net/url"
)

// Issue is what a tracker says of an issue.
type Issue struct {
	URL       string // of its page
	Title     string
	Status    string
	Assignee  string // "" for nobody
	AvatarURL string // of the assignee
}

// Issue returns the issue of a key.
//
// Errors: ErrNotFound, *Error, that of ctx. Source: Jira REST API, get issue.
func (c *Client) Issue(ctx context.Context, s Site, key string) (i Issue, err error) {
	var found struct {
		Fields *struct {
			Summary string `json:"summary"`
			Status  struct {
				Name string `json:"name"`
			} `json:"status"`
			Assignee *struct {
				DisplayName string            `json:"displayName"`
				AvatarURLs  map[string]string `json:"avatarUrls"`
			} `json:"assignee"`
		} `json:"fields"`
	}
	if err := c.get(ctx, s, "/issue/"+url.PathEscape(key)+"?fields=summary,status,assignee", &found); err != nil {
		return i, err
	}
	if found.Fields == nil {
		return i, s.failed("answers with something else than its API documents")
	}
	i = Issue{URL: s.Base() + "/browse/" + key, Title: found.Fields.Summary, Status: found.Fields.Status.Name}
	if who := found.Fields.Assignee; who != nil {
		i.Assignee, i.AvatarURL = who.DisplayName, who.AvatarURLs["48x48"]
	}
	return i, nil
}
