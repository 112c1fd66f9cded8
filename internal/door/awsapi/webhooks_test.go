package awsapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Webhooks and events belong to a registry: policies decide by their ARNs, and neither another account nor another region has them.
func TestWebhooksNeedPermission(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	stranger := s.account(otherAccount)
	call := func(key aws.Credentials, operation, body string) answer {
		t.Helper()
		return s.send(raw{key: key, target: ecrinTarget + operation, service: "ecrin", body: body})
	}
	want := func(what string, a answer, status int, text string) {
		t.Helper()
		if a.Status != status || !strings.Contains(a.Body, text) {
			t.Errorf("%s: got %s, want %d with %q", what, a, status, text)
		}
	}
	const url = `"webhookUrl":"https://receiver.invalid/hook"`
	ci := s.user("ci", rule("Allow", "Action", "arn:aws:ecrin:us-east-1:"+home+":webhook/ci-*", "ecrin:*"))
	reader := s.user("reader", rule("Allow", "Action", "arn:aws:ecrin:us-east-1:"+home+":event/*", "ecrin:ListEvents"))
	nobody := s.user("nobody", allow("ecr:*"))

	want("a name of the policy", call(ci, "CreateWebhook", `{"webhookName":"ci-one",`+url+`}`), 200, `"secret":"whsec_`)
	want("another name", call(ci, "CreateWebhook", `{"webhookName":"other",`+url+`}`), 400, "AccessDenied")
	want("the same name", call(ci, "CreateWebhook", `{"webhookName":"ci-one",`+url+`}`), 400, "WebhookAlreadyExistsException")
	want("events without permission", call(ci, "ListEvents", `{}`), 400, "AccessDenied")
	want("events", call(reader, "ListEvents", `{"position":"1"}`), 200, `"events":`)
	for _, operation := range []string{"UpdateWebhook", "DeleteWebhook", "TestWebhook", "ListWebhookDeliveries", "GetWebhookUrl"} {
		want(operation+" of nobody", call(nobody, operation, `{"webhookName":"ci-one"}`), 400, "AccessDenied")
		of := `{"webhookName":"ci-one","registryId":"` + home + `"}`
		want(operation+" of another account", call(stranger, operation, of), 400, "AccessDenied")
		want(operation+" of the same name", call(stranger, operation, `{"webhookName":"ci-one"}`), 400, "WebhookNotFoundException")
	}
	want("events of another account", call(stranger, "ListEvents", `{"registryId":"`+home+`"}`), 400, "AccessDenied")
	want("no id", call(ci, "RedeliverWebhook", `{"webhookName":"ci-one","deliveryId":"7"}`), 400, "DeliveryNotFoundException")
	want("a wrong pattern", call(ci, "UpdateWebhook", `{"webhookName":"ci-one","pattern":"{\"detail\":{\"image-tag\":\"1\"}}"}`), 400,
		"detail.image-tag")
	want("a position and a time", call(reader, "ListEvents", `{"position":"1","since":1}`), 400, "InvalidParameterException")

	for n := 2; ; n++ {
		a := call(ci, "CreateWebhook", fmt.Sprintf(`{"webhookName":"ci-%d",`+url+`}`, n))
		if n <= 20 {
			want("a webhook within the limit", a, 200, "")
			continue
		}
		want("a webhook beyond the limit", a, 400, "LimitExceededException")
		break
	}
	names, token := []string{}, ""
	for {
		a := call(s.key, "ListWebhooks", `{"maxResults":7`+token+`}`)
		var page struct {
			Webhooks  []struct{ WebhookName string }
			NextToken string
		}
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
			t.Fatal(err)
		}
		for _, w := range page.Webhooks {
			names = append(names, w.WebhookName)
		}
		if page.NextToken == "" {
			break
		}
		token = `,"nextToken":"` + page.NextToken + `"`
	}
	if len(names) != 20 {
		t.Errorf("the webhooks by pages: got %q, want 20", names)
	}
}
