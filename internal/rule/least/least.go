// Package least proposes policies that allow no more than what was used.
package least

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Use is what a principal did, as a trail of requests has it.
type Use struct {
	Principal string // ARN of the user, or of the role of a session
	Account   string // of the principal
	Action    string // such as ecr:BatchGetImage
	Resource  string // ARN, or * for actions without a resource
	Count     int
	Last      time.Time
}

// Statement says what was used of a statement.
type Statement struct {
	Sid     string    `json:"sid,omitempty"`
	Effect  string    `json:"effect"`
	Count   int       `json:"requests"`
	Last    time.Time `json:"last,omitzero"`
	Actions []string  `json:"actions,omitempty"` // that were used, or belong to what was used
	Dropped bool      `json:"dropped,omitempty"` // nothing of it was used
	Note    string    `json:"note,omitempty"`
}

// Proposal is a policy with what was used of it.
type Proposal struct {
	Now        string      `json:"now"`      // compact JSON
	Proposed   string      `json:"proposed"` // likewise; "" if nothing was used
	Statements []Statement `json:"statements"`
}

// Changed reports whether the proposal differs from the policy.
func (p Proposal) Changed() bool { return p.Now != p.Proposed }

// Options are those of Propose.
type Options struct {
	KeepResources bool // narrow actions only
}

// maxResources is the number of resources that a proposal names; with more the statement keeps its own.
const maxResources = 20

// together are actions of which the first is used without the others by chance: a client that has all layers of an image asks for the
// manifest only, and one whose layers exist in the repository uploads none. Some operations need other actions too, which the trail does
// not name.
var together = map[string][]string{
	"ecr:batchgetimage":                    {"ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"},
	"ecr:getdownloadurlforlayer":           {"ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"},
	"ecr:putimage":                         push,
	"ecr:initiatelayerupload":              push,
	"ecr:uploadlayerpart":                  push,
	"ecr:completelayerupload":              push,
	"ecr:mountlayer":                       append([]string{"ecr:GetDownloadUrlForLayer"}, push...),
	"ecr:createrepository":                 {"ecr:TagResource"},
	"ecr:createrepositorycreationtemplate": {"ecr:CreateRepository", "iam:PassRole"},
	"ecr:batchimportupstreamimage":         {"ecr:CreateRepository"},
	"ecrin:copyimage":                      append([]string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}, push...),
	"ecrin:restoreimage":                   {"ecr:PutImage"},
	"ecrin:untagimage":                     {"ecr:BatchDeleteImage"},
	"ecrin:deleteimage":                    {"ecr:BatchDeleteImage"},
	"ecrin:grantrepositoryaccess":          {"ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"},
	"ecrin:testlifecycle":                  {"ecr:StartLifecyclePolicyPreview"},
	"ecrin:putlifecycle":                   {"ecr:PutLifecyclePolicy"},
	"ecrin:getlifecycle":                   {"ecr:GetLifecyclePolicy"},
	"sts:assumerole":                       {"sts:TagSession", "sts:SetSourceIdentity"},
}

var push = []string{"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
	"ecr:PutImage"}

// login is what every use of a registry by docker begins with.
const login = "ecr:GetAuthorizationToken"

// Propose returns an identity policy or the policy of a repository narrowed to what was used: statements that allow keep the used actions
// and resources, those of which nothing was used are dropped, and of a repository's statements the principals that used nothing. Their
// conditions stay, and statements that deny stay as they are. uses are of the principal of an identity policy, or of all principals on the
// repository.
//
// Errors: those of policy.ParseStored.
func Propose(text string, kind policy.Kind, uses []Use, o Options) (Proposal, error) {
	d, err := policy.ParseStored(text, kind)
	if err != nil {
		return Proposal{}, err
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	now := d.String()
	if err := json.Unmarshal([]byte(now), &raw); err != nil {
		return Proposal{}, fmt.Errorf("reading the policy: %w", err)
	}
	statements := []json.RawMessage{raw.Statement}
	if !d.Single {
		if err := json.Unmarshal(raw.Statement, &statements); err != nil {
			return Proposal{}, fmt.Errorf("reading the policy: %w", err)
		}
	}
	out := Proposal{Now: now, Statements: []Statement{}}
	var kept []json.RawMessage
	for i, s := range d.Statements {
		shown, narrowed, err := narrow(d, s, statements[i], uses, o)
		if err != nil {
			return Proposal{}, err
		}
		out.Statements = append(out.Statements, shown)
		kept = append(kept, narrowed...)
	}
	if len(kept) == 0 {
		return out, nil
	}
	var b bytes.Buffer
	b.WriteString("{")
	if raw.Version != "" {
		fmt.Fprintf(&b, `"Version":%q,`, raw.Version)
	}
	if raw.ID != "" {
		id, err := json.Marshal(raw.ID)
		if err != nil {
			return Proposal{}, err
		}
		fmt.Fprintf(&b, `"Id":%s,`, id)
	}
	list, err := json.Marshal(kept)
	if err != nil {
		return Proposal{}, err
	}
	if d.Single && len(kept) == 1 {
		list = kept[0]
	}
	fmt.Fprintf(&b, `"Statement":%s}`, list)
	proposed, err := policy.ParseStored(b.String(), kind)
	if err != nil {
		return Proposal{}, fmt.Errorf("the proposal is not valid: %w", err)
	}
	out.Proposed = proposed.String()
	return out, nil
}

// narrow returns a statement as it is proposed: none to drop it, and two if logging in needs another resource than the other actions.
func narrow(d *policy.Document, s policy.Statement, raw json.RawMessage, uses []Use, o Options) (shown Statement,
	out []json.RawMessage, _ error) {
	shown = Statement{Sid: s.Sid, Effect: string(s.Effect)}
	if s.Effect != policy.Allow {
		shown.Note = "denies, and stays"
		return shown, []json.RawMessage{raw}, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return shown, nil, fmt.Errorf("reading a statement: %w", err)
	}
	_, plain := members["Resource"]
	_, others := members["NotResource"]
	variable := bytes.Contains(members["Resource"], []byte("${")) || bytes.Contains(members["NotResource"], []byte("${"))
	m, err := newMatcher(d, s, variable || !plain && !others)
	if err != nil {
		return shown, nil, err
	}
	var used []Use
	for _, u := range uses {
		if m.allows(u.Action, u.Resource) && (d.Kind != policy.Repository || admits(s, u)) {
			used = append(used, u)
			shown.Count += u.Count
			if u.Last.After(shown.Last) {
				shown.Last = u.Last
			}
		}
	}
	if len(used) == 0 {
		// Nobody can use a registry by docker without logging in, and the login of a session can be older than the trail.
		if d.Kind == policy.Identity && len(uses) > 0 && m.allows(login, "*") && onlyLogin(members) {
			shown.Actions, shown.Note = []string{login}, "needed to log in"
			return shown, []json.RawMessage{raw}, nil
		}
		shown.Dropped = true
		return shown, nil, nil
	}
	shown.Actions = m.actions(used)
	resources := map[string]bool{}
	for _, u := range used {
		resources[u.Resource] = true
	}
	delete(members, "NotAction")
	members["Action"] = oneOrMany(shown.Actions)
	switch {
	case !plain && !others, o.KeepResources, variable:
	case len(resources) > maxResources:
		shown.Note = fmt.Sprintf("%d resources were used: the statement keeps its own", len(resources))
	default:
		delete(members, "NotResource")
		members["Resource"] = oneOrMany(sortedKeys(resources))
		if at := slices.Index(shown.Actions, login); at >= 0 && !(len(resources) == 1 && resources["*"]) { // which has no resource
			own := maps.Clone(members)
			delete(own, "Sid") // a name is given once
			delete(resources, "*")
			members["Action"] = oneOrMany(slices.Delete(slices.Clone(shown.Actions), at, at+1))
			own["Action"], own["Resource"] = oneOrMany([]string{login}), oneOrMany([]string{"*"})
			out = append(out, ordered(own))
			members["Resource"] = oneOrMany(sortedKeys(resources))
		}
	}
	if d.Kind == policy.Repository {
		if err := principals(members, s, used); err != nil {
			return shown, nil, err
		}
	}
	return shown, append([]json.RawMessage{ordered(members)}, out...), nil
}

// onlyLogin reports whether a statement allows nothing but logging in.
func onlyLogin(members map[string]json.RawMessage) bool {
	return strings.EqualFold(strings.Trim(string(members["Action"]), `["]`), login)
}

// matcher decides by the action and resource of a statement alone.
type matcher struct {
	policies *policy.Policies
	anywhere bool // the statement has no resource, or one with a variable, whose value is not known
}

// newMatcher returns the matcher of a statement of a document.
func newMatcher(d *policy.Document, s policy.Statement, anywhere bool) (matcher, error) {
	s.Conditions, s.Principal = nil, policy.Principals{}
	if anywhere {
		all, err := policy.ParseStored(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, policy.Identity)
		if err != nil {
			return matcher{}, err
		}
		s.Resource = all.Statements[0].Resource
	}
	one := &policy.Document{Kind: policy.Identity, Version: d.Language(), Statements: []policy.Statement{s}}
	return matcher{&policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(one, nil)}}}, anywhere}, nil
}

// caller is a user of the account that owns what it uses, so that an identity policy alone decides.
var caller = policy.Caller{Kind: policy.User, Account: name.MustAccount("000000000000"), ARN: "arn:aws:iam::000000000000:user/x"}

func (m matcher) allows(action, resource string) bool {
	r := &policy.Request{Caller: caller, Action: action, Resource: resource, ResourceAccount: caller.Account}
	return policy.Evaluate(m.policies, r).Allowed()
}

// actions returns the actions that were used, and those that belong to them and that the statement allows, in the order of their names.
func (m matcher) actions(used []Use) []string {
	all := map[string]bool{}
	for _, u := range used {
		for _, a := range append([]string{u.Action, login}, together[strings.ToLower(u.Action)]...) {
			resource := u.Resource
			if a == login {
				resource = "*"
			}
			if m.allows(a, resource) && (a != login || !m.anywhere && strings.HasPrefix(u.Action, "ecr:")) {
				all[a] = true
			}
		}
	}
	delete(all, "ecr:MountLayer") // a name of the trail, and no action
	return sortedKeys(all)
}

// admits reports whether a principal of a statement stands for who made the request.
func admits(s policy.Statement, u Use) bool {
	if s.Principal.Not {
		return true
	}
	for p := range s.Principal.All() {
		if stands(p, u) {
			return true
		}
	}
	return false
}

func stands(p policy.Principal, u Use) bool {
	switch p.Kind {
	case policy.Anyone:
		return true
	case policy.Account:
		return p.Account.String() == u.Account
	}
	return p.Text == u.Principal
}

// principals drops the principals of a statement that used nothing.
func principals(members map[string]json.RawMessage, s policy.Statement, used []Use) error {
	if s.Principal.Not || s.Principal.Bare {
		return nil
	}
	gone := map[string]bool{}
	for p := range s.Principal.All() {
		if !slices.ContainsFunc(used, func(u Use) bool { return stands(p, u) }) {
			gone[p.Text] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var groups map[string]json.RawMessage
	if err := json.Unmarshal(members["Principal"], &groups); err != nil {
		return fmt.Errorf("reading the principals of a statement: %w", err)
	}
	for key, raw := range groups {
		var list []string
		if json.Unmarshal(raw, &list) != nil {
			list = make([]string, 1)
			if err := json.Unmarshal(raw, &list[0]); err != nil {
				return fmt.Errorf("reading the principals of a statement: %w", err)
			}
		}
		if list = slices.DeleteFunc(list, func(text string) bool { return gone[text] }); len(list) == 0 {
			delete(groups, key)
			continue
		}
		groups[key] = oneOrMany(list)
	}
	text, err := json.Marshal(groups)
	members["Principal"] = text
	return err
}

// oneOrMany returns a list as JSON, and a list of one as a text.
func oneOrMany(list []string) json.RawMessage {
	var value any = list
	if len(list) == 1 {
		value = list[0]
	}
	text, err := json.Marshal(value)
	if err != nil {
		return json.RawMessage("[]") // cannot happen: texts are valid JSON
	}
	return text
}

// ordered returns a statement with its members in the usual order.
func ordered(members map[string]json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	for _, key := range []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "Resource", "NotResource", "Condition"} {
		if raw := members[key]; raw != nil {
			fmt.Fprintf(&b, ",%q:%s", key, raw)
		}
	}
	return json.RawMessage("{" + strings.TrimPrefix(b.String(), ",") + "}")
}

func sortedKeys(m map[string]bool) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
