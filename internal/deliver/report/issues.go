package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// issuesInput is what the variables say of issues.
type issuesInput struct {
	site forge.Site
	keys []string
	must bool // issues that do not exist, or none, fail the report
}

// IssuesIntegration names an integration of the kind ISSUES in place of the variables of a tracker; oldIssuesIntegration is its old name.
const (
	IssuesIntegration    = "CF_ISSUE_TRACKING_INTEGRATION"
	oldIssuesIntegration = "CF_JIRA_INTEGRATION"
)

// issuesOf returns what the variables say of issues; nil for nothing. named is the service of the integration that they name, nil for none.
//
// Errors: fault.InvalidParameter, which lists the variables to add.
func issuesOf(v report.Variables, named *forge.Site) (*issuesInput, error) {
	given := named != nil
	for key := range v {
		given = given || strings.HasPrefix(key, "CF_JIRA_")
	}
	if !given {
		return nil, nil
	}
	in := &issuesInput{must: v.True("CF_JIRA_FAIL_ON_NOT_FOUND")}
	need := []string{"CF_JIRA_MESSAGE", "CF_JIRA_PROJECT_PREFIX"}
	if named == nil {
		need = append([]string{"CF_JIRA_HOST_URL"}, need...)
	}
	var missing []string
	for _, key := range need {
		if v[key] == "" {
			missing = append(missing, key)
		}
	}
	switch pat, token, email := v["CF_JIRA_SERVER_PAT"], v["CF_JIRA_API_TOKEN"], v["CF_JIRA_EMAIL"]; {
	case named != nil:
		in.site = *named
	case pat != "":
		in.site = forge.Site{Token: secret.New(pat), From: "CF_JIRA_SERVER_PAT"}
	case token != "" && email != "":
		in.site = forge.Site{Username: email, Token: secret.New(token), From: "CF_JIRA_EMAIL and CF_JIRA_API_TOKEN"}
	default:
		missing = append(missing, IssuesIntegration+", CF_JIRA_SERVER_PAT, or CF_JIRA_API_TOKEN with CF_JIRA_EMAIL")
	}
	if len(missing) > 0 {
		return nil, badVariables(fmt.Errorf("of issues, add %s", strings.Join(missing, ", ")))
	}
	var err error
	if named == nil {
		in.site.Provider = forge.Jira
		if in.site.URL, err = baseOf("CF_JIRA_HOST_URL", v["CF_JIRA_HOST_URL"]); err != nil {
			return nil, err
		}
	}
	if in.keys, err = report.IssueKeys(v["CF_JIRA_MESSAGE"], v["CF_JIRA_PROJECT_PREFIX"]); err != nil {
		return nil, badVariables(err)
	}
	return in, nil
}

// issueAnnotation is the value of an annotation of an issue.
type issueAnnotation struct {
	URL       string `json:"url"`
	Title     string `json:"title"`
	Status    string `json:"status"`
	Assignee  string `json:"assignee,omitempty"`
	AvatarURL string `json:"avatarURL,omitempty"`
}

const notFoundText = "issues weren't found, FAIL_ON_NOT_FOUND=true"

// readIssues reads the issues. One that does not exist is left out with a warning, or fails the report.
//
// Errors: fault.IntegrationFailed.
func (s *Service) readIssues(ctx context.Context, in *issuesInput, m *messages) (all []meta.Annotation, err error) {
	if len(in.keys) == 0 {
		if in.must {
			return nil, fault.IntegrationFailed.New(notFoundText)
		}
		m.add(Warn, "the message names no issue")
		return nil, nil
	}
	for _, key := range in.keys {
		m.add(Info, "reading the issue "+key)
		found, err := s.forge.Issue(ctx, in.site, key)
		switch {
		case errors.Is(err, forge.ErrNotFound) && in.must:
			return nil, fault.IntegrationFailed.New("%s: %s", key, notFoundText)
		case errors.Is(err, forge.ErrNotFound):
			m.add(Warn, in.site.Title()+" has no issue "+key+", or does not show it to the credentials: it is left out")
			continue
		case err != nil:
			return nil, failed(err)
		}
		value, err := json.Marshal(issueAnnotation{clip(found.URL), clip(found.Title), clip(found.Status), clip(found.Assignee),
			clip(found.AvatarURL)})
		if err != nil {
			return nil, fmt.Errorf("encoding an issue: %w", err)
		}
		all = append(all, meta.Annotation{Key: key, Type: "issue", Value: string(value)})
	}
	return all, nil
}
