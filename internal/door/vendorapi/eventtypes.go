package vendorapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// eventConfig is a type of events to which somebody subscribes.
type eventConfig struct {
	Type    string         `json:"eventType"`
	Filters map[string]any `json:"filters"`
}

// eventTypes are the types of events: what tools call them, and the action of the event.
var eventTypes = []struct {
	key, title, text, category string
	action                     event.VendorAction
}{
	{"release.promoted", "Release Promoted", "A release was promoted to a channel.", "Release", event.ReleasePromoted},
	{"release.demoted", "Release Demoted", "A channel does not offer a release any more.", "Release", event.ReleaseDemoted},
	{"release.undemoted", "Release Un-demoted", "A channel offers a demoted release again.", "Release", event.ReleaseRestored},
	{"customer.created", "Customer Created", "A customer was created.", "Customer", event.CustomerCreated},
	{"customer.updated", "Customer Updated", "A customer was changed.", "Customer", event.CustomerUpdated},
	{"customer.archived", "Customer Archived", "A customer was archived.", "Customer", event.CustomerArchived},
	{"license.expiring", "License Expiring", "The license of a customer ends soon.", "Customer", event.LicenseExpiring},
	{"license.expired", "License Expired", "The license of a customer has ended.", "Customer", event.LicenseExpired},
	{"instance.created", "Instance Created", "An installation was seen for the first time.", "Instance", event.InstanceCreated},
	{"instance.ready", "Instance Ready", "An installation says that it is ready.", "Instance", event.InstanceReady},
	{"instance.behind", "Instance Behind", "An installation does not run the newest version that it is offered.", "Instance",
		event.InstanceBehind},
	{"pull.denied", "Pull Denied", "A pull of a customer was denied.", "Registry", event.DeniedPullAction},
	{"egress.threshold", "Egress Threshold", "What customers were sent in a month has reached a threshold.", "Registry", event.EgressAction},
	{"instance.inactive", "Instance Inactive", "An installation was not seen for long.", "Instance", event.InstanceInactive},
}

// filters are the filters of subscriptions, and the members of events that they name.
var filters = map[string]string{"appId": "application", "channelId": "channel", "customerId": "customer-id"}

const maxConfigs = 50 // of a subscription

// pattern returns the pattern of the events to which configurations subscribe. Filters name applications and channels by id or slug.
//
// Errors: fault.InvalidParameter, fault.ObjectNotFound.
func (x *request) pattern(configs []eventConfig) (string, error) {
	if len(configs) == 0 || len(configs) > maxConfigs {
		return "", fault.InvalidParameter.New("eventConfigs must have 1 to %d elements", maxConfigs)
	}
	var each []map[string][]string
	for _, c := range configs {
		one := map[string][]string{}
		for _, t := range eventTypes {
			if t.key == c.Type {
				one["action-type"] = []string{string(t.action)}
			}
		}
		if len(one) == 0 {
			return "", fault.InvalidParameter.New("eventType %s is unknown: GET notification_event_types lists them", name.Clip(c.Type))
		}
		for _, k := range slices.Sorted(maps.Keys(c.Filters)) {
			member := filters[k]
			if member == "" {
				return "", fault.InvalidParameter.New("the filter %s is unknown: there are appId, channelId and customerId", name.Clip(k))
			}
			var err error
			if one[member], err = x.filter(k, c.Filters); err != nil {
				return "", err
			}
		}
		each = append(each, one)
	}
	detail := map[string]any{"action-type": []string{}}
	if all := each[0]["action-type"]; !slices.ContainsFunc(each, func(m map[string][]string) bool { return len(m) > 1 }) {
		for _, one := range each[1:] {
			all = append(all, one["action-type"]...)
		}
		slices.Sort(all)
		detail["action-type"] = slices.Compact(all)
	} else if len(each) == 1 {
		detail = map[string]any{}
		for k, v := range each[0] {
			detail[k] = v
		}
	} else {
		detail = map[string]any{"$or": each}
	}
	text, err := json.Marshal(map[string]any{"source": []string{string(event.SourceEcrin)}, "detail": detail})
	return string(text), err
}

// filter returns the values of a filter, a text or a list, as events have them.
func (x *request) filter(key string, all map[string]any) (out []string, err error) {
	values, isList := all[key].([]any)
	if !isList {
		values = []any{all[key]}
	}
	for _, v := range values {
		text, isText := v.(string)
		if !isText || text == "" {
			return nil, fault.InvalidParameter.New("the filter %s must be a text or a list of texts", key)
		}
		switch key {
		case "appId":
			text, err = x.names.SlugOf(x.r.Context(), x.req.By.Account, text)
		case "channelId":
			text, err = x.channelSlug(text, all["appId"])
		}
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return nil, fault.InvalidParameter.New("the filter %s must have a value", key)
	}
	return out, nil
}

// channelSlug returns the slug of a channel of an application.
func (x *request) channelSlug(channel string, app any) (string, error) {
	of, isText := app.(string)
	if !isText {
		return "", fault.InvalidParameter.New("the filter channelId must be given together with appId, the application of the channel")
	}
	slug, err := x.names.SlugOf(x.r.Context(), x.req.By.Account, of)
	if err != nil {
		return "", err
	}
	all, err := x.channels(slug)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.ChannelId == channel || c.ChannelSlug == channel {
			return c.ChannelSlug, nil
		}
	}
	return "", fault.ObjectNotFound.New("the application has no channel %s", name.Clip(channel))
}

// typeOf returns the type of an event; for those that are not of vendors its own.
func typeOf(payload []byte) string {
	var body struct {
		Type   string `json:"detail-type"`
		Detail struct {
			Action string `json:"action-type"`
		} `json:"detail"`
	}
	if json.Unmarshal(payload, &body) != nil {
		return ""
	}
	for _, t := range eventTypes {
		if string(t.action) == body.Detail.Action && strings.HasPrefix(body.Type, "Ecrin ") {
			return t.key
		}
	}
	return body.Type
}

// listEventTypes lists the types of events that have a text in their keys or titles.
func listEventTypes(x *request) (answer, error) {
	q := x.r.URL.Query()
	limit, err := number("limit", q.Get("limit"), len(eventTypes), 1000)
	if err != nil {
		return answer{}, err
	}
	search, out := strings.ToLower(q.Get("q")), []map[string]any{}
	for _, t := range eventTypes {
		if !strings.Contains(t.key, search) && !strings.Contains(strings.ToLower(t.title), search) {
			continue
		}
		out = append(out, map[string]any{"key": t.key, "displayName": t.title, "description": t.text, "category": t.category,
			"filters": []map[string]any{{"key": "appId", "label": "Application", "type": "text", "required": false},
				{"key": "channelId", "label": "Channel", "type": "text", "required": false},
				{"key": "customerId", "label": "Customer", "type": "text", "required": false}}})
	}
	total := len(out)
	return ok(map[string]any{"eventTypes": out[:min(total, limit)], "total": total})
}
