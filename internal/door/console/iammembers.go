package console

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
)

// userGroupsPage shows the groups of a user.
func (x *request) userGroupsPage() error {
	return x.showMembers(http.StatusOK, holder{kind: "users", name: x.at["name"]}, nil)
}

// groupUsersPage shows the users of a group.
func (x *request) groupUsersPage() error {
	return x.showMembers(http.StatusOK, holder{kind: "groups", name: x.at["name"]}, nil)
}

func (x *request) showMembers(status int, h holder, wrong *trouble) error {
	part, after := "groups", x.r.URL.Query().Get("after")
	if h.kind == "groups" {
		part = "users"
	}
	v, err := x.newHolder(h, part)
	if err != nil {
		return err
	}
	v.Wrong = wrong
	marker := ""
	if h.kind == "users" {
		v.Command = "aws iam add-user-to-group --user-name " + quoted(h.name) + " --group-name GROUP"
		var out *iamtypes.ListGroupsForUserResponse
		out, err = do[iamtypes.ListGroupsForUserResponse](x, "iam", "ListGroupsForUser", &iamtypes.ListGroupsForUserRequest{UserName: h.name,
			Marker: after, MaxItems: some[int32](pageSize)})
		if err == nil {
			marker = out.Marker
			for _, g := range out.Groups {
				v.Members = append(v.Members, entityRow{Name: g.GroupName, To: x.iam() + "/groups/" + pathOf(g.GroupName)})
			}
		}
	} else {
		v.Command = "aws iam add-user-to-group --group-name " + quoted(h.name) + " --user-name USER"
		var out *iamtypes.GetGroupResponse
		out, err = do[iamtypes.GetGroupResponse](x, "iam", "GetGroup", &iamtypes.GetGroupRequest{GroupName: h.name, Marker: after,
			MaxItems: some[int32](pageSize)})
		if err == nil {
			marker = out.Marker
			for _, u := range out.Users {
				v.Members = append(v.Members, entityRow{Name: u.UserName, To: x.iam() + "/users/" + pathOf(u.UserName)})
			}
		}
	}
	if v.MembersDenied, err = x.part(err); err != nil {
		return err
	}
	if marker != "" {
		v.MembersMore = x.query("after", marker)
	}
	group := v.ARN
	if h.kind == "users" {
		group = x.arnOf("groups", "*")
	}
	rights, err := x.mayARN(group, "iam:AddUserToGroup", "iam:RemoveUserFromGroup")
	if err != nil {
		return err
	}
	for action, r := range rights {
		v.Rights[action] = r
	}
	return x.showHolder(status, h, v)
}

// onMembership adds a user to a group or removes it, on the page of either.
func (x *request) onMembership() (err error) {
	h := holder{kind: "users", name: x.at["name"]}
	if strings.HasSuffix(x.r.URL.Path, "/users") {
		h.kind = "groups"
	}
	other := strings.TrimSpace(x.form.Get("member"))
	user, group, part := h.name, other, "/groups"
	if h.kind == "groups" {
		user, group, part = other, h.name, "/users"
	}
	said := "The user " + shown(user)
	switch x.form.Get("do") {
	case "add":
		err = act(x, "iam", "AddUserToGroup", &iamtypes.AddUserToGroupRequest{GroupName: group, UserName: user})
		said += " is in the group " + shown(group) + " now."
	case "remove":
		err = act(x, "iam", "RemoveUserFromGroup", &iamtypes.RemoveUserFromGroupRequest{GroupName: group, UserName: user})
		said += " was removed from the group " + shown(group) + "."
	default:
		return errNoAction
	}
	if err != nil {
		return x.showMembers(x.status(err), h, x.troubleOf(err))
	}
	return x.done(h.path(x)+part, said)
}

// roleSessionsPage shows who assumed a role, from the audit trail.
func (x *request) roleSessionsPage() error {
	h := holder{kind: "roles", name: x.at["name"]}
	v, err := x.newHolder(h, "sessions")
	if err != nil {
		return err
	}
	if err := x.browsersOf(h, &v); err != nil {
		return err
	}
	v.Command = "ecrin audit --resource " + quoted(v.ARN)
	out, err := do[ecrintypes.ListAuditEventsResponse](x, "ecrin", "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{
		AccountId: x.account.String(), Resource: v.ARN, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if v.AssumedDenied, err = x.part(err); err != nil {
		return err
	}
	if out != nil {
		for _, text := range out.Events {
			var l auditLine
			if json.Unmarshal([]byte(text), &l) != nil || !strings.HasPrefix(l.EventName, "AssumeRole") {
				continue
			}
			a := assumption{Who: l.UserIdentity.ARN, Operation: l.EventName, At: l.EventTime, Denied: l.ErrorCode != "",
				Session: l.RequestParameters.RoleSessionName}
			if a.Who == "" {
				a.Who = l.UserIdentity.PrincipalID
			}
			if a.Denied {
				a.To = Path + "/denied/" + pathOf(l.RequestID)
			}
			v.Assumed = append(v.Assumed, a)
		}
		if out.NextToken != "" {
			v.AssumedMore = x.query("after", out.NextToken)
		}
	}
	return x.showHolder(http.StatusOK, h, v)
}

// onRoleSessions ends a session of a browser that was begun by the role.
func (x *request) onRoleSessions() error {
	h := holder{kind: "roles", name: x.at["name"]}
	if x.form.Get("do") != "revoke" {
		return errNoAction
	}
	if err := x.revoke(h); err != nil {
		return err
	}
	return x.done(h.path(x)+"/sessions", "The session has ended.")
}

// browsersOf sets the sessions of browsers of a user or role in its view.
func (x *request) browsersOf(h holder, v *holderView) error {
	in := &ecrintypes.ListConsoleSessionsRequest{AccountId: x.account.String(), UserName: h.name}
	if h.kind == "roles" {
		in.UserName, in.RoleName = "", h.name
	}
	out, err := do[ecrintypes.ListConsoleSessionsResponse](x, "ecrin", "ListConsoleSessions", in)
	if v.BrowsersDenied, err = x.part(err); err != nil {
		return err
	}
	if out != nil {
		v.Browsers = out.Sessions
	}
	v.Revoke, err = x.mayOne("ecrin:RevokeConsoleSession", v.ARN)
	return err
}

// revoke ends the session of a browser that the form names.
func (x *request) revoke(h holder) error {
	in := &ecrintypes.RevokeConsoleSessionRequest{AccountId: x.account.String(), UserName: h.name, SessionId: x.form.Get("session")}
	if h.kind == "roles" {
		in.UserName, in.RoleName = "", h.name
	}
	return act(x, "ecrin", "RevokeConsoleSession", in)
}
