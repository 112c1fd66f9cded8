package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The kinds of policies that IAM pages edit.
const (
	documentIdentity = policy.Identity
	documentTrust    = policy.Trust
)

// checkDocument returns what is wrong in a policy of users, groups and roles, or of the trust of a role, and the policy if it is valid.
func checkDocument(text string, kind policy.Kind) (*policy.Document, []problem) {
	return checkPolicy(text, kind, name.Registry{})
}

// jsonText returns a value as JSON in lines.
func jsonText(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // of maps and texts
	}
	return string(b)
}

// trustedBy returns in words whom a trust policy lets assume its role.
func trustedBy(document string) string {
	d, err := policy.ParseStored(plainDocument(document), policy.Trust)
	if err != nil {
		return "–"
	}
	var all []string
	for i := range d.Statements {
		if d.Statements[i].Effect == policy.Allow {
			all = append(all, whoOf(d.Statements[i].Principal)...)
		}
	}
	return strings.Join(slices.Compact(all), ", ")
}

var documentRows = []row{
	{method: "GET", path: "{account}/access/{kind}/{name}/policies/{policy}", serve: ofAccount((*request).inlinePage)},
	{method: "POST", path: "{account}/access/{kind}/{name}/policies/{policy}", serve: ofAccount((*request).onInline)},
	{method: "GET", path: "{account}/access/{kind}/{name}/create-policy", serve: ofAccount((*request).inlinePage)},
	{method: "POST", path: "{account}/access/{kind}/{name}/create-policy", serve: ofAccount((*request).onInline)},
	{method: "GET", path: "{account}/access/roles/{name}/trust", serve: ofAccount((*request).trustPage)},
	{method: "POST", path: "{account}/access/roles/{name}/trust", serve: ofAccount((*request).onTrust)},
	{method: "GET", path: "{account}/access/policy", serve: ofAccount((*request).policyPage)},
	{method: "POST", path: "{account}/access/policy", serve: ofAccount((*request).onPolicy)},
	{method: "GET", path: "{account}/access/provider", serve: ofAccount((*request).providerPage)},
	{method: "POST", path: "{account}/access/provider", serve: ofAccount((*request).onProvider)},
}

// documentView is a policy in an editor.
type documentView struct {
	Title, To  string
	Name       string // of a new policy
	New        bool
	Kind       policy.Kind
	Policy     editor
	Saved      string // the text in force
	Statements []statementRow
	Change     []diffLine
	Wrong      *trouble
	Denied     *trouble
	Save       right
	Delete     *right
	Command    string
	Tabs       []link
	Subtitle   string
}

// showDocument shows a policy; text is that of the editor.
func (x *request) showDocument(status int, section string, crumbs []link, v documentView, text string) error {
	var d *policy.Document
	var problems []problem
	if strings.TrimSpace(text) != "" {
		d, problems = checkDocument(text, v.Kind)
	}
	v.Policy = newEditor("Policy text, JSON", text, problems)
	if d != nil {
		v.Statements = statementsOf(d, text)
	}
	return x.render(status, "iamdocument", &view{Title: v.Title, Section: section, Main: v, Crumbs: crumbs})
}

// changed reports whether a policy is another one than the form was made from, and shows the change against the one in force.
func (x *request) changed(v *documentView, saved, text string) bool {
	v.Saved = saved
	if formText(x.form.Get("seen")) == saved {
		return false
	}
	x.conflict(v, saved, text)
	return true
}

// conflict shows that a policy is another one than the form was made from, and the change against the one in force.
func (x *request) conflict(v *documentView, saved, text string) {
	v.Saved, v.Change = saved, diff(saved, indented(text))
	v.Wrong = &trouble{What: "The policy has changed since you opened it", Code: "Conflict", Request: x.ev.RequestID, Nothing: true,
		Text: "another request has set it: look at the change against the policy of now, and save again"}
}

// inlinePage shows a policy that is part of a user, group or role, or the form for a new one.
func (x *request) inlinePage() error {
	h, err := x.holder()
	if err != nil {
		return err
	}
	v := documentView{New: x.at["policy"] == ""}
	if v.New {
		return x.showInline(http.StatusOK, h, v, firstPolicy)
	}
	text, err := h.get(x, x.at["policy"])
	if v.Denied, err = x.part(err); err != nil {
		return err
	}
	v.Saved = indented(text)
	return x.showInline(http.StatusOK, h, v, v.Saved)
}

func (x *request) showInline(status int, h holder, v documentView, text string) (err error) {
	v.Kind, v.Title, v.Subtitle = documentIdentity, x.at["policy"], "inline policy of "+h.word()+" "+h.name
	v.To = h.path(x) + "/policies/" + pathOf(x.at["policy"])
	v.Command = "aws iam get-" + h.word() + "-policy --" + h.word() + "-name " + quoted(h.name) + " --policy-name " + quoted(x.at["policy"])
	if v.New {
		v.Title, v.To = "Create inline policy", h.path(x)+"/create-policy"
		v.Command = "aws iam put-" + h.word() + "-policy --" + h.word() + "-name " + quoted(h.name) +
			" --policy-name NAME --policy-document file://policy.json"
	}
	rights, err := x.mayARN(h.arn(x), "iam:Put"+h.Word()+"Policy", "iam:Delete"+h.Word()+"Policy")
	if err != nil {
		return err
	}
	v.Save = rights["iam:Put"+h.Word()+"Policy"]
	if !v.New {
		remove := rights["iam:Delete"+h.Word()+"Policy"]
		v.Delete = &remove
	}
	return x.showDocument(status, h.kind, h.crumbs(x), v, text)
}

// onInline checks, previews, saves or deletes an inline policy.
func (x *request) onInline() error {
	h, err := x.holder()
	if err != nil {
		return err
	}
	text, policyName := formText(x.form.Get("text")), x.at["policy"]
	v := documentView{New: policyName == "", Name: strings.TrimSpace(x.form.Get("name"))}
	saved, seen := "", guard.NoneSeen
	if !v.New {
		if saved, seen, err = x.savedInline(h, policyName); err != nil {
			return err
		}
	} else {
		policyName = v.Name
	}
	v.Saved = saved
	switch x.form.Get("do") {
	case "check":
		return x.showInline(http.StatusOK, h, v, text)
	case "preview":
		v.Change = diff(saved, indented(text))
		return x.showInline(http.StatusOK, h, v, text)
	case "delete":
		if err := h.remove(x, policyName); err != nil {
			return err
		}
		return x.done(h.path(x), "The inline policy "+shown(policyName)+" was deleted.")
	case "save":
		if !v.New && x.changed(&v, saved, text) {
			return x.showInline(http.StatusConflict, h, v, text)
		}
		err := h.put(x, seen, policyName, text)
		if errors.Is(err, errChanged) && v.New {
			err = fault.EntityAlreadyExists.New("the %s has an inline policy with this name", h.word())
		}
		if errors.Is(err, errChanged) { // after it was read above
			if saved, _, err = x.savedInline(h, policyName); err != nil {
				return err
			}
			x.conflict(&v, saved, text)
			return x.showInline(http.StatusConflict, h, v, text)
		}
		if err != nil {
			v.Wrong = x.troubleOf(err)
			return x.showInline(x.status(err), h, v, text)
		}
		return x.done(h.path(x), "The inline policy "+shown(policyName)+" was saved.")
	}
	return errNoAction
}

// savedInline returns an inline policy in lines, and its tag: guard.NoneSeen for none, unseen if the person may not see it.
func (x *request) savedInline(h holder, policyName string) (saved, seen string, err error) {
	text, err := h.get(x, policyName)
	switch {
	case err == nil:
		return indented(text), policy.Hash(text), nil
	case errors.Is(err, fault.NoSuchEntity):
		return "", guard.NoneSeen, nil
	}
	_, err = x.part(err)
	return "", unseen, err
}

var errNoAction = fault.InvalidParameter.New("the form does not say what to do")

// trustPage shows the policy that says who may assume a role.
func (x *request) trustPage() error {
	r, err := x.role()
	if err != nil {
		return err
	}
	text := plainDocument(r.AssumeRolePolicyDocument)
	return x.showTrust(http.StatusOK, r, documentView{Saved: text}, text)
}

func (x *request) role() (iamtypes.Role, error) {
	out, err := do[iamtypes.GetRoleResponse](x, "iam", "GetRole", &iamtypes.GetRoleRequest{RoleName: x.at["name"]})
	if err != nil {
		return iamtypes.Role{}, err
	}
	return out.Role, nil
}

func (x *request) showTrust(status int, r iamtypes.Role, v documentView, text string) (err error) {
	h := holder{kind: "roles", name: r.RoleName, known: r.Arn}
	v.Kind, v.Title, v.Subtitle, v.To = documentTrust, r.RoleName, "role", h.path(x)+"/trust"
	v.Command = "aws iam update-assume-role-policy --role-name " + quoted(r.RoleName) + " --policy-document file://trust.json"
	v.Tabs = h.tabs(x, "trust")
	if v.Save, err = x.mayOne("iam:UpdateAssumeRolePolicy", r.Arn); err != nil {
		return err
	}
	return x.showDocument(status, "roles", []link{{Text: "Roles", To: x.iam() + "/roles"}}, v, text)
}

// onTrust checks, previews or saves the trust policy of a role.
func (x *request) onTrust() error {
	r, err := x.role()
	if err != nil {
		return err
	}
	text, saved := formText(x.form.Get("text")), plainDocument(r.AssumeRolePolicyDocument)
	v := documentView{Saved: saved}
	switch x.form.Get("do") {
	case "check":
		return x.showTrust(http.StatusOK, r, v, text)
	case "preview":
		v.Change = diff(saved, indented(text))
		return x.showTrust(http.StatusOK, r, v, text)
	case "save":
		if x.changed(&v, saved, text) {
			return x.showTrust(http.StatusConflict, r, v, text)
		}
		err := replace(x, policy.Hash(decoded(r.AssumeRolePolicyDocument)), "iam", "UpdateAssumeRolePolicy",
			&iamtypes.UpdateAssumeRolePolicyRequest{RoleName: r.RoleName, PolicyDocument: text})
		if errors.Is(err, errChanged) { // after it was read above
			if r, err = x.role(); err != nil {
				return err
			}
			x.conflict(&v, plainDocument(r.AssumeRolePolicyDocument), text)
			return x.showTrust(http.StatusConflict, r, v, text)
		}
		if err != nil {
			v.Wrong = x.troubleOf(err)
			return x.showTrust(x.status(err), r, v, text)
		}
		return x.done(x.iam()+"/roles/"+pathOf(r.RoleName)+"/trust", "The trust policy was saved.")
	}
	return errNoAction
}

// managedView is a managed policy with its versions and who has it.
type managedView struct {
	ARN, Description string
	Version          string // that is shown
	Default          string
	Own              bool // can be changed
	Versions         []iamtypes.PolicyVersion
	Has              []entityRow
	HasMore          string
	HasDenied        *trouble
	VersionsDenied   *trouble
	Editing          bool
	SetDefault       right
	DeleteVersion    right
	Delete           right
	Document         documentView
}

// policyPage shows a managed policy.
func (x *request) policyPage() error {
	return x.showPolicy(http.StatusOK, managedView{Editing: x.r.URL.Query().Has("edit")}, nil)
}

// showPolicy shows the managed policy of the query; text is that of the editor, nil for the version that is shown.
func (x *request) showPolicy(status int, v managedView, text *string) error {
	q := x.r.URL.Query()
	out, err := do[iamtypes.GetPolicyResponse](x, "iam", "GetPolicy", &iamtypes.GetPolicyRequest{PolicyArn: q.Get("arn")})
	if err != nil {
		return err
	}
	p := out.Policy
	v.ARN, v.Description, v.Default, v.Own = p.Arn, p.Description, p.DefaultVersionId, policyType(p.Arn) != "AWS managed"
	if v.Version = q.Get("version"); v.Version == "" || v.Editing {
		v.Version = v.Default
	}
	saved := ""
	version, err := do[iamtypes.GetPolicyVersionResponse](x, "iam", "GetPolicyVersion", &iamtypes.GetPolicyVersionRequest{PolicyArn: p.Arn,
		VersionId: v.Version})
	if err == nil {
		saved = plainDocument(version.PolicyVersion.Document)
	}
	if v.Document.Denied, err = x.part(err); err != nil {
		return err
	}
	v.Document.Saved = saved
	if text == nil {
		text = &saved
	}
	versions, err := do[iamtypes.ListPolicyVersionsResponse](x, "iam", "ListPolicyVersions",
		&iamtypes.ListPolicyVersionsRequest{PolicyArn: p.Arn})
	if err == nil {
		v.Versions = versions.Versions
	}
	if v.VersionsDenied, err = x.part(err); err != nil {
		return err
	}
	has, err := do[iamtypes.ListEntitiesForPolicyResponse](x, "iam", "ListEntitiesForPolicy", &iamtypes.ListEntitiesForPolicyRequest{
		PolicyArn: p.Arn, Marker: q.Get("after"), MaxItems: some[int32](pageSize)})
	if v.HasDenied, err = x.part(err); err != nil {
		return err
	}
	if has != nil {
		for _, u := range has.PolicyUsers {
			v.Has = append(v.Has, entityRow{Name: u.UserName, Sub: "user", To: x.iam() + "/users/" + pathOf(u.UserName)})
		}
		for _, g := range has.PolicyGroups {
			v.Has = append(v.Has, entityRow{Name: g.GroupName, Sub: "group", To: x.iam() + "/groups/" + pathOf(g.GroupName)})
		}
		for _, r := range has.PolicyRoles {
			v.Has = append(v.Has, entityRow{Name: r.RoleName, Sub: "role", To: x.iam() + "/roles/" + pathOf(r.RoleName)})
		}
		if has.Marker != "" {
			v.HasMore = x.query("after", has.Marker)
		}
	}
	rights, err := x.mayARN(p.Arn, "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicyVersion", "iam:DeletePolicy")
	if err != nil {
		return err
	}
	d := &v.Document
	d.Save, v.SetDefault = rights["iam:CreatePolicyVersion"], rights["iam:SetDefaultPolicyVersion"]
	v.DeleteVersion, v.Delete = rights["iam:DeletePolicyVersion"], rights["iam:DeletePolicy"]
	d.To, d.Kind = x.policyPath(p.Arn), documentIdentity
	document, problems := checkDocument(*text, documentIdentity)
	if !v.Own { // nobody here can mend those of AWS
		problems = nil
	}
	d.Policy = newEditor("Policy text, JSON", *text, problems)
	if document != nil {
		d.Statements = statementsOf(document, *text)
	}
	d.Command = "aws iam create-policy-version --policy-arn " + quoted(p.Arn) + " --policy-document file://policy.json --set-as-default"
	if !v.Own {
		d.Command = "aws iam get-policy-version --policy-arn " + quoted(p.Arn) + " --version-id " + quoted(v.Version)
	}
	return x.render(status, "iampolicy", &view{Title: p.PolicyName, Section: "policies", Main: v,
		Crumbs: []link{{Text: "Policies", To: x.iam() + "/policies"}}})
}

// onPolicy checks, previews or saves a managed policy as a new version, or changes its versions.
func (x *request) onPolicy() (err error) {
	arn, text, version := x.r.URL.Query().Get("arn"), formText(x.form.Get("text")), x.form.Get("version")
	v := managedView{Editing: true}
	said := ""
	switch x.form.Get("do") {
	case "check":
		return x.showPolicy(http.StatusOK, v, &text)
	case "preview":
		v.Document.Change = diff(formText(x.form.Get("seen")), indented(text))
		return x.showPolicy(http.StatusOK, v, &text)
	case "save":
		yes := true
		err = act(x, "iam", "CreatePolicyVersion", &iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: text, SetAsDefault: &yes})
		said = "The policy was saved as a new version, which is in force."
	case "default":
		v.Editing = false
		err = act(x, "iam", "SetDefaultPolicyVersion", &iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: version})
		said = "Version " + shown(version) + " is in force."
	case "delete-version":
		v.Editing = false
		err = act(x, "iam", "DeletePolicyVersion", &iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: version})
		said = "Version " + shown(version) + " was deleted."
	case "delete":
		if err = act(x, "iam", "DeletePolicy", &iamtypes.DeletePolicyRequest{PolicyArn: arn}); err == nil {
			return x.done(x.iam()+"/policies", "The policy was deleted.")
		}
		v.Editing = false
	default:
		return errNoAction
	}
	if err == nil {
		return x.done(x.policyPath(arn), said)
	}
	v.Document.Wrong = x.troubleOf(err)
	if !v.Editing {
		return x.showPolicy(x.status(err), v, nil)
	}
	return x.showPolicy(x.status(err), v, &text)
}

// providerView is an identity provider.
type providerView struct {
	ARN, URL    string
	Audiences   []string
	Thumbprints []string
	Created     string
	To          string
	Command     string
	Wrong       *trouble
	Add, Remove right
	Delete      right
}

func (x *request) providerPage() error { return x.showProvider(http.StatusOK, nil) }

func (x *request) showProvider(status int, wrong *trouble) error {
	arn := x.r.URL.Query().Get("arn")
	out, err := do[iamtypes.GetOpenIDConnectProviderResponse](x, "iam", "GetOpenIDConnectProvider",
		&iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn})
	if err != nil {
		return err
	}
	v := providerView{ARN: arn, URL: out.Url, Audiences: out.ClientIDList, Thumbprints: out.ThumbprintList, Wrong: wrong,
		To:      x.iam() + "/provider?" + values("arn", arn),
		Command: "aws iam get-open-id-connect-provider --open-id-connect-provider-arn " + quoted(arn)}
	rights, err := x.mayARN(arn, "iam:AddClientIDToOpenIDConnectProvider", "iam:RemoveClientIDFromOpenIDConnectProvider",
		"iam:DeleteOpenIDConnectProvider")
	if err != nil {
		return err
	}
	v.Add, v.Remove = rights["iam:AddClientIDToOpenIDConnectProvider"], rights["iam:RemoveClientIDFromOpenIDConnectProvider"]
	v.Delete = rights["iam:DeleteOpenIDConnectProvider"]
	return x.render(status, "iamprovider", &view{Title: out.Url, Section: "providers", Main: v,
		Crumbs: []link{{Text: "Identity providers", To: x.iam() + "/providers"}}})
}

// onProvider adds or removes an audience of a provider, or deletes the provider.
func (x *request) onProvider() (err error) {
	arn, audience := x.r.URL.Query().Get("arn"), strings.TrimSpace(x.form.Get("audience"))
	said := "The audience was added."
	switch x.form.Get("do") {
	case "add":
		err = act(x, "iam", "AddClientIDToOpenIDConnectProvider", &iamtypes.AddClientIDToOpenIDConnectProviderRequest{
			OpenIDConnectProviderArn: arn, ClientID: audience})
	case "remove":
		said = "The audience was removed."
		err = act(x, "iam", "RemoveClientIDFromOpenIDConnectProvider", &iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest{
			OpenIDConnectProviderArn: arn, ClientID: audience})
	case "delete":
		err = act(x, "iam", "DeleteOpenIDConnectProvider", &iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn})
		if err == nil {
			return x.done(x.iam()+"/providers", "The provider was deleted.")
		}
	default:
		return errNoAction
	}
	if err != nil {
		return x.showProvider(x.status(err), x.troubleOf(err))
	}
	return x.done(x.iam()+"/provider?"+values("arn", arn), said)
}
