package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "actions", serve: (*request).actionsPage},
		row{method: "GET", path: "actions/{name}", serve: (*request).actionPage},
	)
}

// The groups of actions that statements name together: to pull and to look at what is pulled, and to push.
const (
	ofPull = "pull"
	ofPush = "push"
)

// groupOf returns the actions of a group; nil for another name.
func groupOf(of string) []string {
	switch of {
	case ofPull:
		return policy.PullActions()
	case ofPush:
		return append(policy.PushActions(), "ecr:GetAuthorizationToken")
	}
	return nil
}

// actionsView is a list of actions of ECR.
type actionsView struct {
	Query string // a pattern with "*"
	Of    string // pull, push, or "" for all
	Rows  []actionRow
}

// actionRow is an action with what it allows.
type actionRow struct {
	policy.Meaning
	To string
}

// actionPath returns the page of an action of ECR, or the list of those that a pattern stands for; "" for another one.
func actionPath(action string) string {
	if m, ok := policy.MeaningOf(action); ok {
		return Path + "/actions/" + pathOf(m.Action)
	}
	if strings.Contains(action, "*") && strings.HasPrefix(strings.ToLower(action), "ecr:") || action == "*" {
		return Path + "/actions?" + values("q", action)
	}
	return ""
}

// actionsPage lists the actions of ECR that policies can allow, each with what it allows.
func (x *request) actionsPage() error {
	q := x.r.URL.Query()
	v := actionsView{Query: strings.TrimSpace(q.Get("q")), Of: q.Get("of")}
	group := groupOf(v.Of)
	if group == nil {
		v.Of = ""
	}
	pattern := strings.ToLower(v.Query)
	for _, m := range policy.Meanings() {
		action := strings.ToLower(m.Action)
		if group != nil && !slices.Contains(group, m.Action) ||
			pattern != "" && !strings.Contains(action, pattern) && !name.Matches(pattern, action) {
			continue
		}
		v.Rows = append(v.Rows, actionRow{m, actionPath(m.Action)})
	}
	return x.render(http.StatusOK, "actions", &view{Title: "Actions", Section: "actions", Main: v})
}

// actionView is an action of ECR.
type actionView struct {
	policy.Meaning
	Pull, Push bool   // it is a part of them
	Statement  string // that allows it
	Simulate   string
	Command    string
}

// actionPage says what an action of ECR allows.
func (x *request) actionPage() error {
	m, ok := policy.MeaningOf(x.at["name"])
	if !ok {
		return errNoPage
	}
	on := "*"
	if m.OnRepository {
		on = "arn:aws:ecr:" + x.region.String() + ":" + x.account.String() + ":repository/NAME"
	}
	v := actionView{Meaning: m, Pull: slices.Contains(groupOf(ofPull), m.Action), Push: slices.Contains(groupOf(ofPush), m.Action),
		Statement: "{\n  \"Effect\": \"Allow\",\n  \"Action\": \"" + m.Action + "\",\n  \"Resource\": \"" + on + "\"\n}",
		Simulate:  x.iam() + "/simulate?" + values("action", m.Action), Command: "ecrin explain --as ARN --action " + m.Action}
	if m.OnRepository {
		v.Command += " --on NAME"
	}
	return x.render(http.StatusOK, "action", &view{Title: m.Action, Section: "actions", Main: v,
		Crumbs: []link{{Text: "Actions", To: Path + "/actions"}}})
}
