package report_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// site stores an integration of git or of issues.
func (w *world) site(t *testing.T, name, kind, provider, url, username, token string) {
	t.Helper()
	w.add(t, ecrintypes.CreateIntegrationRequest{IntegrationName: name, Kind: ecrintypes.IntegrationKind(kind),
		Provider: ecrintypes.IntegrationProvider(provider), Url: url, Username: username, Password: token})
}

// Integrations of git and of issues are named in place of the variables of providers, whose tokens a pipeline then does not have.
func TestNamedIntegrationsOfGitAndIssues(t *testing.T) {
	t.Parallel()
	j, gl := newJira(t), newGitLab(t)
	w, image := pushed(t, j, gl)
	w.site(t, "tracker", "ISSUES", "jira", j.URL, "a@b.c", "jt")
	w.site(t, "lab", "GIT", "gitlab", gl.URL, "", "gl-token")
	w.site(t, "bare", "GIT", "git", gl.URL+"/team/app.git", "u", "p")
	git := []string{"CF_GIT_INTEGRATION", "lab", "CF_GIT_REPO", "group/team/app", "CF_GIT_BRANCH", "feature/x"}
	issues := []string{"CF_ISSUE_TRACKING_INTEGRATION", "tracker", "CF_JIRA_MESSAGE", "fix CR-1", "CF_JIRA_PROJECT_PREFIX", "CR"}
	w.report(t, image, append(git, issues...)...).want(t, 0)
	out := w.show(t, image)
	if c := out.Images[0].Commit; c == nil || c.Sha != "ccccccc1" || c.GitProvider != "gitlab" || len(out.Annotations) != 2 ||
		out.Annotations[0].Key != "#gitlab#group/team/app#3" || out.Annotations[1].Key != "CR-1" {
		t.Errorf("the report: got the commit %+v and %+v, want ccccccc1, a merge request and CR-1", c, out.Annotations)
	}
	issues[0] = "CF_JIRA_INTEGRATION" // the old name
	w.report(t, image, issues...).want(t, 0)
	for _, c := range []struct {
		variables []string
		want      string
	}{
		{[]string{"CF_ISSUE_TRACKING_INTEGRATION", "none", "CF_JIRA_MESSAGE", "x", "CF_JIRA_PROJECT_PREFIX", "CR"}, "IntegrationNotFound"},
		{[]string{"CF_ISSUE_TRACKING_INTEGRATION", "lab", "CF_JIRA_MESSAGE", "x", "CF_JIRA_PROJECT_PREFIX", "CR"}, "is of the kind GIT"},
		{[]string{"CF_ISSUE_TRACKING_INTEGRATION", "tracker"}, "of issues, add CF_JIRA_MESSAGE, CF_JIRA_PROJECT_PREFIX"},
		{[]string{"CF_GIT_INTEGRATION", "tracker", "CF_GIT_REPO", "a/b", "CF_GIT_BRANCH", "x"}, "is of the kind ISSUES"},
		{[]string{"CF_GIT_INTEGRATION", "bare", "CF_GIT_REPO", "a/b", "CF_GIT_BRANCH", "x"}, "must be one of GitHub or GitLab"},
		{[]string{"CF_GIT_INTEGRATION", "lab"}, "of git, add CF_GIT_REPO, CF_GIT_BRANCH"},
		{append([]string{"CF_GIT_PROVIDER", "github"}, git...), "must be that of the integration, gitlab"},
		{[]string{"CF_CONTAINER_REGISTRY_INTEGRATION", "lab"}, "is not one of a registry"},
	} {
		w.report(t, image, c.variables...).want(t, 1, c.want)
	}
	j.set("*", 401)
	w.report(t, image, issues...).want(t, 1, "check the integration tracker")
}
