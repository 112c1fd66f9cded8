package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// identityRows are the rows about users, groups, roles, policies and identity providers.
var identityRows = slices.Concat(requestRows, listRows, holderRows, documentRows, credentialRows)

func identityLinks(at linker, iam string) []link {
	return []link{at("users", "Users", iam+"users"), at("groups", "User groups", iam+"groups"), at("roles", "Roles", iam+"roles"),
		at("policies", "Policies", iam+"policies"), at("providers", "Identity providers", iam+"providers")}
}

// ofAccount serves pages of users, roles and policies, which only principals of the account see: IAM has no operations on other accounts.
func ofAccount(serve func(*request) error) func(*request) error {
	return func(x *request) error {
		if x.account == x.session.Caller.Account {
			return serve(x)
		}
		return x.render(http.StatusForbidden, "error", &view{Title: "Another account", Main: trouble{
			What: "Users, roles and policies are shown to principals of their account", Code: fault.AccessDenied.String(), Denied: true,
			Request: x.ev.RequestID, Text: "you belong to account " + x.session.Caller.Account.String() +
				": switch to a role of account " + x.account.String() + " first"}})
	}
}

// decoded returns a policy of an answer of IAM, which is percent-encoded, as it is stored.
func decoded(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// plainDocument returns a policy of an answer of IAM in lines.
func plainDocument(text string) string { return indented(decoded(text)) }

// nameOf returns the name at the end of an ARN, after its path.
func nameOf(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

var listRows = []row{
	{method: "GET", path: "{account}/access/users", serve: ofAccount((*request).usersPage)},
	{method: "GET", path: "{account}/access/groups", serve: ofAccount((*request).groupsPage)},
	{method: "GET", path: "{account}/access/roles", serve: ofAccount((*request).rolesPage)},
	{method: "GET", path: "{account}/access/policies", serve: ofAccount((*request).policiesPage)},
	{method: "GET", path: "{account}/access/providers", serve: ofAccount((*request).providersPage)},
	{method: "GET", path: "{account}/access/create-user", serve: ofAccount((*request).newEntityPage)},
	{method: "GET", path: "{account}/access/create-group", serve: ofAccount((*request).newEntityPage)},
	{method: "GET", path: "{account}/access/create-role", serve: ofAccount((*request).newEntityPage)},
	{method: "GET", path: "{account}/access/create-policy", serve: ofAccount((*request).newEntityPage)},
	{method: "GET", path: "{account}/access/create-provider", serve: ofAccount((*request).newEntityPage)},
	{method: "POST", path: "{account}/access/users", serve: ofAccount((*request).createEntity)},
	{method: "POST", path: "{account}/access/groups", serve: ofAccount((*request).createEntity)},
	{method: "POST", path: "{account}/access/roles", serve: ofAccount((*request).createEntity)},
	{method: "POST", path: "{account}/access/policies", serve: ofAccount((*request).createEntity)},
	{method: "POST", path: "{account}/access/providers", serve: ofAccount((*request).createEntity)},
}

// entityKind is what the pages of a kind of entity are called.
type entityKind struct {
	One, Many string // "user", "users"
	Title     string
	Empty     string // what would be in the list
	Create    string // action
	Button    string
	Command   string // of the aws CLI, that lists them
	Heads     []column
	Find      string // the label of the filter by name; "" for none
}

// column is the head of a column, with its class.
type column struct{ Text, Class string }

var entityKinds = map[string]entityKind{
	"users": {One: "user", Many: "users", Title: "Users", Create: "iam:CreateUser", Button: "Create user", Find: "User name",
		Command: "aws iam list-users", Empty: "A user is a person or a program with credentials of its own: access keys, or a password.",
		Heads: []column{{"Path", "p3"}, {"Created", "p2"}, {"Password last used", ""}}},
	"groups": {One: "group", Many: "groups", Title: "User groups", Create: "iam:CreateGroup", Button: "Create group",
		Command: "aws iam list-groups", Empty: "The policies of a group apply to all users in it.",
		Heads: []column{{"Path", "p3"}, {"Created", ""}}},
	"roles": {One: "role", Many: "roles", Title: "Roles", Create: "iam:CreateRole", Button: "Create role", Find: "Role name",
		Command: "aws iam list-roles",
		Empty:   "A role is assumed for a while, by users, other accounts, clusters and CI, without a stored secret.",
		Heads:   []column{{"Path", "p3"}, {"Trusted", "p2"}, {"Last used", ""}}},
	"policies": {One: "policy", Many: "policies", Title: "Policies", Create: "iam:CreatePolicy", Button: "Create policy",
		Command: "aws iam list-policies --scope Local",
		Empty:   "A managed policy is attached to many users, groups and roles, and keeps its versions.",
		Heads:   []column{{"Type", ""}, {"Attached to", "n"}, {"Changed", "p2"}}},
	"providers": {One: "provider", Many: "providers", Title: "Identity providers", Create: "iam:CreateOpenIDConnectProvider",
		Button: "Add provider", Command: "aws iam list-open-id-connect-providers",
		Empty: "Roles can trust the tokens of an OpenID Connect provider, such as that of a cluster, of CI, or of a single sign-on.",
		Heads: []column{{"Type", ""}}},
}

// entityRow is a row of a list: its name, and a cell for each further column.
type entityRow struct {
	Name, Sub, To string
	Cells         []entityCell
}

// entityCell is a text, or a moment.
type entityCell struct {
	Text  string
	At    *awswire.Time
	Class string
}

// entitiesView is a list of entities of a kind.
type entitiesView struct {
	entityKind
	Kind       string
	Rows       []entityRow
	Pager      pager
	Query      string
	Scope      string // of policies
	CreateMay  right
	Trouble    *trouble
	First      bool
	NotMatched bool
}

// showEntities shows a list, of which err is the error if it could not be made.
func (x *request) showEntities(kind string, list []entityRow, marker string, err error) error {
	k := entityKinds[kind]
	v := entitiesView{entityKind: k, Kind: kind, Query: x.r.URL.Query().Get("q"), Scope: x.r.URL.Query().Get("scope"), Rows: list}
	v.First = v.Query == "" && x.r.URL.Query().Get("after") == ""
	status := http.StatusOK
	if err != nil {
		v.Trouble, status = x.troubleOf(err), x.status(err)
	}
	for i := range list {
		for j := range list[i].Cells {
			list[i].Cells[j].Class = k.Heads[j].Class
		}
	}
	one := k.One
	if kind == "policies" {
		one = "policy"
	}
	v.Pager = x.pagerOf(many(int64(len(list)), one, k.Many)+", by name", marker)
	if v.CreateMay, err = x.mayOne(k.Create, x.arnOf(kind, "*")); err != nil {
		return err
	}
	return x.render(status, "iamlist", &view{Title: k.Title, Section: kind, Main: v})
}

// arnOf returns the ARN of an entity without a path.
func (x *request) arnOf(kind, entityName string) string {
	word := map[string]string{"users": "user/", "groups": "group/", "roles": "role/", "policies": "policy/",
		"providers": "oidc-provider/"}[kind]
	return "arn:aws:iam::" + x.account.String() + ":" + word + entityName
}

func (x *request) usersPage() error {
	q := x.r.URL.Query()
	var users []iamtypes.User
	marker := ""
	var err error
	if name := strings.TrimSpace(q.Get("q")); name != "" {
		var out *iamtypes.GetUserResponse
		if out, err = do[iamtypes.GetUserResponse](x, "iam", "GetUser", &iamtypes.GetUserRequest{UserName: name}); err == nil {
			users = []iamtypes.User{out.User}
		}
	} else {
		var out *iamtypes.ListUsersResponse
		if out, err = do[iamtypes.ListUsersResponse](x, "iam", "ListUsers", &iamtypes.ListUsersRequest{Marker: q.Get("after"),
			MaxItems: some[int32](pageSize)}); err == nil {
			users, marker = out.Users, out.Marker
		}
	}
	list := make([]entityRow, 0, len(users))
	for _, u := range users {
		list = append(list, entityRow{Name: u.UserName, To: x.iam() + "/users/" + pathOf(u.UserName),
			Cells: []entityCell{{Text: u.Path}, {At: &u.CreateDate}, {At: u.PasswordLastUsed, Text: "never"}}})
	}
	return x.showEntities("users", list, marker, unlessMissing(err))
}

// unlessMissing returns nil for the error that an entity does not exist: a list that is filtered by its name is empty.
func unlessMissing(err error) error {
	if errors.Is(err, fault.NoSuchEntity) {
		return nil
	}
	return err
}

func (x *request) groupsPage() error {
	out, err := do[iamtypes.ListGroupsResponse](x, "iam", "ListGroups", &iamtypes.ListGroupsRequest{Marker: x.r.URL.Query().Get("after"),
		MaxItems: some[int32](pageSize)})
	if err != nil {
		return x.showEntities("groups", nil, "", err)
	}
	var list []entityRow
	for _, g := range out.Groups {
		list = append(list, entityRow{Name: g.GroupName, To: x.iam() + "/groups/" + pathOf(g.GroupName),
			Cells: []entityCell{{Text: g.Path}, {At: &g.CreateDate}}})
	}
	return x.showEntities("groups", list, out.Marker, nil)
}

func (x *request) rolesPage() error {
	q := x.r.URL.Query()
	var roles []iamtypes.Role
	marker := ""
	var err error
	if name := strings.TrimSpace(q.Get("q")); name != "" {
		var out *iamtypes.GetRoleResponse
		if out, err = do[iamtypes.GetRoleResponse](x, "iam", "GetRole", &iamtypes.GetRoleRequest{RoleName: name}); err == nil {
			roles = []iamtypes.Role{out.Role}
		}
	} else {
		var out *iamtypes.ListRolesResponse
		if out, err = do[iamtypes.ListRolesResponse](x, "iam", "ListRoles", &iamtypes.ListRolesRequest{Marker: q.Get("after"),
			MaxItems: some[int32](pageSize)}); err == nil {
			roles, marker = out.Roles, out.Marker
		}
	}
	list := make([]entityRow, 0, len(roles))
	for _, r := range roles {
		used := entityCell{Text: "–"} // lists do not have it. Source: IAM API reference, ListRoles
		if r.RoleLastUsed != nil {
			used = entityCell{At: r.RoleLastUsed.LastUsedDate, Text: "never"}
		}
		list = append(list, entityRow{Name: r.RoleName, Sub: r.Description, To: x.iam() + "/roles/" + pathOf(r.RoleName),
			Cells: []entityCell{{Text: r.Path}, {Text: trustedBy(r.AssumeRolePolicyDocument)}, used}})
	}
	return x.showEntities("roles", list, marker, unlessMissing(err))
}

func (x *request) policiesPage() error {
	q := x.r.URL.Query()
	scope := iamtypes.PolicyScopeTypeLocal
	if q.Get("scope") == "aws" {
		scope = iamtypes.PolicyScopeTypeAWS
	}
	out, err := do[iamtypes.ListPoliciesResponse](x, "iam", "ListPolicies", &iamtypes.ListPoliciesRequest{Scope: scope,
		Marker: q.Get("after"), MaxItems: some[int32](pageSize)})
	if err != nil {
		return x.showEntities("policies", nil, "", err)
	}
	var list []entityRow
	for _, p := range out.Policies {
		list = append(list, entityRow{Name: p.PolicyName, Sub: p.Description, To: x.policyPath(p.Arn),
			Cells: []entityCell{{Text: policyType(p.Arn)}, {Text: count(int64(int32Of(p.AttachmentCount)))}, {At: p.UpdateDate}}})
	}
	return x.showEntities("policies", list, out.Marker, nil)
}

func int32Of(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}

func policyType(arn string) string {
	if strings.HasPrefix(arn, "arn:aws:iam::aws:") {
		return "AWS managed"
	}
	return "Customer managed"
}

// policyPath returns the address of the page of a managed policy.
func (x *request) policyPath(arn string) string { return x.iam() + "/policy?" + values("arn", arn) }

func (x *request) providersPage() error {
	out, err := do[iamtypes.ListOpenIDConnectProvidersResponse](x, "iam", "ListOpenIDConnectProviders",
		&iamtypes.ListOpenIDConnectProvidersRequest{})
	if err != nil {
		return x.showEntities("providers", nil, "", err)
	}
	var list []entityRow
	for _, p := range out.OpenIDConnectProviderList {
		_, issuer, _ := strings.Cut(p.Arn, ":oidc-provider/")
		list = append(list, entityRow{Name: issuer, To: x.iam() + "/provider?" + values("arn", p.Arn),
			Cells: []entityCell{{Text: "OpenID Connect"}}})
	}
	return x.showEntities("providers", list, "", nil)
}

// newEntityView is the form that creates an entity.
type newEntityView struct {
	entityKind
	Kind        string
	Name, Path  string
	Description string
	Audience    string // of a provider
	Thumbprint  string
	Trusts      string // what a role trusts: account, provider or custom
	Trusted     string // the account or provider
	Policy      editor
	May         right
	Wrong       *trouble
	Change      bool
}

// newEntityPage shows the form that creates an entity.
func (x *request) newEntityPage() error {
	at := x.r.URL.Path
	word := at[strings.LastIndexByte(at, '/')+1:]
	for kind, k := range entityKinds {
		if word == "create-"+k.One {
			return x.showNewEntity(http.StatusOK, newEntityView{Kind: kind, Path: "/", Trusts: "account", Trusted: x.account.String()}, "")
		}
	}
	return errNoPage
}

// firstPolicy is what the editor of a new managed policy begins with.
const firstPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["ecr:GetAuthorizationToken"],
      "Resource": "*"
    }
  ]
}`

func (x *request) showNewEntity(status int, v newEntityView, text string) (err error) {
	v.entityKind = entityKinds[v.Kind]
	if v.Kind == "policies" {
		if text == "" {
			text = firstPolicy
		}
		_, problems := checkDocument(text, documentIdentity)
		v.Policy = newEditor("Policy text, JSON", text, problems)
	}
	if v.May, err = x.mayOne(v.Create, x.arnOf(v.Kind, "*")); err != nil {
		return err
	}
	return x.render(status, "iamcreate", &view{Title: v.Button, Section: v.Kind, Main: v,
		Crumbs: []link{{Text: v.Title, To: x.iam() + "/" + v.Kind}}})
}

// createEntity creates an entity.
func (x *request) createEntity() (err error) {
	path := x.r.URL.Path
	f := func(field string) string { return strings.TrimSpace(x.form.Get(field)) }
	v := newEntityView{Kind: path[strings.LastIndexByte(path, '/')+1:], Name: f("name"), Path: f("path"), Description: f("description"),
		Audience: f("audience"), Thumbprint: f("thumbprint"), Trusts: f("trusts"), Trusted: f("trusted")}
	text := formText(x.form.Get("text"))
	to := x.iam() + "/" + v.Kind + "/" + pathOf(v.Name)
	said := "The " + entityKinds[v.Kind].One + " was created."
	switch v.Kind {
	case "users":
		err = act(x, "iam", "CreateUser", &iamtypes.CreateUserRequest{UserName: v.Name, Path: v.Path})
	case "groups":
		err = act(x, "iam", "CreateGroup", &iamtypes.CreateGroupRequest{GroupName: v.Name, Path: v.Path})
	case "roles":
		err = act(x, "iam", "CreateRole", &iamtypes.CreateRoleRequest{RoleName: v.Name, Path: v.Path, Description: v.Description,
			AssumeRolePolicyDocument: trustOf(v.Trusts, v.Trusted, v.Audience)})
		to += "/trust"
	case "policies":
		if f("do") == "check" {
			return x.showNewEntity(http.StatusOK, v, text)
		}
		var out *iamtypes.CreatePolicyResponse
		out, err = do[iamtypes.CreatePolicyResponse](x, "iam", "CreatePolicy", &iamtypes.CreatePolicyRequest{PolicyName: v.Name, Path: v.Path,
			Description: v.Description, PolicyDocument: text})
		if err == nil {
			to = x.policyPath(out.Policy.Arn)
		}
	case "providers":
		in := &iamtypes.CreateOpenIDConnectProviderRequest{Url: v.Name, ClientIDList: strings.Fields(v.Audience)}
		if v.Thumbprint != "" {
			in.ThumbprintList = strings.Fields(v.Thumbprint)
		}
		var out *iamtypes.CreateOpenIDConnectProviderResponse
		if out, err = do[iamtypes.CreateOpenIDConnectProviderResponse](x, "iam", "CreateOpenIDConnectProvider", in); err == nil {
			to = x.iam() + "/provider?" + values("arn", out.OpenIDConnectProviderArn)
		}
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showNewEntity(x.status(err), v, text)
	}
	return x.done(to, said)
}

// formText returns a text of a field with the line ends of Unix: browsers send the others.
func formText(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// trustOf returns the trust policy of a new role: for the principals of an account whom it allows it, or for tokens of an identity provider
// that were issued for an audience. The page of the role edits it further.
func trustOf(kind, whom, audience string) string {
	if kind == "provider" {
		_, issuer, _ := strings.Cut(whom, ":oidc-provider/")
		return jsonText(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow",
			"Principal": map[string]any{"Federated": whom}, "Action": "sts:AssumeRoleWithWebIdentity",
			"Condition": map[string]any{"StringEquals": map[string]any{issuer + ":aud": audience}}}}})
	}
	return jsonText(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow",
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + whom + ":root"}, "Action": "sts:AssumeRole"}}})
}
