package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/access"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// requestRows are the rows about requests for access.
var requestRows = []row{
	{method: "GET", path: "ask", serve: (*request).askPage},
	{method: "POST", path: "ask", serve: (*request).ask},
	{method: "GET", path: "{account}/{region}/access-requests", serve: (*request).accessRequestsPage},
	{method: "GET", path: "{account}/{region}/access-requests/{id}", serve: (*request).accessRequestPage},
	{method: "POST", path: "{account}/{region}/access-requests/{id}", serve: (*request).onAccessRequest},
}

// requestsPath returns the address of the requests for access to a registry.
func requestsPath(account, region string) string {
	return Path + "/" + account + "/" + region + "/access-requests"
}

// requestRow is a request for access in a list.
type requestRow struct {
	ecrintypes.AccessRequest
	To                 string
	Class, Icon, State string
	Asked              string
	EndsAt             time.Time
}

// requestStates are the states of requests in words, with icon and colour.
var requestStates = map[ecrintypes.AccessStatus][3]string{
	ecrintypes.AccessStatusOPEN: {"warn", "clock", "open"}, ecrintypes.AccessStatusGRANTED: {"ok", "ok", "granted"},
	ecrintypes.AccessStatusREFUSED: {"bad", "bad", "refused"}, ecrintypes.AccessStatusWITHDRAWN: {"off", "skip", "withdrawn"},
	ecrintypes.AccessStatusENDED: {"off", "skip", "ended"}, ecrintypes.AccessStatusEXPIRED: {"off", "skip", "expired"},
}

func requestRowOf(r ecrintypes.AccessRequest) requestRow {
	s := requestStates[r.Status]
	return requestRow{AccessRequest: r, To: requestsPath(r.RegistryId, r.Region) + "/" + pathOf(r.AccessRequestId), Class: s[0], Icon: s[1],
		State: s[2], Asked: many(r.Asked, "time", "times"), EndsAt: timeOf(r.Until)}
}

// requestsView is a list of requests for access.
type requestsView struct {
	Rows    []requestRow
	Own     bool
	Status  string
	Here    string
	Pager   pager
	Trouble *trouble
}

// accessRequestsPage lists the requests for access to the repositories of a registry, or those of the person.
func (x *request) accessRequestsPage() error {
	q := x.r.URL.Query()
	v := requestsView{Own: q.Get("own") != "", Status: q.Get("status"), Here: requestsPath(x.account.String(), x.region.String())}
	in := &ecrintypes.ListAccessRequestsRequest{NextToken: q.Get("after"), MaxResults: some[int32](pageSize)}
	if v.Own {
		in.Own = &v.Own
	} else {
		in.RegistryId, in.Status = x.account.String(), ecrintypes.AccessStatus(strings.ToUpper(v.Status))
	}
	status := http.StatusOK
	out, err := do[ecrintypes.ListAccessRequestsResponse](x, "ecrin", "ListAccessRequests", in)
	if err != nil {
		v.Trouble, status = x.troubleOf(err), x.status(err)
	} else {
		for _, r := range out.Requests {
			v.Rows = append(v.Rows, requestRowOf(r))
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "request", "requests")+", newest first", out.NextToken)
	}
	return x.render(status, "accessrequests", &view{Title: "Requests for access", Section: "requests", Main: v})
}

// requestView is a request for access, with what an approval would change.
type requestView struct {
	requestRow
	To          string
	Own         bool // the person has asked
	Owner       bool // the person decides for the owner
	Preview     *ecrintypes.AccessPreview
	Change      []diffLine
	Until, Tags string // of the form
	Note        string
	Earliest    string
	Approve     right
	Refuse      right
	Revoke      right
	Wrong       *trouble
	Repository  string
}

func (x *request) accessRequestPage() error {
	return x.showAccessRequest(http.StatusOK, requestView{Tags: x.r.URL.Query().Get("tags"), Until: x.r.URL.Query().Get("until")})
}

func (x *request) showAccessRequest(status int, v requestView) error {
	out, err := do[ecrintypes.DescribeAccessRequestResponse](x, "ecrin", "DescribeAccessRequest", &ecrintypes.DescribeAccessRequestRequest{
		AccessRequestId: x.at["id"], ImageTags: strings.Fields(v.Tags)})
	if err != nil {
		return err
	}
	r := out.Request
	v.requestRow, v.To = requestRowOf(r), x.r.URL.EscapedPath()
	if v.Preview = out.Preview; v.Preview != nil && v.Preview.PolicyText != "" {
		v.Change = diff("", indented(v.Preview.PolicyText))
	}
	by := x.session.Caller
	v.Own = by.Principal != "" && by.Principal == r.PrincipalId
	v.Owner = by.Account.String() == r.RegistryId
	v.Repository = Path + "/" + r.RegistryId + "/" + r.Region + "/repositories/" + pathOf(r.RepositoryName)
	v.Earliest = x.begun.UTC().Format(time.DateOnly)
	if v.Until == "" {
		v.Until = x.begun.UTC().AddDate(0, 0, 7).Format(time.DateOnly)
	}
	if v.Owner {
		rights, err := x.mayARN("arn:aws:ecr:"+r.Region+":"+r.RegistryId+":repository/"+r.RepositoryName, "ecrin:ApproveAccessRequest",
			"ecrin:RefuseAccessRequest", "ecrin:RevokeAccess")
		if err != nil {
			return err
		}
		v.Approve, v.Refuse, v.Revoke = rights["ecrin:ApproveAccessRequest"], rights["ecrin:RefuseAccessRequest"], rights["ecrin:RevokeAccess"]
	}
	list := requestsPath(x.account.String(), x.region.String())
	if v.Own && !v.Owner {
		list += "?own=1"
	}
	return x.render(status, "accessrequest", &view{Title: "Request for access", Section: "requests", Main: v,
		Crumbs: []link{{Text: "Requests for access", To: list}}})
}

// onAccessRequest approves, refuses, withdraws or revokes.
func (x *request) onAccessRequest() (err error) {
	f := func(field string) string { return strings.TrimSpace(x.form.Get(field)) }
	v := requestView{Until: f("until"), Tags: f("tags"), Note: f("note")}
	decide := &ecrintypes.DecideAccessRequest{AccessRequestId: x.at["id"], Note: v.Note}
	said := ""
	switch x.form.Get("do") {
	case "approve":
		var day time.Time
		if day, err = time.Parse(time.DateOnly, v.Until); err != nil {
			err = fault.InvalidParameter.New("the end is a day, such as 2026-12-31")
			break
		}
		end := day.AddDate(0, 0, 1) // the day counts
		err = act(x, "ecrin", "ApproveAccessRequest", &ecrintypes.ApproveAccessRequestRequest{AccessRequestId: x.at["id"],
			Until: awswire.Time{Time: end}, ImageTags: strings.Fields(v.Tags), Note: v.Note})
		said = "Granted until the end of " + day.Format("2 Jan 2006") + " (UTC)."
	case "refuse":
		err, said = act(x, "ecrin", "RefuseAccessRequest", decide), "The request was refused."
	case "withdraw":
		err, said = act(x, "ecrin", "WithdrawAccessRequest", decide), "The request was withdrawn."
	case "revoke":
		err, said = act(x, "ecrin", "RevokeAccess", decide), "The grant has ended."
	default:
		return errNoAction
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showAccessRequest(x.status(err), v)
	}
	return x.done(x.r.URL.EscapedPath(), said)
}

// askView is the form that asks for access.
type askView struct {
	Address, Reason  string
	Permission, Name string // that the address says
	Registry         string
	Wrong            *trouble
}

// askPage shows the form that asks for access to a repository, whose address a denial says.
func (x *request) askPage() error {
	return x.showAsk(http.StatusOK, askView{Address: strings.TrimSpace(x.r.URL.Query().Get("address"))})
}

func (x *request) showAsk(status int, v askView) error {
	if a, err := access.Parse(v.Address); err == nil {
		v.Permission, v.Name = strings.ToLower(string(a.Permission)), a.Repository.String()
		v.Registry = a.Registry.Account.String() + "/" + a.Registry.Region.String()
	}
	return x.render(status, "ask", &view{Title: "Ask for access", Section: "requests", Main: v})
}

func (x *request) ask() error {
	v := askView{Address: strings.TrimSpace(x.form.Get("address")), Reason: strings.TrimSpace(x.form.Get("reason"))}
	out, err := do[ecrintypes.RequestAccessResponse](x, "ecrin", "RequestAccess", &ecrintypes.RequestAccessRequest{Address: v.Address,
		Reason: v.Reason})
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showAsk(x.status(err), v)
	}
	said := "Access was asked for. The owner of the repository decides."
	if out.Merged {
		said = "This was asked for already, and is counted once more."
	}
	return x.done(requestRowOf(out.Request).To, said)
}

// remedy is what a person can do about a denial: ask the owner for access, or grant it.
type remedy struct {
	Ask        string // the form that asks; "" if the caller cannot
	Grant      string // the page to which the form of a grant is sent; "" if it is not the account's own repository
	Principal  string
	Permission string
}

// remedyOf returns what can be done about the denial of an action on a repository. Errors: none; what is no repository has no remedy.
func (x *request) remedyOf(e explained) (r remedy) {
	p := access.For(e.Action)
	arn, err := name.ParseARN(e.Resource)
	repository, is := strings.CutPrefix(arn.Resource, "repository/")
	if e.Allowed || p == "" || err != nil || !is {
		return r
	}
	repo, err := name.ParseRepo(repository)
	if err != nil {
		return r
	}
	region, err := name.ParseRegion(arn.Region)
	if err != nil {
		return r
	}
	if e.Principal == x.session.Caller.ARN {
		a := access.Address{Permission: p, Registry: name.Registry{Account: arn.Account, Region: region}, Repository: repo}
		r.Ask = Path + "/ask?" + values("address", a.String())
	}
	if arn.Account == x.session.Caller.Account && !strings.Contains(e.Principal, ":assumed-role/") && strings.HasPrefix(e.Principal, "arn:") {
		r.Grant = Path + "/" + arn.Account.String() + "/" + arn.Region + "/repositories/" + pathOf(repository) + "/-/permissions"
		r.Principal, r.Permission = e.Principal, string(p)
	}
	return r
}
