package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/access/denied", serve: (*request).deniedPage},
		row{method: "GET", path: "denied/{id}", serve: (*request).deniedRequestPage},
		row{method: "GET", path: "{account}/access/simulate", serve: (*request).simulatePage},
	)
}

// deniedView is a list of requests that were denied.
type deniedView struct {
	Rows    []deniedRow
	Pager   pager
	Trouble *trouble
	First   bool
}

// deniedRow stands for requests of one principal, for one action on one resource, that were denied: the last of them.
type deniedRow struct {
	ID, To, Principal, Action, Resource, Text string
	At                                        time.Time
	Count                                     int64 // of them among the lines that the page has read
}

// deniedLines is the number of lines of the trail that a page groups.
const deniedLines = 500

// auditLine has the members of a line of the audit trail that the list shows.
type auditLine struct {
	EventTime    time.Time `json:"eventTime"`
	EventSource  string    `json:"eventSource"`
	EventName    string    `json:"eventName"`
	RequestID    string    `json:"requestID"`
	ErrorCode    string    `json:"errorCode"`
	ErrorMessage string    `json:"errorMessage"`
	UserIdentity struct {
		ARN         string `json:"arn"`
		PrincipalID string `json:"principalId"`
	} `json:"userIdentity"`
	RequestParameters struct {
		RoleSessionName string `json:"roleSessionName"`
	} `json:"requestParameters"`
	Resources []struct {
		ARN string `json:"ARN"`
	} `json:"resources"`
}

// deniedPage lists the requests that were denied, the newest first, those of the same principal, action and resource together.
func (x *request) deniedPage() error {
	yes := true
	v := deniedView{First: x.r.URL.Query().Get("after") == ""}
	out, err := do[ecrintypes.ListAuditEventsResponse](x, "ecrin", "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{
		AccountId: x.account.String(), Denied: &yes, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](deniedLines)})
	if err != nil {
		v.Trouble = x.troubleOf(err)
		return x.render(x.status(err), "denied", &view{Title: "Denied requests", Section: "denied", Main: v})
	}
	groups := map[[3]string]int{}
	for _, text := range out.Events {
		var l auditLine
		if json.Unmarshal([]byte(text), &l) != nil {
			continue
		}
		r := deniedRow{Count: 1, ID: l.RequestID, To: Path + "/denied/" + pathOf(l.RequestID), Principal: l.UserIdentity.ARN,
			Text:   l.ErrorMessage,
			Action: strings.TrimSuffix(l.EventSource, ".amazonaws.com") + ":" + l.EventName, At: l.EventTime}
		if len(l.Resources) > 0 {
			r.Resource = l.Resources[0].ARN
		}
		key := [3]string{r.Principal, r.Action, r.Resource}
		if i, known := groups[key]; known {
			v.Rows[i].Count++
			continue
		}
		groups[key] = len(v.Rows)
		v.Rows = append(v.Rows, r)
	}
	v.Pager = x.pagerOf(many(int64(len(out.Events)), "request", "requests")+" in "+many(int64(len(v.Rows)), "group", "groups")+
		", newest first", out.NextToken)
	return x.render(http.StatusOK, "denied", &view{Title: "Denied requests", Section: "denied", Main: v})
}

// step is a step of a rail: a layer of a decision.
type step struct {
	Class, Colour, Icon, What, Say string
	More                           []string
}

// explained is a decision, layer by layer, with what would allow it.
type explained struct {
	Principal, Action, Resource string
	Allowed                     bool
	Sentence                    string
	At                          time.Time
	Now                         string // the decision of now, if it differs
	Note                        string
	Steps                       []step
	Changes                     []changeRow
	Remedy                      remedy
}

// changeRow is a change of a policy that would allow a request, or is one of several that together would.
type changeRow struct {
	Layer, Add, Remove string
	Or                 bool
}

// explainedOf returns a decision as pages show it.
func explainedOf(e *ecrintypes.Explanation) explained {
	v := explained{Principal: e.PrincipalArn, Action: e.Action, Resource: e.Resource, Allowed: e.Allowed, Sentence: e.Text, Note: e.Note,
		At: timeOf(e.At)}
	if e.CurrentVerdict != "" && e.CurrentVerdict != e.Verdict {
		v.Now = nowWords[e.CurrentVerdict]
	}
	stopped := false
	for _, l := range e.Layers {
		s := step{What: l.Layer, Say: verdictWords[l.Verdict], Icon: "skip", Colour: "off"}
		switch {
		case stopped:
			s.Class = "after"
		case l.Layer == e.DecidedBy && !e.Allowed:
			s.Class, s.Icon, s.Colour, stopped = "stop", "bad", "bad", true
		case l.Verdict == ecrintypes.VerdictAllowed:
			s.Icon, s.Colour = "ok", "ok"
		}
		if l.Note != "" {
			s.More = append(s.More, l.Note)
		}
		for _, f := range e.Findings {
			if f.Layer == l.Layer {
				s.More = append(s.More, findingText(f))
			}
		}
		v.Steps = append(v.Steps, s)
	}
	end := step{Class: "end", What: "Denied", Icon: "bad", Colour: "bad"}
	if e.Allowed {
		end = step{Class: "end", What: "Allowed", Icon: "ok", Colour: "ok"}
	}
	v.Steps = append(v.Steps, end)
	for _, c := range e.Changes {
		r := changeRow{Layer: c.Layer, Add: indented(c.Add), Or: c.Alternative}
		if c.Remove != nil {
			r.Remove = findingText(*c.Remove)
		}
		v.Changes = append(v.Changes, r)
	}
	return v
}

// findingText returns a statement that mattered, or nearly did.
func findingText(f ecrintypes.Finding) string {
	text := "statement " + count(int64(f.Statement))
	if f.Sid != "" {
		text = f.Sid
	}
	if f.Policy != "" {
		text = f.Policy + ", " + text
	}
	if word := effectWords[f.Effect]; word != "" {
		text += ", which " + word
	}
	switch {
	case f.Failed != "":
		text += " other requests: its " + strings.ToLower(f.Failed) + " does not fit"
	case f.Effect != "":
		text += " this"
	}
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	return text
}

// The words of pages for what the API calls a layer's verdict, that of now, and the effect of a statement.
var (
	verdictWords = map[ecrintypes.Verdict]string{ecrintypes.VerdictAllowed: "allows", ecrintypes.VerdictImplicitDeny: "does not allow",
		ecrintypes.VerdictExplicitDeny: "denies"}
	nowWords = map[ecrintypes.Verdict]string{ecrintypes.VerdictAllowed: "it would be allowed",
		ecrintypes.VerdictImplicitDeny: "no policy would allow it", ecrintypes.VerdictExplicitDeny: "a policy would deny it"}
	effectWords = map[string]string{"Allow": "allows", "Deny": "denies"}
)

// deniedRequestPage explains a denied request by its id, from any client or log.
func (x *request) deniedRequestPage() error {
	out, err := do[ecrintypes.ExplainRequestResponse](x, "ecrin", "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: x.at["id"]})
	if err != nil {
		return err
	}
	v := explainedOf(&out.Explanation)
	v.Remedy = x.remedyOf(v)
	return x.render(http.StatusOK, "explained", &view{Title: "Denied", Section: "denied", Main: v,
		Crumbs: []link{{Text: "Denied requests", To: x.iam() + "/denied"}}})
}

// simulateView is a question about a decision, and the answer.
type simulateView struct {
	Principal, Action, Repository, Region, Tag, IP string
	Actions                                        []string
	Answer                                         *explained
	Trouble                                        *trouble
}

// simulatePage answers whether a request would be allowed, layer by layer. The question is in the address.
func (x *request) simulatePage() error {
	q := x.r.URL.Query()
	v := simulateView{Principal: strings.TrimSpace(q.Get("principal")), Action: q.Get("action"),
		Repository: strings.TrimSpace(q.Get("repository")),
		Region:     q.Get("region"), Tag: strings.TrimSpace(q.Get("tag")), IP: strings.TrimSpace(q.Get("ip")), Actions: simulated}
	if v.Region == "" {
		v.Region = x.region.String()
	}
	if v.Principal == "" || v.Action == "" {
		return x.render(http.StatusOK, "simulate", &view{Title: "Simulator", Section: "simulate", Main: v})
	}
	region, err := name.ParseRegion(v.Region)
	if err != nil {
		return fault.InvalidParameter.New("%s is no region", name.Clip(v.Region))
	}
	x.req.Region = region
	status := http.StatusOK
	in := &ecrintypes.ExplainAccessRequest{Principal: v.Principal, Action: v.Action, RegistryId: x.account.String(),
		RepositoryName: v.Repository,
		ImageTag:       v.Tag, SourceIp: v.IP}
	out, err := do[ecrintypes.ExplainAccessResponse](x, "ecrin", "ExplainAccess", in)
	if err != nil {
		v.Trouble, status = x.troubleOf(err), x.status(err)
	} else {
		answer := explainedOf(&out.Explanation)
		v.Answer = &answer
	}
	return x.render(status, "simulate", &view{Title: "Simulator", Section: "simulate", Main: v})
}

// simulated are the actions that the simulator offers; others can be typed.
var simulated = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability", "ecr:PutImage",
	"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:DescribeImages", "ecr:ListImages",
	"ecr:BatchDeleteImage",
	"ecr:DeleteRepository", "ecr:SetRepositoryPolicy", "ecr:GetAuthorizationToken"}
