package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// auditView is a part of the audit trail.
type auditView struct {
	Principal, Event, Resource, Request, Only, Since string
	Rows                                             []auditRow
	Pager                                            pager
	Trouble                                          *trouble
	Filtered                                         bool
	Command                                          string
}

// auditRow is a line of the trail, in words and as it is.
type auditRow struct {
	ID, Who, Action, Resource, Result string
	At                                time.Time
	Denied, Failed, Open              bool
	Toggle, Explain, Line             string
}

// auditSpans are the times that the list can begin at.
var auditSpans = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

// unnamed returns who is behind a line without the ARN of a principal: a request without credentials, or the work of the server.
func unnamed(line string) string {
	var l struct {
		UserIdentity struct{ Type audit.IdentityType } `json:"userIdentity"`
	}
	if json.Unmarshal([]byte(line), &l) == nil && l.UserIdentity.Type == audit.Anonymous {
		return "anonymous"
	}
	return "the server"
}

// auditPage lists the audit trail, the newest first: each line of CloudTrail beside its sentence.
func (x *request) auditPage() error {
	q := x.r.URL.Query()
	v := auditView{Principal: strings.TrimSpace(q.Get("principal")), Event: strings.TrimSpace(q.Get("event")),
		Resource: strings.TrimSpace(q.Get("resource")), Request: strings.TrimSpace(q.Get("request")), Only: q.Get("only"), Since: q.Get("since"),
		Command: "ecrin audit"}
	in := &ecrintypes.ListAuditEventsRequest{AccountId: x.account.String(), Principal: v.Principal, EventName: v.Event, Resource: v.Resource,
		RequestId: v.Request, NextToken: q.Get("after"), MaxResults: some[int32](pageSize)}
	yes := true
	switch v.Only {
	case "denied":
		in.Denied, v.Command = &yes, v.Command+" --denied"
	case "changes":
		in.Changes, v.Command = &yes, v.Command+" --changes"
	}
	if d := auditSpans[v.Since]; d > 0 {
		in.Since = awswire.At(x.begun.Add(-d))
	}
	v.Filtered = v.Principal+v.Event+v.Resource+v.Request+v.Only+v.Since != ""
	out, err := do[ecrintypes.ListAuditEventsResponse](x, "ecrin", "ListAuditEvents", in)
	if err != nil {
		if x.status(err) == http.StatusInternalServerError {
			return err
		}
		v.Trouble = x.troubleOf(err)
		return x.render(x.status(err), "audit", &view{Title: "Audit", Section: "audit", Main: v})
	}
	for i, text := range out.Events {
		var l auditLine
		if json.Unmarshal([]byte(text), &l) != nil {
			continue
		}
		r := auditRow{ID: l.RequestID, Who: l.UserIdentity.ARN, At: l.EventTime, Denied: l.ErrorCode == "AccessDenied", Failed: l.ErrorCode != "",
			Action: strings.TrimSuffix(l.EventSource, ".amazonaws.com") + ":" + l.EventName, Result: l.ErrorMessage}
		if r.Who == "" {
			r.Who = unnamed(text)
		}
		if len(l.Resources) > 0 {
			r.Resource = l.Resources[0].ARN
		}
		if r.Denied {
			r.Explain = Path + "/denied/" + pathOf(l.RequestID)
		}
		key := l.RequestID + " " + number(float64(i))
		r.Toggle = x.query("open", key)
		if q.Get("open") == key {
			r.Open, r.Line, r.Toggle = true, indented(text), x.query("open", "")
		}
		v.Rows = append(v.Rows, r)
	}
	v.Pager = x.pagerOf(many(int64(len(v.Rows)), "line", "lines")+", newest first", out.NextToken)
	return x.render(http.StatusOK, "audit", &view{Title: "Audit", Section: "audit", Main: v})
}
