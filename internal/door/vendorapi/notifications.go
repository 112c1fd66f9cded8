package vendorapi

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var notificationRows = []row{
	{method: "GET", path: "notification_subscriptions", serve: listSubscriptions},
	{method: "POST", path: "notification_subscription", serve: createSubscription},
	{method: "GET", path: "notification_subscription/{subscription}", serve: getSubscription},
	{method: "PUT", path: "notification_subscription/{subscription}", serve: updateSubscription},
	{method: "DELETE", path: "notification_subscription/{subscription}", serve: deleteSubscription},
	{method: "GET", path: "notification_subscription/{subscription}/events", serve: listEvents},
	{method: "GET", path: "notification_events", serve: listEvents},
	{method: "POST", path: "notification_event/{event}/retry", serve: retryEvent},
	{method: "GET", path: "notification_event_types", serve: listEventTypes},
	{method: "POST", path: "notification_webhook/test", serve: tryWebhook},
	{method: "POST", path: "notification_email/resend_verification", serve: noEmail},
	{method: "POST", path: "notification_email/verify", serve: noEmail},
}

// subscriptionInput is the body of a request that makes or changes a subscription. Members that are absent say nothing.
type subscriptionInput struct {
	Name          *string       `json:"name"`
	EventConfigs  []eventConfig `json:"eventConfigs"`
	IsEnabled     *bool         `json:"isEnabled"`
	EmailAddress  string        `json:"emailAddress"`
	WebhookURL    string        `json:"webhookUrl"`
	WebhookSecret string        `json:"webhookSecret"`
	CustomHeaders []any         `json:"customHeaders"`
}

// details is what a webhook keeps for this API.
type details struct {
	Name         string        `json:"name"`
	EventConfigs []eventConfig `json:"eventConfigs"`
	Pattern      string        `json:"pattern"` // that follows from the configurations: another one was set elsewhere
}

// subscription is a webhook in the form of answers.
type subscription struct {
	ID           string        `json:"id"`     // the name of the webhook
	UserID       string        `json:"userId"` // ARN of who made it
	TeamID       string        `json:"teamId"` // the account
	Name         string        `json:"name"`
	CreatedAt    time.Time     `json:"createdAt"`
	EventConfigs []eventConfig `json:"eventConfigs"`
	IsEnabled    bool          `json:"isEnabled"`
	EmailAddress string        `json:"emailAddress"`
	WebhookURL   string        `json:"webhookUrl"` // without its path for callers who may not see it
}

// maxName is the number of bytes of the name of a subscription.
const maxName = 255

// check refuses what webhooks do not have.
//
// Errors: fault.InvalidParameter.
func (in *subscriptionInput) check() error {
	switch {
	case in.EmailAddress != "":
		return fault.InvalidParameter.New("emailAddress must be absent: this server sends no email; give a webhookUrl")
	case len(in.CustomHeaders) > 0:
		return fault.InvalidParameter.New("customHeaders must be absent: deliveries are signed by the header Ecrin-Signature instead")
	case in.Name != nil && len(*in.Name) > maxName:
		return fault.InvalidParameter.New("name must have at most %d bytes", maxName)
	}
	return nil
}

// encode returns the text that the webhook keeps.
func (d details) encode() (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}

// show returns a webhook in the form of answers. Its URL is read by an operation of its own, which the caller may not be allowed.
func (x *request) show(w ecrintypes.Webhook) (subscription, error) {
	out := subscription{ID: w.WebhookName, UserID: w.CreatedBy, TeamID: w.AccountId, Name: w.WebhookName, CreatedAt: w.CreatedAt.Time,
		EventConfigs: []eventConfig{}, IsEnabled: w.Enabled, WebhookURL: "https://" + w.Host}
	found, err := do[ecrintypes.GetWebhookUrlResponse](x, "GetWebhookUrl", &ecrintypes.WebhookRequest{WebhookName: w.WebhookName})
	switch {
	case errors.Is(err, fault.AccessDenied):
		return out, nil
	case err != nil:
		return out, err
	}
	out.WebhookURL = found.WebhookUrl
	var d details
	if found.Details != "" && json.Unmarshal([]byte(found.Details), &d) == nil {
		if out.Name = d.Name; d.Pattern == w.Pattern && d.EventConfigs != nil {
			out.EventConfigs = d.EventConfigs
		}
	}
	return out, nil
}

// webhooks returns the webhooks of the account in the region of the request.
func (x *request) webhooks() (all []ecrintypes.Webhook, err error) {
	in := &ecrintypes.ListWebhooksRequest{}
	for {
		found, err := do[ecrintypes.ListWebhooksResponse](x, "ListWebhooks", in)
		if err != nil {
			return nil, err
		}
		all = append(all, found.Webhooks...)
		if in.NextToken = found.NextToken; in.NextToken == "" {
			return all, nil
		}
	}
}

// webhook returns a webhook by its name.
//
// Errors: fault.WebhookNotFound.
func (x *request) webhook(label string) (ecrintypes.Webhook, error) {
	all, err := x.webhooks()
	if err != nil {
		return ecrintypes.Webhook{}, err
	}
	for _, w := range all {
		if w.WebhookName == label {
			return w, nil
		}
	}
	return ecrintypes.Webhook{}, fault.WebhookNotFound.New("the team has no subscription %s", name.Clip(label))
}

func listSubscriptions(x *request) (answer, error) {
	all, err := x.webhooks()
	if err != nil {
		return answer{}, err
	}
	q, out := x.r.URL.Query(), []subscription{}
	search := strings.ToLower(q.Get("search"))
	for _, w := range all {
		one, err := x.show(w)
		if err != nil {
			return answer{}, err
		}
		if strings.Contains(strings.ToLower(one.Name), search) && q.Get("type") != "user" { // all are of the team
			out = append(out, one)
		}
	}
	return ok(map[string]any{"subscriptions": out, "totalCount": len(out)})
}

func createSubscription(x *request) (answer, error) {
	var in subscriptionInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	if in.WebhookURL == "" {
		return answer{}, missing("webhookUrl")
	}
	d := details{Name: valueOf(in.Name), EventConfigs: in.EventConfigs}
	var err error
	if d.Pattern, err = x.pattern(in.EventConfigs); err != nil {
		return answer{}, err
	}
	if d.Name == "" {
		d.Name = "webhook"
	}
	text, err := d.encode()
	if err != nil {
		return answer{}, err
	}
	label := "subscription-" + strings.ToLower(rand.Text()[:16])
	made, err := do[ecrintypes.CreateWebhookResponse](x, "CreateWebhook", &ecrintypes.CreateWebhookRequest{WebhookName: label,
		WebhookUrl: in.WebhookURL, Pattern: d.Pattern, WebhookSecret: in.WebhookSecret, Details: text})
	if err != nil {
		return answer{}, err
	}
	w := made.Webhook
	if in.IsEnabled != nil && !*in.IsEnabled {
		changed, err := do[ecrintypes.UpdateWebhookResponse](x, "UpdateWebhook", &ecrintypes.UpdateWebhookRequest{WebhookName: label,
			Enabled: in.IsEnabled})
		if err != nil {
			return answer{}, err
		}
		w = changed.Webhook
	}
	one, err := x.show(w)
	return answer{status: http.StatusCreated, body: one}, err
}

func getSubscription(x *request) (answer, error) {
	w, err := x.webhook(x.at["subscription"])
	if err != nil {
		return answer{}, err
	}
	one, err := x.show(w)
	return answer{status: http.StatusOK, body: one}, err
}

func updateSubscription(x *request) (answer, error) {
	var in subscriptionInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	w, err := x.webhook(x.at["subscription"])
	if err != nil {
		return answer{}, err
	}
	change := &ecrintypes.UpdateWebhookRequest{WebhookName: w.WebhookName, WebhookUrl: in.WebhookURL, Enabled: in.IsEnabled,
		WebhookSecret: in.WebhookSecret}
	if in.Name != nil || in.EventConfigs != nil {
		found, err := do[ecrintypes.GetWebhookUrlResponse](x, "GetWebhookUrl", &ecrintypes.WebhookRequest{WebhookName: w.WebhookName})
		if err != nil {
			return answer{}, err
		}
		d := details{Name: w.WebhookName, Pattern: w.Pattern}
		_ = json.Unmarshal([]byte(found.Details), &d) // of a webhook that was made elsewhere there are none
		if in.Name != nil {
			d.Name = *in.Name
		}
		if in.EventConfigs != nil {
			d.EventConfigs = in.EventConfigs
			if d.Pattern, err = x.pattern(in.EventConfigs); err != nil {
				return answer{}, err
			}
			change.Pattern = d.Pattern
		}
		if change.Details, err = d.encode(); err != nil {
			return answer{}, err
		}
	}
	changed, err := do[ecrintypes.UpdateWebhookResponse](x, "UpdateWebhook", change)
	if err != nil {
		return answer{}, err
	}
	one, err := x.show(changed.Webhook)
	return answer{status: http.StatusOK, body: one}, err
}

func deleteSubscription(x *request) (answer, error) {
	_, err := do[ecrintypes.DeleteWebhookResponse](x, "DeleteWebhook", &ecrintypes.WebhookRequest{WebhookName: x.at["subscription"]})
	return answer{status: http.StatusNoContent}, err
}

// The statuses of events that a subscription has not received. What was received is counted and not kept.
var deliveryStates = map[string]ecrintypes.DeliveryState{"failed": "DEAD", "pending": "WAITING"}

// maxEvents is how many events an answer has.
const maxEvents = 100

// listEvents lists the events that subscriptions have not received: those that were given up, and those that will be sent again.
func listEvents(x *request) (answer, error) {
	q := x.r.URL.Query()
	limit, err := number("pageSize", q.Get("pageSize"), 20, 1000)
	if err != nil {
		return answer{}, err
	}
	current, err := number("currentPage", q.Get("currentPage"), 0, 1000)
	if err != nil {
		return answer{}, err
	}
	of := x.at["subscription"]
	if of == "" {
		of = q.Get("subscription_id")
	}
	var hooks []ecrintypes.Webhook
	if of != "" {
		w, err := x.webhook(of)
		if err != nil {
			return answer{}, err
		}
		hooks = append(hooks, w)
	} else if hooks, err = x.webhooks(); err != nil {
		return answer{}, err
	}
	states := []string{"failed", "pending"}
	if status := q.Get("status"); status != "" {
		states = []string{status}
	}
	kinds, out := q["event_types"], []map[string]any{}
	for _, w := range hooks {
		for _, status := range states {
			if deliveryStates[status] == "" { // what was received is not kept
				continue
			}
			most := int32(maxEvents)
			found, err := do[ecrintypes.ListWebhookDeliveriesResponse](x, "ListWebhookDeliveries", &ecrintypes.ListWebhookDeliveriesRequest{
				WebhookName: w.WebhookName, State: deliveryStates[status], MaxResults: &most})
			if err != nil {
				return answer{}, err
			}
			for _, d := range found.Deliveries {
				if one := eventOf(w, d, status); kinds == nil || slices.Contains(kinds, one["eventType"].(string)) {
					out = append(out, one)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int { return b["createdAt"].(time.Time).Compare(a["createdAt"].(time.Time)) })
	total, from := len(out), min(current*max(1, limit), len(out))
	out = out[from:min(from+max(1, limit), total)]
	return ok(map[string]any{"events": out, "totalCount": total})
}

// eventOf returns a delivery in the form of answers. Its id has that of the subscription, which a new attempt names.
func eventOf(w ecrintypes.Webhook, d ecrintypes.Delivery, status string) map[string]any {
	var body struct {
		Detail json.RawMessage `json:"detail"`
	}
	payload := json.RawMessage(d.Event)
	if json.Unmarshal(payload, &body) != nil {
		payload, body.Detail = json.RawMessage("null"), json.RawMessage("null")
	}
	out := map[string]any{"id": w.WebhookName + "." + d.DeliveryId, "subscriptionId": w.WebhookName, "eventType": typeOf(payload),
		"eventData": body.Detail, "payloadType": "webhook", "payload": payload, "createdAt": d.Since.Time, "retryCount": d.Attempts,
		"status": status, "attempts": []any{}, "lastError": d.LastError}
	if d.DueAt != nil {
		out["nextRetryAt"] = d.DueAt.Time
	}
	return out
}

func retryEvent(x *request) (answer, error) {
	at := strings.LastIndexByte(x.at["event"], '.')
	if at < 0 {
		return answer{}, fault.DeliveryNotFound.New("the team has no event %s", name.Clip(x.at["event"]))
	}
	label, id := x.at["event"][:at], x.at["event"][at+1:]
	if _, err := do[ecrintypes.RedeliverWebhookResponse](x, "RedeliverWebhook", &ecrintypes.RedeliverWebhookRequest{WebhookName: label,
		DeliveryId: id}); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"success": true, "message": "Notification event queued for retry"})
}

// tryWebhook sends a test to a URL. The status is 0 if there was no answer.
func tryWebhook(x *request) (answer, error) {
	var in subscriptionInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	if in.WebhookURL == "" {
		return answer{}, missing("webhookUrl")
	}
	r, err := do[ecrintypes.TestWebhookResponse](x, "TryWebhookUrl", &ecrintypes.TryWebhookUrlRequest{WebhookUrl: in.WebhookURL,
		WebhookSecret: in.WebhookSecret})
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"success": r.Received, "statusCode": valueOf(r.Status), "durationMs": r.Milliseconds, "error": r.Error})
}

// noEmail says that no address gets anything.
func noEmail(*request) (answer, error) {
	return ok(map[string]any{"success": false, "message": "this server sends no email: make a subscription with a webhookUrl"})
}
