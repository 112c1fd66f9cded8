package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// holder is a user, a group or a role: what policies belong to.
type holder struct {
	kind, name string // kind is the folder of its pages: users, groups or roles
	known      string // its ARN, if a page has read it
}

// holder returns the holder of the address. Errors: errNoPage.
func (x *request) holder() (holder, error) {
	h := holder{kind: x.at["kind"], name: x.at["name"]}
	if h.Word() == "" {
		return h, errNoPage
	}
	return h, nil
}

// Word returns what the names of operations call the holder; "" for a kind that is none.
func (h holder) Word() string {
	return map[string]string{"users": "User", "groups": "Group", "roles": "Role"}[h.kind]
}
func (h holder) word() string { return strings.ToLower(h.Word()) }

func (h holder) path(x *request) string { return x.iam() + "/" + h.kind + "/" + pathOf(h.name) }

func (h holder) arn(x *request) string {
	if h.known != "" {
		return h.known
	}
	return x.arnOf(h.kind, h.name)
}

func (h holder) crumbs(x *request) []link {
	return []link{{Text: entityKinds[h.kind].Title, To: x.iam() + "/" + h.kind}, {Text: h.name, To: h.path(x)}}
}

// tabs are the parts of the pages of a holder.
func (h holder) tabs(x *request, here string) []link {
	all := map[string][][2]string{
		"users":  {{"", "Permissions"}, {"groups", "Groups"}, {"security-credentials", "Security credentials"}},
		"groups": {{"", "Permissions"}, {"users", "Users"}},
		"roles":  {{"", "Permissions"}, {"trust", "Trust relationships"}, {"sessions", "Sessions"}},
	}[h.kind]
	var tabs []link
	for _, t := range all {
		to := h.path(x)
		if t[0] != "" {
			to += "/" + t[0]
		}
		tabs = append(tabs, link{Text: t[1], To: to, Count: -1, Here: t[0] == here})
	}
	return tabs
}

func (h holder) attached(x *request) (all []iamtypes.AttachedPolicy, more bool, err error) {
	var marker string
	switch h.kind {
	case "users":
		out, wrong := do[iamtypes.ListAttachedUserPoliciesResponse](x, "iam", "ListAttachedUserPolicies",
			&iamtypes.ListAttachedUserPoliciesRequest{UserName: h.name})
		if err = wrong; err == nil {
			all, marker = out.AttachedPolicies, out.Marker
		}
	case "groups":
		out, wrong := do[iamtypes.ListAttachedGroupPoliciesResponse](x, "iam", "ListAttachedGroupPolicies",
			&iamtypes.ListAttachedGroupPoliciesRequest{GroupName: h.name})
		if err = wrong; err == nil {
			all, marker = out.AttachedPolicies, out.Marker
		}
	default:
		out, wrong := do[iamtypes.ListAttachedRolePoliciesResponse](x, "iam", "ListAttachedRolePolicies",
			&iamtypes.ListAttachedRolePoliciesRequest{RoleName: h.name})
		if err = wrong; err == nil {
			all, marker = out.AttachedPolicies, out.Marker
		}
	}
	return all, marker != "", err
}

func (h holder) inline(x *request) (all []string, more bool, err error) {
	var marker string
	switch h.kind {
	case "users":
		out, wrong := do[iamtypes.ListUserPoliciesResponse](x, "iam", "ListUserPolicies", &iamtypes.ListUserPoliciesRequest{UserName: h.name})
		if err = wrong; err == nil {
			all, marker = out.PolicyNames, out.Marker
		}
	case "groups":
		out, wrong := do[iamtypes.ListGroupPoliciesResponse](x, "iam", "ListGroupPolicies",
			&iamtypes.ListGroupPoliciesRequest{GroupName: h.name})
		if err = wrong; err == nil {
			all, marker = out.PolicyNames, out.Marker
		}
	default:
		out, wrong := do[iamtypes.ListRolePoliciesResponse](x, "iam", "ListRolePolicies", &iamtypes.ListRolePoliciesRequest{RoleName: h.name})
		if err = wrong; err == nil {
			all, marker = out.PolicyNames, out.Marker
		}
	}
	return all, marker != "", err
}

// get returns an inline policy as it is stored.
func (h holder) get(x *request, policyName string) (string, error) {
	switch h.kind {
	case "users":
		out, err := do[iamtypes.GetUserPolicyResponse](x, "iam", "GetUserPolicy", &iamtypes.GetUserPolicyRequest{UserName: h.name,
			PolicyName: policyName})
		if err != nil {
			return "", err
		}
		return decoded(out.PolicyDocument), nil
	case "groups":
		out, err := do[iamtypes.GetGroupPolicyResponse](x, "iam", "GetGroupPolicy", &iamtypes.GetGroupPolicyRequest{GroupName: h.name,
			PolicyName: policyName})
		if err != nil {
			return "", err
		}
		return decoded(out.PolicyDocument), nil
	}
	out, err := do[iamtypes.GetRolePolicyResponse](x, "iam", "GetRolePolicy", &iamtypes.GetRolePolicyRequest{RoleName: h.name,
		PolicyName: policyName})
	if err != nil {
		return "", err
	}
	return decoded(out.PolicyDocument), nil
}

// put sets an inline policy, if it still has the tag that was seen.
func (h holder) put(x *request, seen, policyName, text string) error {
	switch h.kind {
	case "users":
		return replace(x, seen, "iam", "PutUserPolicy", &iamtypes.PutUserPolicyRequest{UserName: h.name, PolicyName: policyName,
			PolicyDocument: text})
	case "groups":
		return replace(x, seen, "iam", "PutGroupPolicy", &iamtypes.PutGroupPolicyRequest{GroupName: h.name, PolicyName: policyName,
			PolicyDocument: text})
	}
	return replace(x, seen, "iam", "PutRolePolicy", &iamtypes.PutRolePolicyRequest{RoleName: h.name, PolicyName: policyName,
		PolicyDocument: text})
}

func (h holder) remove(x *request, policyName string) error {
	switch h.kind {
	case "users":
		return act(x, "iam", "DeleteUserPolicy", &iamtypes.DeleteUserPolicyRequest{UserName: h.name, PolicyName: policyName})
	case "groups":
		return act(x, "iam", "DeleteGroupPolicy", &iamtypes.DeleteGroupPolicyRequest{GroupName: h.name, PolicyName: policyName})
	}
	return act(x, "iam", "DeleteRolePolicy", &iamtypes.DeleteRolePolicyRequest{RoleName: h.name, PolicyName: policyName})
}

func (h holder) attach(x *request, arn string) error {
	switch h.kind {
	case "users":
		return act(x, "iam", "AttachUserPolicy", &iamtypes.AttachUserPolicyRequest{UserName: h.name, PolicyArn: arn})
	case "groups":
		return act(x, "iam", "AttachGroupPolicy", &iamtypes.AttachGroupPolicyRequest{GroupName: h.name, PolicyArn: arn})
	}
	return act(x, "iam", "AttachRolePolicy", &iamtypes.AttachRolePolicyRequest{RoleName: h.name, PolicyArn: arn})
}

func (h holder) detach(x *request, arn string) error {
	switch h.kind {
	case "users":
		return act(x, "iam", "DetachUserPolicy", &iamtypes.DetachUserPolicyRequest{UserName: h.name, PolicyArn: arn})
	case "groups":
		return act(x, "iam", "DetachGroupPolicy", &iamtypes.DetachGroupPolicyRequest{GroupName: h.name, PolicyArn: arn})
	}
	return act(x, "iam", "DetachRolePolicy", &iamtypes.DetachRolePolicyRequest{RoleName: h.name, PolicyArn: arn})
}

func (h holder) delete(x *request) error {
	switch h.kind {
	case "users":
		return act(x, "iam", "DeleteUser", &iamtypes.DeleteUserRequest{UserName: h.name})
	case "groups":
		return act(x, "iam", "DeleteGroup", &iamtypes.DeleteGroupRequest{GroupName: h.name})
	}
	return act(x, "iam", "DeleteRole", &iamtypes.DeleteRoleRequest{RoleName: h.name})
}

// describe returns ARN and facts of a holder.
func (h holder) describe(x *request) (arn string, facts []fact, boundary string, err error) {
	switch h.kind {
	case "users":
		out, err := do[iamtypes.GetUserResponse](x, "iam", "GetUser", &iamtypes.GetUserRequest{UserName: h.name})
		if err != nil {
			return "", nil, "", err
		}
		u := out.User
		if u.PermissionsBoundary != nil {
			boundary = u.PermissionsBoundary.PermissionsBoundaryArn
		}
		return u.Arn, []fact{{"created", u.CreateDate.Time, ""}, {"password last used", timeOf(u.PasswordLastUsed), ""}}, boundary, nil
	case "groups":
		out, err := do[iamtypes.GetGroupResponse](x, "iam", "GetGroup", &iamtypes.GetGroupRequest{GroupName: h.name, MaxItems: some[int32](1)})
		if err != nil {
			return "", nil, "", err
		}
		return out.Group.Arn, []fact{{"created", out.Group.CreateDate.Time, ""}}, "", nil
	}
	r, err := x.role()
	if err != nil {
		return "", nil, "", err
	}
	if r.PermissionsBoundary != nil {
		boundary = r.PermissionsBoundary.PermissionsBoundaryArn
	}
	used := time.Time{}
	if r.RoleLastUsed != nil {
		used = timeOf(r.RoleLastUsed.LastUsedDate)
	}
	facts = []fact{{"created", r.CreateDate.Time, ""}, {"last used", used, ""}}
	if n := int32Of(r.MaxSessionDuration); n > 0 {
		facts = append(facts, fact{"sessions of at most", time.Time{}, span(time.Duration(n) * time.Second)})
	}
	return r.Arn, facts, boundary, nil
}

// fact is a moment or a text in the head of a page.
type fact struct {
	What string
	At   time.Time
	Text string
}

// holderView is a user, a group or a role, with a part of it.
type holderView struct {
	Kind, Word, Name string
	To               string
	ARN              string
	Facts            []fact
	Boundary         string
	BoundaryTo       string
	Tabs             []link
	HeadDenied       *trouble
	Wrong            *trouble
	Part             string
	Rights           map[string]right
	Command          string

	Policies       []policyRow
	PoliciesMore   bool
	PoliciesDenied *trouble
	InlineDenied   *trouble
	Groups         []string // of a user, whose policies count too
	Offered        []iamtypes.Policy
	Attach         string
	Simulate       string
	Deleting       bool

	Members       []entityRow
	MembersDenied *trouble
	MembersMore   string
	Assumed       []assumption
	AssumedDenied *trouble
	AssumedMore   string

	Credentials *credentialsView

	Browsers       []ecrintypes.ConsoleSession
	BrowsersDenied *trouble
	Revoke         right
}

// policyRow is a policy of a holder.
type policyRow struct{ Name, Type, To, ARN string }

// assumption is a line of the trail about a role that was assumed.
type assumption struct {
	Who, Operation, Session, To string
	At                          time.Time
	Denied                      bool
}

var holderRows = []row{
	{method: "GET", path: "{account}/access/users/{name}/groups", serve: ofAccount((*request).userGroupsPage)},
	{method: "POST", path: "{account}/access/users/{name}/groups", serve: ofAccount((*request).onMembership)},
	{method: "GET", path: "{account}/access/groups/{name}/users", serve: ofAccount((*request).groupUsersPage)},
	{method: "POST", path: "{account}/access/groups/{name}/users", serve: ofAccount((*request).onMembership)},
	{method: "GET", path: "{account}/access/roles/{name}/sessions", serve: ofAccount((*request).roleSessionsPage)},
	{method: "POST", path: "{account}/access/roles/{name}/sessions", serve: ofAccount((*request).onRoleSessions)},
	{method: "GET", path: "{account}/access/{kind}/{name}", serve: ofAccount((*request).holderPage)},
	{method: "POST", path: "{account}/access/{kind}/{name}", serve: ofAccount((*request).onHolder)},
}

// newHolder begins the view of a holder with its head.
func (x *request) newHolder(h holder, here string) (v holderView, err error) {
	v = holderView{Kind: h.kind, Word: h.word(), Name: h.name, To: h.path(x), Tabs: h.tabs(x, here), Part: here}
	v.ARN, v.Facts, v.Boundary, err = h.describe(x)
	if v.HeadDenied, err = x.part(err); err != nil {
		return v, err
	}
	if v.ARN == "" {
		v.ARN = h.arn(x)
	}
	if v.Boundary != "" {
		v.BoundaryTo = x.policyPath(v.Boundary)
	}
	W := h.Word()
	v.Rights, err = x.mayARN(v.ARN, "iam:Attach"+W+"Policy", "iam:Detach"+W+"Policy", "iam:Put"+W+"Policy", "iam:Delete"+W)
	return v, err
}

func (x *request) showHolder(status int, h holder, v holderView) error {
	return x.render(status, "iamholder", &view{Title: h.name, Section: h.kind, Main: v,
		Crumbs: []link{{Text: entityKinds[h.kind].Title, To: x.iam() + "/" + h.kind}}})
}

// holderPage shows what policies a user, a group or a role has.
func (x *request) holderPage() error {
	h, err := x.holder()
	if err != nil {
		return err
	}
	return x.showPoliciesOf(http.StatusOK, h, nil)
}

func (x *request) showPoliciesOf(status int, h holder, wrong *trouble) error {
	v, err := x.newHolder(h, "")
	if err != nil {
		return err
	}
	v.Wrong, v.Deleting = wrong, x.r.URL.Query().Has("delete")
	v.Attach = x.form.Get("arn")
	v.Command = "aws iam list-attached-" + h.word() + "-policies --" + h.word() + "-name " + quoted(h.name)
	attached, more, err := h.attached(x)
	if v.PoliciesDenied, err = x.part(err); err != nil {
		return err
	}
	for _, p := range attached {
		v.Policies = append(v.Policies, policyRow{p.PolicyName, policyType(p.PolicyArn), x.policyPath(p.PolicyArn), p.PolicyArn})
	}
	inline, moreInline, err := h.inline(x)
	if v.InlineDenied, err = x.part(err); err != nil {
		return err
	}
	for _, name := range inline {
		v.Policies = append(v.Policies, policyRow{name, "Inline", h.path(x) + "/policies/" + pathOf(name), ""})
	}
	v.PoliciesMore = more || moreInline
	if h.kind == "users" {
		groups, err := do[iamtypes.ListGroupsForUserResponse](x, "iam", "ListGroupsForUser", &iamtypes.ListGroupsForUserRequest{UserName: h.name})
		if _, err = x.part(err); err != nil {
			return err
		}
		if groups != nil {
			for _, g := range groups.Groups {
				v.Groups = append(v.Groups, g.GroupName)
			}
		}
	}
	if h.kind != "groups" {
		v.Simulate = x.iam() + "/simulate?" + values("principal", v.ARN)
	}
	offered, err := do[iamtypes.ListPoliciesResponse](x, "iam", "ListPolicies", &iamtypes.ListPoliciesRequest{MaxItems: some[int32](200)})
	if _, err = x.part(err); err != nil {
		return err
	}
	if offered != nil {
		v.Offered = offered.Policies
	}
	return x.showHolder(status, h, v)
}

// onHolder attaches or detaches a policy, or deletes the holder.
func (x *request) onHolder() error {
	h, err := x.holder()
	if err != nil {
		return err
	}
	arn := strings.TrimSpace(x.form.Get("arn"))
	said := "The policy " + shown(nameOf(arn))
	switch x.form.Get("do") {
	case "attach":
		err, said = h.attach(x, arn), said+" was attached."
	case "detach":
		err, said = h.detach(x, arn), said+" was detached. Attach it again to undo this."
	case "delete":
		if err = x.deleteHolder(h); err == nil {
			return x.done(x.iam()+"/"+h.kind, "The "+h.word()+" "+shown(h.name)+" was deleted.")
		}
	default:
		return errNoAction
	}
	if err != nil {
		t := x.troubleOf(err)
		t.Nothing = x.form.Get("do") != "delete"
		return x.showPoliciesOf(x.status(err), h, t)
	}
	return x.done(h.path(x), said)
}

// deleteHolder deletes a user, a group or a role with its policies, and a user with its keys, its password and its memberships: IAM
// refuses to delete one that has any. Each is an operation of its own, so that an error leaves what was not deleted yet.
func (x *request) deleteHolder(h holder) error {
	if strings.TrimSpace(x.form.Get("name")) != h.name {
		return fault.InvalidParameter.New("type the name of the %s to delete it", h.word())
	}
	if h.kind == "users" {
		if err := x.dropCredentials(h.name); err != nil {
			return err
		}
	}
	for {
		attached, more, err := h.attached(x)
		if err != nil {
			return err
		}
		for _, p := range attached {
			if err := h.detach(x, p.PolicyArn); err != nil {
				return err
			}
		}
		if !more {
			break
		}
	}
	for {
		inline, more, err := h.inline(x)
		if err != nil {
			return err
		}
		for _, name := range inline {
			if err := h.remove(x, name); err != nil {
				return err
			}
		}
		if !more {
			break
		}
	}
	return h.delete(x)
}

// dropCredentials deletes the keys and the password of a user and takes it out of its groups.
func (x *request) dropCredentials(user string) error {
	keys, err := do[iamtypes.ListAccessKeysResponse](x, "iam", "ListAccessKeys", &iamtypes.ListAccessKeysRequest{UserName: user})
	if err != nil {
		return err
	}
	for _, k := range keys.AccessKeyMetadata {
		err := act(x, "iam", "DeleteAccessKey", &iamtypes.DeleteAccessKeyRequest{UserName: user, AccessKeyId: k.AccessKeyId})
		if err != nil {
			return err
		}
	}
	err = act(x, "iam", "DeleteLoginProfile", &iamtypes.DeleteLoginProfileRequest{UserName: user})
	if err != nil && !errors.Is(err, fault.NoSuchEntity) {
		return err
	}
	groups, err := do[iamtypes.ListGroupsForUserResponse](x, "iam", "ListGroupsForUser", &iamtypes.ListGroupsForUserRequest{UserName: user})
	if err != nil {
		return err
	}
	for _, g := range groups.Groups {
		err := act(x, "iam", "RemoveUserFromGroup", &iamtypes.RemoveUserFromGroupRequest{GroupName: g.GroupName, UserName: user})
		if err != nil {
			return err
		}
	}
	return nil
}
