package report

import (
	"slices"
	"strings"
	"time"
)

// Commit is a commit of a git repository.
type Commit struct {
	SHA      string    `json:"sha"`
	Message  string    `json:"message"`
	URL      string    `json:"url,omitempty"`
	UserName string    `json:"userName,omitempty"` // of the author
	Avatar   string    `json:"avatar,omitempty"`   // URL of the author's picture
	Date     time.Time `json:"commitDate,omitzero"`
}

// Pull is a pull request.
type Pull struct {
	Number  int64
	Title   string
	URL     string
	Created time.Time
	Commits []Commit
}

// Committer is who has made commits of a pull request.
type Committer struct {
	UserName string `json:"userName"`
	Avatar   string `json:"avatar,omitempty"`
}

// ChooseCommit returns the commit of a report: the one with the revision, which may be abbreviated, or without one the newest commit of
// the newest pull request that has commits.
func ChooseCommit(revision string, pulls []Pull) (c Commit, found bool) {
	pulls = slices.Clone(pulls)
	slices.SortStableFunc(pulls, func(a, b Pull) int {
		if n := b.Created.Compare(a.Created); n != 0 {
			return n
		}
		return int(b.Number - a.Number)
	})
	if len(revision) >= 7 {
		for _, p := range pulls {
			for _, one := range p.Commits {
				if strings.HasPrefix(one.SHA, strings.ToLower(revision)) {
					return one, true
				}
			}
		}
	}
	for _, p := range pulls {
		for i, one := range p.Commits { // of equal times the later one of the list is newer
			if i == 0 || !one.Date.Before(c.Date) {
				c = one
			}
		}
		if len(p.Commits) > 0 {
			return c, true
		}
	}
	return c, false
}

// Committers returns who has made the commits of a pull request, each once, in the order of the commits.
func (p Pull) Committers() []Committer {
	all := []Committer{}
	for _, c := range p.Commits {
		if c.UserName != "" && !slices.ContainsFunc(all, func(h Committer) bool { return h.UserName == c.UserName }) {
			all = append(all, Committer{c.UserName, c.Avatar})
		}
	}
	return all
}

// PerUser keeps of each author the newest max commits of a list that is ordered from old to new; 0 keeps all.
func PerUser(commits []Commit, max int) []Commit {
	if max <= 0 {
		return commits
	}
	n := map[string]int{}
	var kept []Commit
	for _, c := range slices.Backward(commits) {
		if n[c.UserName]++; n[c.UserName] <= max {
			kept = append(kept, c)
		}
	}
	slices.Reverse(kept)
	return kept
}
