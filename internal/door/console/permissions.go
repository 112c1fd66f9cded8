package console

import (
	"errors"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/permissions", serve: (*request).permissionsPage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/permissions", serve: (*request).onPermissions},
	)
}

// statementRow is a statement of a policy in words.
type statementRow struct {
	Sid, Line string
	Allows    bool
	Who       []string
	What      []link   // actions, with the pages that say what they allow
	On        []string // the resources; nil where the policy is of one resource
	When      []string
	Not       bool // everyone but Who
	NotOn     bool // everything but On
	NotWhat   bool // every action but What
}

// accessRow says whether a principal may pull or push.
type accessRow struct {
	Principal, Account, Reason, Action string
	Allowed, Delegated                 bool
	ByImage                            bool // entitlements decide for each image, and the page asks for none
	Simulate                           string
}

// grantForm is the form that adds a permission.
type grantForm struct{ Principal, Permission string }

// permissionsView is who may do what in a repository.
type permissionsView struct {
	Repository string
	To         string // this page
	Policy     *editor
	Denied     *trouble
	Saved      string // the text in force
	Seen       string // its hash
	None       bool   // there is no policy
	Editing    bool
	Statements []statementRow
	Access     []accessRow
	AccessOf   string // PULL or PUSH
	AccessTag  string // of which image; "" for the repository
	AccessMore string
	AccessNone *trouble
	Grant      grantForm
	Change     []diffLine
	Proposed   string // the text that Change makes
	Warnings   []string
	Wrong      *trouble
}

// permissionsPage shows the policy of a repository, in words too, and who can pull or push.
func (x *request) permissionsPage() error {
	v := permissionsView{Editing: x.r.URL.Query().Has("edit"), Grant: grantForm{Permission: "PULL"}}
	return x.showPermissions(http.StatusOK, v, nil)
}

// showPermissions shows the page; text is that of the editor, nil for the one in force.
func (x *request) showPermissions(status int, v permissionsView, text *string) error {
	repository := x.at["repo"]
	v.Repository, v.To = repository, x.repositoryPath(repository, "permissions")
	saved, err := x.policyText(repository)
	switch {
	case errors.Is(err, fault.RepositoryPolicyNotFound):
		v.None = true
	case err != nil && x.status(err) == http.StatusForbidden:
		v.Denied = x.troubleOf(err)
	case err != nil:
		return err
	}
	v.Saved, v.Seen = indented(saved), policy.Hash(saved)
	if text == nil {
		text = &v.Saved
	}
	registry := name.Registry{Account: x.account, Region: x.region}
	if v.Denied == nil || v.Editing {
		var problems []problem
		var d *policy.Document
		if *text != "" {
			d, problems = checkPolicy(*text, policy.Repository, registry)
		}
		e := newEditor("Policy text, JSON", *text, problems)
		v.Policy = &e
		if d != nil {
			v.Statements = statementsOf(d, *text)
		}
	}
	v.AccessOf = "PULL"
	if x.r.URL.Query().Get("who") == "push" {
		v.AccessOf = "PUSH"
	}
	v.AccessTag = strings.TrimSpace(x.r.URL.Query().Get("tag"))
	out, err := do[ecrintypes.ListRepositoryAccessResponse](x, "ecrin", "ListRepositoryAccess", &ecrintypes.ListRepositoryAccessRequest{
		RegistryId: x.account.String(), RepositoryName: repository, Permission: ecrintypes.Permission(v.AccessOf), ImageTag: v.AccessTag,
		NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil {
		v.AccessNone = x.troubleOf(err)
	} else {
		for _, a := range out.Access {
			r := accessRow{Principal: accessName(a), Account: a.AccountId, Reason: a.Reason, Action: a.Action, Allowed: a.Allowed,
				Delegated: a.Delegated, Simulate: x.simulateLink(a, repository, v.AccessTag)}
			if a.Kind == ecrintypes.AccessKindCUSTOMER && !a.Allowed && v.AccessTag == "" && v.AccessOf == "PULL" {
				r.ByImage, r.Reason = true, "" // that the repository as a whole is not allowed says nothing of its images
			}
			v.Access = append(v.Access, r)
		}
		if out.NextToken != "" {
			v.AccessMore = x.query("after", out.NextToken)
		}
	}
	return x.showRepository(status, "permissions", "permissions", v)
}

// accessName returns how a principal of the list is called.
func accessName(a ecrintypes.RepositoryAccess) string {
	switch a.Kind {
	case ecrintypes.AccessKindANONYMOUS:
		return "anyone, without credentials"
	case ecrintypes.AccessKindSTRANGER:
		return "every other account"
	}
	return a.Principal
}

// simulateLink leads to the layers of the decision about a principal; "" for one that has no name.
func (x *request) simulateLink(a ecrintypes.RepositoryAccess, repository, tag string) string {
	if !strings.HasPrefix(a.Principal, "arn:") {
		return ""
	}
	action := a.Action
	if action == "" {
		action = "ecr:BatchGetImage"
	}
	return x.iam() + "/simulate?" + values("principal", a.Principal, "action", action, "repository", repository, "region", x.region.String(),
		"tag", tag)
}

// policyText returns the policy of a repository in force.
//
// Errors: fault.RepositoryPolicyNotFound, fault.AccessDenied, fault.RepositoryNotFound.
func (x *request) policyText(repository string) (string, error) {
	out, err := do[ecrtypes.GetRepositoryPolicyResponse](x, "ecr", "GetRepositoryPolicy", &ecrtypes.GetRepositoryPolicyRequest{
		RegistryId: x.account.String(), RepositoryName: repository})
	if err != nil || out.PolicyText == nil {
		return "", err
	}
	return *out.PolicyText, nil
}

// statementsOf returns the statements of a policy in words.
func statementsOf(d *policy.Document, text string) (all []statementRow) {
	for i := range d.Statements {
		s := &d.Statements[i]
		line, _ := placeOf(text, "Statement["+count(int64(i))+"]")
		r := statementRow{Sid: s.Sid, Line: count(int64(line)), Allows: s.Effect == policy.Allow, Who: whoOf(s.Principal), Not: s.Principal.Not,
			What: actionLinks(s), NotWhat: s.Action.Not}
		for _, p := range s.Resource.Of {
			r.On = append(r.On, p.Text)
		}
		r.NotOn = s.Resource.Not
		for _, c := range s.Conditions {
			r.When = append(r.When, whenOf(c))
		}
		all = append(all, r)
	}
	return all
}

// actionLinks returns what a statement is about, with the pages that say what that is.
func actionLinks(s *policy.Statement) (all []link) {
	for _, word := range actionWords(s) {
		l := link{Text: word, To: actionPath(word)}
		switch word {
		case ofPull, ofPush:
			l.To = Path + "/actions?of=" + word
		case everything, everythingOf["ecr"]:
			l.To = Path + "/actions"
		}
		all = append(all, l)
	}
	return all
}

// everything is the word for all actions.
const everything = "everything"

// everythingOf are the words for all actions of a service.
var everythingOf = map[string]string{"ecr": "every action of ECR", "iam": "every action of IAM", "sts": "every action of STS",
	"ecrin": "every action of ecrin"}

// actionWords returns what a statement is about: pull and push as such, other actions by their names.
func actionWords(s *policy.Statement) (all []string) {
	left := map[string]bool{}
	for _, p := range s.Action.Of {
		left[strings.ToLower(p.Text)] = true
	}
	has := func(actions []string) bool {
		for _, a := range actions {
			if !left[strings.ToLower(a)] {
				return false
			}
		}
		return true
	}
	var said []string // both words stand for actions that pull and push share
	for _, known := range []struct {
		word    string
		actions []string
	}{{ofPull, policy.PullActions()}, {ofPush, policy.PushActions()}} {
		if !s.Action.Not && has(known.actions) {
			all, said = append(all, known.word), append(said, known.actions...)
		}
	}
	for _, a := range said {
		delete(left, strings.ToLower(a))
	}
	for _, p := range s.Action.Of {
		if left[strings.ToLower(p.Text)] {
			word := p.Text
			service, rest, _ := strings.Cut(strings.ToLower(word), ":")
			if of := everythingOf[service]; rest == "*" && of != "" {
				word = of
			} else if word == "*" || word == "*:*" {
				word = everything
			}
			all = append(all, word)
		}
	}
	return all
}

// onPermissions checks, previews or saves a policy, or shows and makes a grant.
func (x *request) onPermissions() error {
	text := strings.ReplaceAll(x.form.Get("text"), "\r\n", "\n")
	v := permissionsView{Editing: true, Grant: grantForm{Permission: "PULL"}}
	switch x.form.Get("do") {
	case "check":
		return x.showPermissions(http.StatusOK, v, &text)
	case "preview":
		saved, err := x.policyText(x.at["repo"])
		if err != nil && !errors.Is(err, fault.RepositoryPolicyNotFound) {
			return err
		}
		v.Change, v.Proposed = diff(indented(saved), indented(text)), text
		return x.showPermissions(http.StatusOK, v, &text)
	case "save":
		return x.savePolicy(v, text)
	case "grant", "grant-now":
		return x.grant()
	}
	return errNothing
}

// savePolicy sets the policy, or deletes it if the text is empty. A policy that has changed since the page was sent is not replaced: the
// operation compares it in the transaction that stores the other one.
func (x *request) savePolicy(v permissionsView, text string) error {
	repository := x.at["repo"]
	err := act(x, "ecrin", "ReplaceRepositoryPolicy", &ecrintypes.ReplaceRepositoryPolicyRequest{RegistryId: x.account.String(),
		RepositoryName: repository, PolicyText: strings.TrimSpace(text), ExpectedPolicyHash: x.form.Get("seen")})
	if errors.Is(err, fault.PolicyChanged) {
		saved, err := x.policyText(repository)
		if err != nil && !errors.Is(err, fault.RepositoryPolicyNotFound) {
			return err
		}
		v.Change, v.Proposed = diff(indented(saved), indented(text)), text
		v.Wrong = &trouble{What: "The policy has changed since you opened it", Code: "Conflict", Request: x.ev.RequestID, Nothing: true,
			Text: "another request has set it: look at the change against the policy of now, and save again"}
		return x.showPermissions(http.StatusConflict, v, &text)
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showPermissions(x.status(err), v, &text)
	}
	return x.done(x.repositoryPath(repository, "permissions"), "The policy was saved.")
}

// grant shows what a grant changes, or makes it.
func (x *request) grant() error {
	repository := x.at["repo"]
	now := x.form.Get("do") == "grant-now"
	in := &ecrintypes.GrantRepositoryAccessRequest{RegistryId: x.account.String(), RepositoryName: repository,
		Principal: strings.TrimSpace(x.form.Get("principal")), Permission: ecrintypes.Permission(x.form.Get("permission")), Apply: &now}
	v := permissionsView{Grant: grantForm{Principal: in.Principal, Permission: string(in.Permission)}}
	out, err := do[ecrintypes.GrantRepositoryAccessResponse](x, "ecrin", "GrantRepositoryAccess", in)
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showPermissions(x.status(err), v, nil)
	}
	if now {
		return x.done(x.repositoryPath(repository, "permissions"),
			"Granted "+strings.ToLower(string(in.Permission))+" to "+shown(in.Principal)+".")
	}
	saved, err := x.policyText(repository)
	if err != nil && !errors.Is(err, fault.RepositoryPolicyNotFound) {
		return err
	}
	v.Change, v.Proposed = diff(indented(saved), indented(out.PolicyText)), out.PolicyText
	for _, w := range out.Warnings {
		v.Warnings = append(v.Warnings, w.Text)
	}
	return x.showPermissions(http.StatusOK, v, nil)
}
