package report

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// issuesInput is what the variables say of issues.
type issuesInput struct {
	base          string
	authorization string
	token         string // names of the variables that have the credentials
	keys          []string
	must          bool // issues that do not exist, or none, fail the report
}

// issuesOf returns what the variables say of issues; nil for nothing.
//
// Errors: fault.InvalidParameter, which lists the variables to add.
func issuesOf(v report.Variables) (*issuesInput, error) {
	given := false
	for key := range v {
		given = given || strings.HasPrefix(key, "CF_JIRA_")
	}
	if !given {
		return nil, nil
	}
	in := &issuesInput{must: v.True("CF_JIRA_FAIL_ON_NOT_FOUND")}
	var missing []string
	for _, key := range []string{"CF_JIRA_HOST_URL", "CF_JIRA_MESSAGE", "CF_JIRA_PROJECT_PREFIX"} {
		if v[key] == "" {
			missing = append(missing, key)
		}
	}
	switch pat, token, email := v["CF_JIRA_SERVER_PAT"], v["CF_JIRA_API_TOKEN"], v["CF_JIRA_EMAIL"]; {
	case pat != "":
		in.authorization, in.token = "Bearer "+pat, "CF_JIRA_SERVER_PAT"
	case token != "" && email != "":
		in.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(email+":"+token))
		in.token = "CF_JIRA_EMAIL and CF_JIRA_API_TOKEN"
	default:
		missing = append(missing, "CF_JIRA_SERVER_PAT, or CF_JIRA_API_TOKEN with CF_JIRA_EMAIL")
	}
	if len(missing) > 0 {
		return nil, badVariables(fmt.Errorf("of issues, add %s", strings.Join(missing, ", ")))
	}
	base := v["CF_JIRA_HOST_URL"]
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	var err error
	if in.base, err = baseOf("CF_JIRA_HOST_URL", base); err != nil {
		return nil, err
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
// Errors: fault.IntegrationFailed. Source: Jira REST API, get issue.
func (s *Service) readIssues(ctx context.Context, in *issuesInput, m *messages) (all []meta.Annotation, err error) {
	if len(in.keys) == 0 {
		if in.must {
			return nil, fault.IntegrationFailed.New(notFoundText)
		}
		m.add(Warn, "the message names no issue")
		return nil, nil
	}
	p := provider{s: s, title: "Jira", base: in.base, token: in.token, header: http.Header{"Authorization": {in.authorization},
		"Accept": {"application/json"}}}
	for _, key := range in.keys {
		var found struct {
			Key    string `json:"key"`
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
		m.add(Info, "reading the issue "+key)
		_, err := p.get(ctx, "/rest/api/2/issue/"+url.PathEscape(key)+"?fields=summary,status,assignee", &found)
		switch {
		case errors.Is(err, errNotThere) && in.must:
			return nil, fault.IntegrationFailed.New("%s: %s", key, notFoundText)
		case errors.Is(err, errNotThere):
			m.add(Warn, "Jira has no issue "+key+", or does not show it to the credentials: it is left out")
			continue
		case err != nil:
			return nil, err
		case found.Fields == nil:
			return nil, p.failed("answers with something else than its API documents")
		}
		a := issueAnnotation{URL: in.base + "/browse/" + key, Title: clip(found.Fields.Summary), Status: clip(found.Fields.Status.Name)}
		if who := found.Fields.Assignee; who != nil {
			a.Assignee, a.AvatarURL = clip(who.DisplayName), clip(who.AvatarURLs["48x48"])
		}
		value, err := json.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("encoding an issue: %w", err)
		}
		all = append(all, meta.Annotation{Key: key, Type: "issue", Value: string(value)})
	}
	return all, nil
}
