package outside_test

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// sites answers as the REST APIs of GitHub, GitLab and Jira and a git server do, for the token "good".
func sites(t testing.TB) *front {
	t.Helper()
	refuse := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v3/user", func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer good":
			refuse(w, http.StatusOK, `{"login":"octocat","id":1,"name":"The Octocat"}`)
		case "Bearer slow":
			refuse(w, http.StatusTooManyRequests, `{"message":"API rate limit exceeded"}`)
		case "Bearer moved":
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		case "Bearer page":
			refuse(w, http.StatusOK, `<html>log in</html>`)
		default:
			refuse(w, http.StatusUnauthorized, `{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}`)
		}
	})
	mux.HandleFunc("GET /api/v4/user", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Private-Token") != "good" {
			refuse(w, http.StatusForbidden, `{"error":"insufficient_scope"}`)
			return
		}
		refuse(w, http.StatusOK, `{"id":1,"username":"tanuki","name":"T"}`)
	})
	mux.HandleFunc("GET /jira/rest/api/2/myself", func(w http.ResponseWriter, r *http.Request) {
		user, token, basic := r.BasicAuth()
		if basic && user == "mia@example.com" && token == "good" || r.Header.Get("Authorization") == "Bearer good" {
			refuse(w, http.StatusOK, `{"key":"mia","displayName":"Mia","emailAddress":"mia@example.com"}`)
			return
		}
		refuse(w, http.StatusUnauthorized, `{"errorMessages":["You are not authenticated."]}`)
	})
	mux.HandleFunc("GET /team/app.git/info/refs", func(w http.ResponseWriter, r *http.Request) {
		if _, token, _ := r.BasicAuth(); token != "good" || r.URL.Query().Get("service") != "git-upload-pack" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return &front{URL: s.URL, Host: strings.TrimPrefix(s.URL, "https://"),
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
}

// Integrations with hosts of git and of issues: a test asks for the owner of the token, and shows what the service says against it.
func TestIntegrationsWithGitAndIssues(t *testing.T) {
	t.Parallel()
	f := sites(t)
	n := near(t, nil, f)
	for _, c := range []struct {
		label, kind, provider, url, user, token string
		found, code, message, cure              string
	}{
		{"hub", "GIT", "github", f.URL, "", "good", "octocat", "", "", ""},
		{"hub-bad", "GIT", "github", f.URL, "", "bad", "", "401", "Bad credentials", "set another one"},
		{"hub-slow", "GIT", "github", f.URL, "", "slow", "", "429", "rate limit", "try again later"},
		{"hub-moved", "GIT", "github", f.URL, "", "moved", "", "302", "refuses", "check provider and URL"},
		{"hub-page", "GIT", "github", f.URL, "", "page", "", "200", "does not answer as", "check provider and URL"},
		{"lab", "GIT", "gitlab", f.URL, "", "good", "tanuki", "", "", ""},
		{"lab-bad", "GIT", "gitlab", f.URL, "", "bad", "", "403", "insufficient_scope", "permission"},
		{"jira", "ISSUES", "jira", f.URL + "/jira", "mia@example.com", "good", "Mia", "", "", ""},
		{"jira-pat", "ISSUES", "jira", f.URL + "/jira", "", "good", "Mia", "", "", ""},
		{"jira-bad", "ISSUES", "jira", f.URL + "/jira", "", "bad", "", "401", "You are not authenticated.", "set another one"},
		{"jira-away", "ISSUES", "jira", f.URL + "/none", "", "good", "", "404", "", "check the URL"},
		{"git", "GIT", "git", f.URL + "/team/app.git", "u", "good", "", "", "", ""},
		{"git-bad", "GIT", "git", f.URL + "/team/app.git", "u", "bad", "", "401", "", "set another one"},
		{"private", "GIT", "github", "https://10.9.8.7", "", "good", "", "", "cannot be reached", "egress_allow"},
	} {
		made := add(t, n, ecrintypes.CreateIntegrationRequest{IntegrationName: c.label, Kind: ecrintypes.IntegrationKind(c.kind),
			Provider: ecrintypes.IntegrationProvider(c.provider), Url: c.url, Username: c.user, Password: c.token})
		if made.Provider != c.provider || made.Url != c.url {
			t.Errorf("%s: got %s", c.label, shown(made))
		}
		got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: c.label})
		one := last(t, got)
		if got.Passed != (c.cure == "") || one.Found != c.found || one.Code != c.code || !strings.Contains(one.Message, c.message) ||
			!strings.Contains(one.Cure, c.cure) || strings.Contains(shown(got), `"`+c.token+`"`) {
			t.Errorf("%s: got %s, want %+v", c.label, shown(got), c)
		}
	}
	for what, in := range map[string]ecrintypes.CreateIntegrationRequest{
		"a file of the server":    {Kind: "GIT", Provider: "git", Url: "file:///etc"},
		"http":                    {Kind: "GIT", Provider: "git", Url: "http://git.invalid/a"},
		"a repository without it": {Kind: "GIT", Provider: "git", Url: "https://git.invalid"},
		"github without token":    {Kind: "GIT", Provider: "github"},
		"jira as git":             {Kind: "GIT", Provider: "jira", Url: f.URL, Password: "x"},
		"no provider":             {Kind: "ISSUES", Url: f.URL, Password: "x"},
		"a role":                  {Kind: "GIT", Provider: "github", Password: "x", RoleArn: "r"},
		"a provider for OCI":      {Kind: "OCI", Provider: "github", RegistryHost: f.Host},
		"a destination": {Kind: "GIT", Provider: "github", Password: "x",
			ReplicatesTo: &ecrintypes.ReplicationTarget{RegistryId: "111122223333", Region: "eu-west-1"}},
	} {
		in.IntegrationName = "bad"
		if err := call(t, n, "CreateIntegration", in, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" {
			t.Errorf("%s: got %v, want InvalidParameterException", what, err)
		}
	}
	if err := sendImage(t, n, "hub", "v1"); err == nil || !strings.Contains(err.Error(), "not one of a registry") {
		t.Errorf("a copy by an integration with GitHub: got %v, want a refusal", err)
	}
	var out bytes.Buffer
	code := cli.Run(t.Context(), cli.Env{Args: []string{"integration", "update", "hub-bad", "--token", "--data", n.Dir},
		In: strings.NewReader("good\n"), Out: &out, Err: &out, Lookup: func(string) (string, bool) { return "", false }})
	if got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "hub-bad"}); code != 0 || !got.Passed {
		t.Errorf("a new token: got %d %s, %s, want a test that passes", code, out.String(), shown(got))
	}
}
