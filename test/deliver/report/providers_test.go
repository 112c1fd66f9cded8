package report_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// pushed is a world with one image of its own.
func pushed(t *testing.T, providers ...*provider) (w *world, image string) {
	t.Helper()
	w = newWorld(t, false, providers...)
	w.root.CreateRepository(t, "demo/app").Push(t, "1", built(1, "linux", "amd64", 100))
	return w, w.host() + "/demo/app:1"
}

type object = map[string]any

// newGitHub is a GitHub with two pull requests of the branch main-2. Source: GitHub REST API.
func newGitHub(t *testing.T) *provider {
	p := newProvider(t, func(r *http.Request) string {
		if got := r.Header.Get("Authorization"); got != "Bearer gh-token" {
			return "the header authorization is " + got
		}
		if r.Method != "GET" || r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("User-Agent") == "" {
			return "method or headers are not those of the API"
		}
		return ""
	})
	commit := func(sha, message, login, date string) object {
		return object{"sha": sha, "html_url": "https://github.com/team/app/commit/" + sha,
			"author": object{"login": login, "avatar_url": "https://a/" + login},
			"commit": object{"message": message, "author": object{"name": login, "date": date}}}
	}
	p.set("/api/search/issues?"+url.Values{"q": {"head:main-2 type:pr repo:team/app"}, "per_page": {"50"}}.Encode(), object{"items": []object{
		{"number": 7, "title": "first", "html_url": "https://github.com/team/app/pull/7", "created_at": "2026-11-01T00:00:00Z"},
		{"number": 9, "title": "second", "html_url": "https://github.com/team/app/pull/9", "created_at": "2026-11-02T00:00:00Z"}}})
	p.set("/api/repos/team/app/pulls/7/commits?per_page=100&page=1", []object{commit("aaaaaaa1", "old", "ann", "2026-11-05T00:00:00Z")})
	p.set("/api/repos/team/app/pulls/9/commits?per_page=100&page=1",
		[]object{commit("bbbbbbb1", "begin\n\nmore", "bob", "2026-11-02T00:00:00Z"),
			commit("bbbbbbb2", "finish\n\nmore", "cy", "2026-11-03T00:00:00Z")})
	return p
}

func github(p *provider, branch string) []string {
	return []string{"CF_GIT_PROVIDER", "github", "CF_GIT_REPO", "team/app", "CF_GIT_BRANCH", branch, "CF_GITHUB_TOKEN", "gh-token",
		"CF_GITHUB_API_HOST_URL", p.URL, "CF_GITHUB_API_PATH_PREFIX", "/api"}
}

// C9: of two pull requests the newest commit of the newest one is that of the image, and each is an annotation with its committers.
func TestC9(t *testing.T) {
	t.Parallel()
	gh := newGitHub(t)
	w, image := pushed(t, gh)
	w.report(t, image, github(gh, "main-2")...).want(t, 0)
	out := w.show(t, image)
	c := out.Images[0].Commit
	if c == nil || c.Sha != "bbbbbbb2" || c.Author != "cy" || c.GitProvider != "github" || c.Url == "" ||
		out.Images[0].Report.PullRequestUrl != "https://github.com/team/app/pull/9" || out.Images[0].Report.CommitMessage != "finish" {
		t.Errorf("the commit: got %+v of %+v, want bbbbbbb2", c, out.Images[0].Report)
	}
	if len(out.Annotations) != 2 || out.Annotations[1].Key != "#github#team/app#9" || out.Annotations[1].Type != "pr" {
		t.Fatalf("the annotations: got %+v, want two pull requests", out.Annotations)
	}
	var v struct {
		ID, URL, Title string
		Committers     []struct{ UserName, Avatar string }
		Commits        []struct{ SHA, Message string }
	}
	if err := json.Unmarshal([]byte(out.Annotations[1].Value), &v); err != nil || v.ID != "#9" || v.Title != "second" ||
		len(v.Committers) != 2 ||
		v.Committers[0].UserName != "bob" || v.Committers[0].Avatar != "https://a/bob" || len(v.Commits) != 2 ||
		v.Commits[1].Message != "finish" {
		t.Errorf("the annotation: got %+v and %v", v, err)
	}
	// The revision of the pipeline decides if a pull request has it.
	w.report(t, image, append(github(gh, "main-2"), "CF_GIT_REVISION", "aaaaaaa1")...).want(t, 0)
	if c := w.show(t, image).Images[0].Commit; c == nil || c.Sha != "aaaaaaa1" {
		t.Errorf("the commit with a revision: got %+v, want aaaaaaa1", c)
	}
}

// What a provider answers is stored in bounded parts, however long its texts are: the caller chooses the provider.
func TestLongAnswersAreShortened(t *testing.T) {
	t.Parallel()
	gh := newGitHub(t)
	long := strings.Repeat("x", 5000)
	var commits []object
	for i := range 100 {
		name := fmt.Sprint(i, long)
		commits = append(commits, object{"sha": fmt.Sprintf("%07d", i), "html_url": "https://github.com/" + long,
			"author": object{"login": name, "avatar_url": "https://a/" + long},
			"commit": object{"message": long + "\nmore", "author": object{"name": name, "date": "2026-11-03T00:00:00Z"}}})
	}
	gh.set("/api/repos/team/app/pulls/9/commits?per_page=100&page=1", commits)
	gh.set("/api/repos/team/app/pulls/9/commits?per_page=100&page=2", []object{})
	w, image := pushed(t, gh)
	w.report(t, image, github(gh, "main-2")...).want(t, 0)
	out := w.show(t, image)
	if c := out.Images[0].Commit; c == nil || c.Sha != "0000099" || len(c.Message) > 2048 || len(c.Url) > 2048 {
		t.Errorf("the commit: got %.200v, want 0000099 with short texts", c)
	}
	for _, a := range out.Annotations {
		if !json.Valid([]byte(a.Value)) || len(a.Value) > 64<<10 {
			t.Errorf("the annotation %s: got %d bytes, want at most 64 KiB of JSON", a.Key, len(a.Value))
		}
	}
	if last := out.Annotations[len(out.Annotations)-1].Value; !strings.Contains(last, `"sha":"0000099"`) {
		t.Errorf("the annotation: got %.300s, want the newest commit in it", last)
	}
}

// Without pull requests the commit is that of the branch, and a branch that does not exist is a warning. What a provider refuses fails the
// report, and nothing is stored.
func TestGitProviderFaults(t *testing.T) {
	t.Parallel()
	gh := newGitHub(t)
	w, image := pushed(t, gh)
	search := "/api/search/issues?" + url.Values{"q": {"head:gone type:pr repo:team/app"}, "per_page": {"50"}}.Encode()
	for _, c := range []struct {
		answer any
		want   string
		tries  int
	}{
		{401, "does not accept the credentials (401): check CF_GITHUB_TOKEN", 1}, {403, "403", 1}, {404, "has no repository team/app", 1},
		{429, "limits the rate of requests (429)", 4}, {500, "status 500", 4}, {"<html>", "something else", 1}, {302, "status 302", 1},
	} {
		gh.set(search, c.answer)
		before := gh.count("head%3Agone")
		w.report(t, image, github(gh, "gone")...).want(t, 1, "IntegrationFailed", "GitHub", c.want)
		if n := gh.count("head%3Agone") - before; n != c.tries {
			t.Errorf("%v: got %d requests, want %d", c.answer, n, c.tries)
		}
	}
	w.nothing(t)
	gh.set(search, object{"items": []object{}})
	w.report(t, image, github(gh, "gone")...).want(t, 0, "warning: the branch gone of team/app does not exist")
	w.report(t, image, "CF_GITHUB_TOKEN", "gh-token").want(t, 1, "CF_GIT_PROVIDER, CF_GIT_REPO, CF_GIT_BRANCH")
	w.report(t, image, "CF_GIT_PROVIDER", "github", "CF_GIT_REPO", "team/app", "CF_GIT_BRANCH", "x repo:other/app", "CF_GITHUB_TOKEN", "t").
		want(t, 1, "CF_GIT_BRANCH must be the name of a branch")
	w.report(t, image, "CF_GIT_PROVIDER", "github", "CF_GIT_REPO", "team/app", "CF_GIT_BRANCH", "x", "CF_GITHUB_TOKEN", "t",
		"CF_GITHUB_API_HOST_URL", "https://10.1.2.3").want(t, 1, "this server does not connect to the host of GitHub")
}

// newGitLab is a GitLab with a merge request of the branch feature/x. Source: GitLab REST API.
func newGitLab(t *testing.T) *provider {
	gl := newProvider(t, func(r *http.Request) string {
		if got := r.Header.Get("Private-Token"); got != "gl-token" {
			return "the header private-token is " + got
		}
		return ""
	})
	gl.set("/api/v4/projects/group%2Fteam%2Fapp/merge_requests?per_page=50&source_branch=feature%2Fx", []object{
		{"iid": 3, "title": "change", "web_url": "https://gitlab.com/mr/3", "created_at": "2026-11-02T00:00:00.000Z"}})
	gl.set("/api/v4/projects/group%2Fteam%2Fapp/merge_requests/3/commits?per_page=100&page=1", []object{
		{"id": "ccccccc1", "message": "newest", "web_url": "https://gitlab.com/c/1", "author_name": "Ann",
			"created_at": "2026-11-03T00:00:00.000Z"}})
	return gl
}

// Merge requests of GitLab are read as pull requests of GitHub are.
func TestGitLab(t *testing.T) {
	t.Parallel()
	gl := newGitLab(t)
	w, image := pushed(t, gl)
	w.report(t, image, "CF_GIT_PROVIDER", "gitlab", "CF_GIT_REPO", "group/team/app", "CF_GIT_BRANCH", "feature/x",
		"CF_GITLAB_TOKEN", "gl-token",
		"CF_GITLAB_HOST_URL", gl.URL).want(t, 0)
	out := w.show(t, image)
	if c := out.Images[0].Commit; c == nil || c.Sha != "ccccccc1" || c.Author != "Ann" || len(out.Annotations) != 1 ||
		out.Annotations[0].Key != "#gitlab#group/team/app#3" {
		t.Errorf("the report: got %+v and %+v", out.Images[0].Commit, out.Annotations)
	}
}

// newJira is a Jira with two issues. Source: Jira REST API.
func newJira(t *testing.T) *provider {
	p := newProvider(t, func(r *http.Request) string {
		if got := r.Header.Get("Authorization"); got != "Basic "+base64.StdEncoding.EncodeToString([]byte("a@b.c:jt")) {
			return "the header authorization is " + got
		}
		return ""
	})
	for key, who := range map[string]any{"CR-1": object{"displayName": "Ann", "avatarUrls": object{"48x48": "https://a/ann"}}, "OPS-2": nil} {
		p.set("/rest/api/2/issue/"+key+"?fields=summary,status,assignee", object{"key": key, "fields": object{
			"summary": "title of " + key, "status": object{"name": "Done"}, "assignee": who}})
	}
	return p
}

func jira(p *provider, message, prefix string, more ...string) []string {
	return append([]string{"CF_JIRA_HOST_URL", p.URL, "CF_JIRA_EMAIL", "a@b.c", "CF_JIRA_API_TOKEN", "jt", "CF_JIRA_MESSAGE", message,
		"CF_JIRA_PROJECT_PREFIX", prefix}, more...)
}

// C10: each issue of the message is an annotation with title, status, assignee and link.
func TestC10(t *testing.T) {
	t.Parallel()
	j := newJira(t)
	w, image := pushed(t, j)
	w.report(t, image, jira(j, "fix CR-1, ops-2", "CR,OPS")...).want(t, 0)
	all := w.show(t, image).Annotations
	if len(all) != 2 || all[0].Key != "CR-1" || all[1].Key != "OPS-2" || all[0].Type != "issue" {
		t.Fatalf("the annotations: got %+v, want two issues", all)
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(all[0].Value), &v); err != nil || v["url"] != j.URL+"/browse/CR-1" || v["title"] != "title of CR-1" ||
		v["status"] != "Done" || v["assignee"] != "Ann" || v["avatarURL"] != "https://a/ann" {
		t.Errorf("the issue: got %v and %v", v, err)
	}
	run(t, nil, "report", "show", image, "--data", w.Dir).want(t, 0, "ISSUE", "title of CR-1 (Done, Ann)")
}

// C11: a message without issues, and an issue that does not exist, fail the report only if that is asked for.
func TestC11(t *testing.T) {
	t.Parallel()
	j := newJira(t)
	w, image := pushed(t, j)
	fail := []string{"CF_JIRA_FAIL_ON_NOT_FOUND", "true"}
	w.report(t, image, jira(j, "no keys", "CR", fail...)...).want(t, 1, "issues weren't found, FAIL_ON_NOT_FOUND=true")
	w.report(t, image, jira(j, "CR-9", "CR", fail...)...).want(t, 1, "CR-9", "issues weren't found, FAIL_ON_NOT_FOUND=true")
	w.nothing(t)
	w.report(t, image, jira(j, "no keys", "CR")...).want(t, 0, "warning: the message names no issue")
	w.report(t, image, jira(j, "CR-9", "CR")...).want(t, 0, "warning: Jira has no issue CR-9")
	for _, c := range []struct {
		answer any
		want   string
		tries  int
	}{{401, "does not accept the credentials (401): check CF_JIRA_EMAIL and CF_JIRA_API_TOKEN", 1}, {403, "(403)", 1},
		{429, "limits the rate of requests (429)", 4}, {500, "status 500", 4}, {"<html>", "something else", 1},
		{object{"key": "CR-1"}, "something else", 1}} {
		j.set("*", c.answer)
		before := j.count("CR-1")
		w.report(t, image, jira(j, "CR-1", "CR")...).want(t, 1, "IntegrationFailed", "Jira", c.want)
		if n := j.count("CR-1") - before; n != c.tries {
			t.Errorf("%v: got %d requests, want %d", c.answer, n, c.tries)
		}
	}
	w.report(t, image, "CF_JIRA_MESSAGE", "x").want(t, 1, "CF_JIRA_HOST_URL", "CF_JIRA_SERVER_PAT")
}

// The commit of a folder is reported without a provider.
func TestLocalGit(t *testing.T) {
	t.Parallel()
	w, image := pushed(t)
	w.report(t, image, "CF_GIT_PROVIDER", "local", "CF_GIT_REVISION", strings.Repeat("ab", 20), "CF_GIT_COMMIT_MESSAGE", "local change\n\nx",
		"CF_GIT_COMMIT_AUTHOR", "Ann", "CF_GIT_BRANCH", "main").want(t, 0)
	if all := w.list(t, "--git-branch", "main"); len(all) != 1 || all[0].CommitMessage != "local change" {
		t.Errorf("the list: got %+v, want the commit", all)
	}
	w.report(t, image, "CF_GIT_PROVIDER", "svn").want(t, 1, "gerrit or local")
}
