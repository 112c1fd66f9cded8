package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// eventsView is what has happened in a registry, and the webhooks that get it.
type eventsView struct {
	Since, Pattern string
	Rows           []eventRow
	More           string // the address of later events
	Trouble        *trouble
	Hooks          []ecrintypes.Webhook
	HooksMore      string
	HooksDenied    *trouble
	Create         right
	Form           webhookForm
	Wrong          *trouble
	At             string
}

// eventRow is an event.
type eventRow struct {
	Type, Repository, What, Line string
	At                           time.Time
}

// webhookForm is the form of a new webhook.
type webhookForm struct{ Name, URL, Pattern string }

// eventsPage shows the events of the last hour, day or week, the oldest first, and the webhooks.
func (x *request) eventsPage() error { return x.showEvents(http.StatusOK, eventsView{}) }

func (x *request) showEvents(status int, v eventsView) error {
	q := x.r.URL.Query()
	v.Since, v.Pattern, v.At = q.Get("since"), q.Get("pattern"), x.base()+"/events"
	in := &ecrintypes.ListEventsRequest{RegistryId: x.account.String(), Pattern: v.Pattern, Position: q.Get("after"),
		MaxResults: some[int32](pageSize)}
	if in.Position == "" {
		d := auditSpans[v.Since]
		if d == 0 {
			d = time.Hour
		}
		in.Since = awswire.At(x.begun.Add(-d))
	}
	out, err := do[ecrintypes.ListEventsResponse](x, "ecrin", "ListEvents", in)
	switch {
	case err != nil && x.status(err) == http.StatusInternalServerError:
		return err
	case err != nil:
		v.Trouble = x.troubleOf(err)
	default:
		for _, text := range out.Events {
			v.Rows = append(v.Rows, eventOf(text))
		}
		if !out.AtEnd {
			v.More = x.query("after", out.Position)
		}
	}
	hooks, err := do[ecrintypes.ListWebhooksResponse](x, "ecrin", "ListWebhooks", &ecrintypes.ListWebhooksRequest{
		RegistryId: x.account.String(), NextToken: q.Get("hooks"), MaxResults: some[int32](pageSize)})
	if err != nil {
		v.HooksDenied = x.troubleOf(err)
	} else {
		v.Hooks = hooks.Webhooks
		if hooks.NextToken != "" {
			v.HooksMore = x.query("hooks", hooks.NextToken)
		}
	}
	rights, err := x.may("", "ecrin:CreateWebhook")
	if err != nil {
		return err
	}
	v.Create = rights["ecrin:CreateWebhook"]
	return x.render(status, "events", &view{Title: "Events", Section: "events", Main: v})
}

// eventOf returns an event in words.
func eventOf(text string) eventRow {
	var e struct {
		Type   string         `json:"detail-type"`
		Time   time.Time      `json:"time"`
		Detail map[string]any `json:"detail"`
	}
	r := eventRow{Line: indented(text)}
	if json.Unmarshal([]byte(text), &e) != nil {
		return r
	}
	r.Type, r.At = e.Type, e.Time
	word := func(key string) string {
		text, _ := e.Detail[key].(string)
		return text
	}
	r.Repository = word("repository-name")
	var all []string
	for _, key := range []string{"action-type", "result", "image-tag", "image-digest", "principal", "reason"} {
		if text := word(key); text != "" {
			if key == "image-digest" {
				text = digest12(text)
			}
			all = append(all, text)
		}
	}
	r.What = strings.Join(all, " · ")
	return r
}

// onEvents creates a webhook. Its secret is on this page only.
func (x *request) onEvents() error {
	if x.form.Get("do") != "create" {
		return errNothing
	}
	f := webhookForm{Name: strings.TrimSpace(x.form.Get("name")), URL: strings.TrimSpace(x.form.Get("url")),
		Pattern: strings.TrimSpace(x.form.Get("pattern"))}
	out, err := do[ecrintypes.CreateWebhookResponse](x, "ecrin", "CreateWebhook", &ecrintypes.CreateWebhookRequest{
		RegistryId: x.account.String(), WebhookName: f.Name, WebhookUrl: f.URL, Pattern: f.Pattern})
	if err != nil {
		return x.showEvents(x.status(err), eventsView{Wrong: x.troubleOf(err), Form: f})
	}
	return x.showWebhook(http.StatusOK, f.Name, webhookView{Secret: out.Secret})
}

// webhookView is a webhook with what it has not delivered.
type webhookView struct {
	ecrintypes.Webhook
	At         string
	Secret     string // new, shown once
	Test       *ecrintypes.TestWebhookResponse
	Deliveries []ecrintypes.Delivery
	Pager      pager
	None       *trouble // the deliveries may not be seen
	Rights     map[string]right
	Wrong      *trouble
}

func (v webhookView) Status() int32 {
	if v.LastStatus == nil {
		return 0
	}
	return *v.LastStatus
}

// webhookPage shows a webhook.
func (x *request) webhookPage() error {
	return x.showWebhook(http.StatusOK, x.at["name"], webhookView{})
}

func (x *request) showWebhook(status int, name string, v webhookView) error {
	in := &ecrintypes.ListWebhooksRequest{RegistryId: x.account.String(), MaxResults: some[int32](1000)} // an account has at most 20
	out, err := do[ecrintypes.ListWebhooksResponse](x, "ecrin", "ListWebhooks", in)
	if err != nil {
		return err
	}
	found := false
	for _, w := range out.Webhooks {
		if w.WebhookName == name {
			v.Webhook, found = w, true
		}
	}
	if !found {
		return errNoPage
	}
	v.At = x.base() + "/webhooks/" + pathOf(name)
	if v.Rights, err = x.may("", "ecrin:TestWebhook", "ecrin:UpdateWebhook", "ecrin:DeleteWebhook", "ecrin:RedeliverWebhook"); err != nil {
		return err
	}
	d, err := do[ecrintypes.ListWebhookDeliveriesResponse](x, "ecrin", "ListWebhookDeliveries", &ecrintypes.ListWebhookDeliveriesRequest{
		RegistryId: x.account.String(), WebhookName: name, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil {
		v.None = x.troubleOf(err)
	} else {
		v.Deliveries = d.Deliveries
		v.Pager = x.pagerOf(many(int64(len(d.Deliveries)), "delivery", "deliveries"), d.NextToken)
	}
	return x.render(status, "webhook", &view{Title: name, Section: "events", Main: v,
		Crumbs: []link{{Text: "Events", To: x.base() + "/events"}}})
}

// onWebhook tests, changes or deletes a webhook, or sends an event again.
func (x *request) onWebhook() error {
	name, account := x.at["name"], x.account.String()
	at := x.base() + "/webhooks/" + pathOf(name)
	fails := func(err error) error {
		return x.showWebhook(x.status(err), name, webhookView{Wrong: x.troubleOf(err)})
	}
	what := x.form.Get("do")
	switch what {
	case "test":
		out, err := do[ecrintypes.TestWebhookResponse](x, "ecrin", "TestWebhook", &ecrintypes.WebhookRequest{RegistryId: account,
			WebhookName: name})
		if err != nil {
			return fails(err)
		}
		return x.showWebhook(http.StatusOK, name, webhookView{Test: out})
	case "enable", "disable":
		on := what == "enable"
		if err := act(x, "ecrin", "UpdateWebhook", &ecrintypes.UpdateWebhookRequest{RegistryId: account, WebhookName: name,
			Enabled: &on}); err != nil {
			return fails(err)
		}
		return x.done(at, "The webhook was "+what+"d.")
	case "secret":
		yes := true
		out, err := do[ecrintypes.UpdateWebhookResponse](x, "ecrin", "UpdateWebhook", &ecrintypes.UpdateWebhookRequest{RegistryId: account,
			WebhookName: name, NewSecret: &yes})
		if err != nil {
			return fails(err)
		}
		return x.showWebhook(http.StatusOK, name, webhookView{Secret: out.Secret})
	case "redeliver":
		if err := act(x, "ecrin", "RedeliverWebhook", &ecrintypes.RedeliverWebhookRequest{RegistryId: account, WebhookName: name,
			DeliveryId: x.form.Get("delivery")}); err != nil {
			return fails(err)
		}
		return x.done(at, "The event is sent again.")
	case "delete":
		if err := act(x, "ecrin", "DeleteWebhook", &ecrintypes.WebhookRequest{RegistryId: account, WebhookName: name}); err != nil {
			return fails(err)
		}
		return x.done(x.base()+"/events", "The webhook was deleted.")
	}
	return errNothing
}
