package vendorapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// withReceiver starts a server that may send to a receiver.
func withReceiver(t *testing.T) (*fixture, *hooktest.Receiver) {
	t.Helper()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow, c.EgressCA = []string{"127.0.0.0/8"}, r.CA
	}})
	a := s.Root(t)
	return &fixture{Server: s, t: t, key: a.KeyID + ":" + a.Secret}, r
}

// A subscription gets the events of its types and filters, signed with the secret of the request. What fails can be sent again.
func TestSubscriptionsGetTheirEvents(t *testing.T) {
	t.Parallel()
	f, r := withReceiver(t)
	ids, other := f.app("shop"), f.app("other")
	must := func(method, path, body string, want int) reply {
		t.Helper()
		got := f.call(f.key, method, path, body)
		if got.status != want {
			t.Fatalf("%s %s: got %d %s, want %d", method, path, got.status, got.text, want)
		}
		return got
	}
	made := must("POST", "/v3/notification_subscription", fmt.Sprintf(`{"name":"x","isEnabled":true,"webhookUrl":%q,
		"webhookSecret":"0123456789abcdef","eventConfigs":[{"eventType":"release.promoted","filters":{"appId":%q,"channelId":%q}},{"eventType":"customer.created","filters":{}}]}`,
		r.URL+"/path", ids["app"], ids["stable"]), 201)
	id := made.body.(members)["id"].(string)
	spec := object(t, members{"spec_gzip": packed(t, files)})
	for app, channels := range map[string]map[string]string{"shop": ids, "other": other} {
		must("POST", "/v3/app/"+app+"/release", spec, 201)
		for _, channel := range []string{"beta", "stable"} {
			must("POST", "/v3/app/"+app+"/release/1/promote", fmt.Sprintf(`{"versionLabel":"1.0.0","channelIds":[%q]}`, channels[channel]), 200)
		}
	}
	must("POST", "/v3/customer", `{"name":"Big","app_id":"`+other["app"]+`"}`, 201)
	r.Wait(t, "the two events", func(all []hooktest.Got) bool { return len(all) == 2 })
	for _, got := range r.All() {
		shop := strings.Contains(got.Body, `"application":"shop"`) && strings.Contains(got.Body, `"channel":"stable"`)
		if !shop && got.Action != "CUSTOMER_CREATED" {
			t.Errorf("got the event %s, want those of the filters", got.Body)
		}
		if err := event.Verify(got.Signature, []byte(got.Body), got.At, time.Minute, secret.New("0123456789abcdef")); err != nil {
			t.Errorf("the signature: %v", err)
		}
	}
	must("POST", "/v3/notification_event/"+id+".1/retry", "", 404)
	r.Answer(func(hooktest.Got) int { return http.StatusTeapot })
	must("POST", "/v3/customer", `{"name":"Small","app_id":"`+ids["app"]+`"}`, 201)
	for end := time.Now().Add(30 * time.Second); ; {
		got := must("GET", "/v3/notification_events?status=pending&subscription_id="+id, "", 200)
		if strings.Contains(got.text, `"totalCount":1`) {
			if s := differs("the answer", members{"events": []any{members{"eventType": "customer.created", "subscriptionId": id,
				"payloadType": "webhook", "retryCount": like{1.0}, "status": "pending", "eventData": members{"customer-name": "Small"},
				"payload": members{"source": "ecrin"}}}}, got.body); s != "" {
				t.Error(s)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("an event that fails is not listed: %s", got.text)
		}
	}
}

// What webhooks do not have is refused, and other accounts see nothing. The URL is shown to who may see it.
func TestSubscriptionsAreRefused(t *testing.T) {
	t.Parallel()
	f, _ := withReceiver(t)
	f.app("shop")
	for label, body := range map[string]string{
		"http":          strings.Replace(hook, "https:", "http:", 1),
		"no url":        `{"eventConfigs":[{"eventType":"release.promoted"}]}`,
		"no type":       `{"webhookUrl":"https://example.com/","eventConfigs":[]}`,
		"unknown type":  `{"webhookUrl":"https://example.com/","eventConfigs":[{"eventType":"release.eaten"}]}`,
		"filter":        strings.Replace(hook, `{}`, `{"weather":"good"}`, 1),
		"filter value":  strings.Replace(hook, `{}`, `{"appId":{"a":1}}`, 1),
		"empty filter":  strings.Replace(hook, `{}`, `{"appId":[]}`, 1),
		"email":         `{"emailAddress":"a@example.com","eventConfigs":[{"eventType":"release.promoted"}]}`,
		"headers":       strings.Replace(hook, `"isEnabled"`, `"customHeaders":[{"name":"a","value":"b"}],"isEnabled"`, 1),
		"short secret":  strings.Replace(hook, `"isEnabled"`, `"webhookSecret":"x","isEnabled"`, 1),
		"long name":     strings.Replace(hook, "Release", strings.Repeat("x", 300), 1),
		"wrong members": `{"eventConfigs":"x"}`,
	} {
		if got := f.call(f.key, "POST", "/v3/notification_subscription", body); got.status != 400 {
			t.Errorf("%s: got %d %s, want 400", label, got.status, got.text)
		}
	}
	made := f.call(f.key, "POST", "/v3/notification_subscription", hook)
	other := f.NewAccount(t, "222233334444")
	stranger := other.KeyID + ":" + other.Secret
	path := "/v3/notification_subscription/" + made.body.(members)["id"].(string)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if got := f.call(stranger, method, path, "{}"); got.status != 404 {
			t.Errorf("%s by another account: got %d %s, want 404", method, got.status, got.text)
		}
	}
	if got := f.call(stranger, "GET", "/v3/notification_subscriptions", ""); strings.Contains(got.text, "example.com") {
		t.Errorf("the subscriptions of another account: got %s, want none", got.text)
	}
	if got := f.call(f.key, "POST", "/v3/notification_webhook/test", `{"webhookUrl":"https://169.254.169.254/latest"}`); got.status != 200 ||
		!strings.Contains(got.text, `"success":false`) || !strings.Contains(got.text, `"statusCode":0`) {
		t.Errorf("a test of an address of the network: got %d %s, want no answer from there", got.status, got.text)
	}
}
