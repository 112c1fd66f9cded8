package report_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// basic checks that requests have the user u and the password p.
func basic(r *http.Request) string {
	if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p" {
		return "the header authorization is " + r.Header.Get("Authorization")
	}
	return ""
}

// wantPull checks the commit and the one annotation of a reported image.
func (w *world) wantPull(t *testing.T, image, sha, author, key string, inValue ...string) {
	t.Helper()
	out := w.show(t, image)
	if c := out.Images[0].Commit; c == nil || c.Sha != sha || c.Author != author || len(out.Annotations) != 1 ||
		out.Annotations[0].Key != key {
		t.Fatalf("the report: got the commit %+v and %+v, want %s by %s and %s", out.Images[0].Commit, out.Annotations, sha, author, key)
	}
	for _, text := range inValue {
		if !strings.Contains(out.Annotations[0].Value, text) {
			t.Errorf("the annotation: got %s, want %q in it", out.Annotations[0].Value, text)
		}
	}
}

// Pull requests of Bitbucket Cloud are read page by page; a page that it names elsewhere does not get the password. Source: Bitbucket Cloud
// REST API 2.0.
func TestBitbucket(t *testing.T) {
	t.Parallel()
	b, elsewhere := newProvider(t, basic), newProvider(t, func(*http.Request) string { return "it was asked" })
	commit := func(hash, who, date string) object {
		return object{"hash": hash, "date": date, "message": "change " + hash, "links": object{"html": object{"href": "https://bb/" + hash}},
			"author": object{"raw": who + " <x@y>", "user": object{"display_name": who, "links": object{"avatar": object{"href": "https://a"}}}}}
	}
	q := url.Values{"q": {`source.branch.name="x"`}, "pagelen": {"50"}, "state": {"OPEN", "MERGED", "DECLINED", "SUPERSEDED"}}
	b.set("/2.0/repositories/team/app/pullrequests?"+q.Encode(), object{"values": []object{{"id": 3, "title": "change",
		"created_on": "2026-11-02T00:00:00.000000+00:00", "links": object{"html": object{"href": "https://bb/pr/3"}}}}})
	path := "/2.0/repositories/team/app/pullrequests/3/commits?"
	b.set(path+"pagelen=100", object{"values": []object{commit("ccccccc2", "Bob", "2026-11-04T00:00:00+00:00")},
		"next": b.URL + path + "page=2"})
	b.set(path+"page=2", object{"values": []object{commit("ccccccc1", "Ann", "2026-11-03T00:00:00+00:00")}, "next": elsewhere.URL + "/2.0/x"})
	w, image := pushed(t, b, elsewhere)
	variables := []string{"CF_GIT_PROVIDER", "bitbucket", "CF_GIT_REPO", "team/app", "CF_GIT_BRANCH", "x", "CF_BITBUCKET_USERNAME", "u",
		"CF_BITBUCKET_PASSWORD", "p", "CF_BITBUCKET_HOST_URL", b.URL}
	w.report(t, image, variables...).want(t, 0)
	w.wantPull(t, image, "ccccccc2", "Bob", "#bitbucket#team/app#3", `"userName":"Ann"`, `"url":"https://bb/pr/3"`)
	w.report(t, image, variables[:8]...).want(t, 1, "add CF_BITBUCKET_PASSWORD")
	for answer, want := range map[any]string{401: "check CF_BITBUCKET_USERNAME and CF_BITBUCKET_PASSWORD", 404: "has no repository",
		429: "(429)", 500: "500", "<": "something else"} {
		b.set("*", answer)
		w.report(t, image, variables...).want(t, 1, "Bitbucket", want)
	}
}

// Bitbucket Server is another API. Without pull requests the commit is that of the branch. Source: Bitbucket Data Center REST API.
func TestBitbucketServer(t *testing.T) {
	t.Parallel()
	b := newProvider(t, basic)
	repo := "/rest/api/1.0/projects/TEAM/repos/app"
	at := func(branch string) string {
		return repo + "/pull-requests?" + url.Values{"at": {"refs/heads/" + branch}, "direction": {"OUTGOING"}, "state": {"ALL"},
			"limit": {"50"}}.Encode()
	}
	commit := func(id, who string, ms int64) object {
		return object{"id": id, "message": "m", "committerTimestamp": ms, "author": object{"name": who}}
	}
	b.set(at("x"), object{"values": []object{{"id": 4, "title": "change", "createdDate": 1793577600000}}})
	b.set(repo+"/pull-requests/4/commits?limit=100&start=0", object{"isLastPage": true, "values": []object{commit("ddddddd2", "bob",
		1793664000000), commit("ddddddd1", "ann", 1793577600000)}})
	b.set(at("main"), object{"values": []object{}})
	b.set(repo+"/commits?limit=1&until=refs%2Fheads%2Fmain", object{"values": []object{commit("eeeeeee1", "cy", 1793664000000)}})
	w, image := pushed(t, b)
	variables := []string{"CF_GIT_PROVIDER", "bitbucket-server", "CF_GIT_REPO", "TEAM/app", "CF_BITBUCKET_USERNAME", "u",
		"CF_BITBUCKET_PASSWORD", "p", "CF_GIT_BRANCH", "x"}
	w.report(t, image, variables...).want(t, 1, "add CF_BITBUCKET_HOST_URL")
	variables = append(variables, "CF_BITBUCKET_HOST_URL", b.URL)
	w.report(t, image, variables...).want(t, 0)
	w.wantPull(t, image, "ddddddd2", "bob", "#bitbucket-server#TEAM/app#4", b.URL+"/projects/TEAM/repos/app/pull-requests/4",
		`"userName":"ann"`)
	variables[9] = "main"
	w.report(t, image, variables...).want(t, 0)
	if c := w.show(t, image).Images[0].Commit; c == nil || c.Sha != "eeeeeee1" {
		t.Errorf("without pull requests: got %+v, want the commit of the branch", c)
	}
	variables[9] = "gone"
	b.set(at("gone"), object{"values": []object{}})
	w.report(t, image, variables...).want(t, 0, "warning: the branch gone of TEAM/app does not exist")
}

// A change of Gerrit stands for a pull request. Its answers begin with a text before JSON. Source: Gerrit REST API.
func TestGerrit(t *testing.T) {
	t.Parallel()
	g := newProvider(t, basic)
	path := "/a/changes/team%2Fapp~main~I1?o=CURRENT_REVISION&o=CURRENT_COMMIT&o=DETAILED_ACCOUNTS"
	g.set(path, ")]}'\n"+`{"_number":12,"project":"team/app","subject":"change","created":"2026-11-02 09:59:32.126000000","owner":{"name":"Ann",
		"avatars":[{"url":"https://a/ann"}]},"current_revision":"fffffff1","revisions":{"fffffff1":{"commit":{"message":"change\n\nmore",
		"author":{"name":"Ann","date":"2026-11-02 09:00:00.000000000"}}}}}`)
	w, image := pushed(t, g)
	variables := []string{"CF_GIT_PROVIDER", "gerrit", "CF_GIT_REPO", "app", "CF_GIT_BRANCH", "main", "CF_GERRIT_USERNAME", "u",
		"CF_GERRIT_PASSWORD", "p", "CF_GERRIT_HOST_URL", g.URL}
	w.report(t, image, variables...).want(t, 1, "add CF_GERRIT_CHANGE_ID")
	w.report(t, image, append(variables, "CF_GERRIT_CHANGE_ID", "?x")...).want(t, 1, "must be the id of a change")
	variables = append(variables, "CF_GERRIT_CHANGE_ID", "team/app~main~I1")
	w.report(t, image, variables...).want(t, 0, "reading the change team/app~main~I1")
	w.wantPull(t, image, "fffffff1", "Ann", "#gerrit#app#12", g.URL+"/c/team/app/+/12", "https://a/ann")
	for answer, want := range map[any]string{404: "has no repository", ")]}'\n{}": "something else", 401: "CF_GERRIT_USERNAME"} {
		g.set(path, answer)
		w.report(t, image, variables...).want(t, 1, "Gerrit", want)
	}
}
