package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A preview of an entitlement counts the tags that customers could pull by it, and no entitlement is made; an entitlement for images that
// are there counts those that were there when it was made.
func TestPreviewOfAnEntitlement(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	call := func(operation string, members ...any) string {
		t.Helper()
		a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + operation, body: object(append([]any{"applicationSlug", "shop"},
			members...)...)})
		if a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", operation, a.Status, a.Body)
		}
		return a.Body
	}
	call("CreateApplication", "applicationName", "Shop")
	for _, repository := range []string{"shop/api", "shop/web", "other"} {
		s.repository(repository)
		for _, tag := range []string{"1.0.0", "2.0.0", "latest"} {
			s.image(repository, tag, tag)
		}
	}
	call("CreateRelease", "files", []map[string]string{{"path": "a.yaml", "content": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n" +
		"spec: {containers: [{name: a, image: " + home + ".dkr.ecr.us-east-1.amazonaws.com/shop/api:2.0.0}]}"}})
	call("PromoteRelease", "sequence", 1, "channelIds", []string{"stable"})
	var made struct {
		Customer    struct{ CustomerID string }
		Entitlement struct{ EntitlementID string }
	}
	if err := json.Unmarshal([]byte(call("CreateCustomer", "customerName", "Big", "expiresAt", 4e9)), &made); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(call("PutEntitlement", "customerId", made.Customer.CustomerID, "repositories", []string{"shop/web"},
		"presentOnly", true)), &made); err != nil {
		t.Fatal(err)
	}
	s.image("shop/web", "3.0.0", "3.0.0")
	for _, tt := range []struct {
		tags, repositories int
		members            []any
	}{
		{10, 3, []any{"repositories", []string{"*"}}},
		{3, 1, []any{"repositories", []string{"shop/a*"}}},
		{2, 2, []any{"repositories", []string{"shop/*"}, "imageTags", []string{"latest"}}},
		{3, 2, []any{"repositories", []string{"shop/*"}, "versions", ">=2"}},
		{1, 3, []any{"repositories", []string{"*"}, "channels", []string{"stable"}}},
		{0, 3, []any{"repositories", []string{"*"}, "channels", []string{"beta"}}},
		{0, 3, []any{"repositories", []string{"*"}, "releasedBefore", "2001-01-01T00:00:00Z"}},
		{10, 3, []any{"repositories", []string{"*"}, "releasedBefore", "license-end", "customerId", made.Customer.CustomerID}},
		{0, 0, []any{"repositories", []string{"none"}}},
		{3, 1, []any{"entitlementId", made.Entitlement.EntitlementID, "customerId", made.Customer.CustomerID}},
	} {
		var got struct {
			Tags, Repositories int
			More               bool
			Images             []any
		}
		body := call("PreviewEntitlement", tt.members...)
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Tags != tt.tags || got.Repositories != tt.repositories || got.More ||
			len(got.Images) != min(tt.tags, 20) {
			t.Errorf("%v: got %s, want %d tags of %d repositories", tt.members, body, tt.tags, tt.repositories)
		}
	}
	// What a preview looks at is bounded by the caller too: the names of three repositories, two that are reached, and their tags.
	for _, tt := range []struct {
		effort, spent, tags int
		more                bool
		pattern             string
	}{{100, 29, 7, false, "shop/*"}, {29, 29, 7, false, "shop/*"}, {28, 28, 6, true, "shop/*"}, {10, 1, 0, true, "shop/*"}, {100, 14, 3,
		false, "shop/a*"},
		{100, 15, 4, false, "shop/web"}, {100, 3, 0, false, "*none"}, {100, 0, 0, false, "shop/b"}} {
		var got struct {
			Tags, Effort int
			More         bool
		}
		body := call("PreviewEntitlement", "repositories", []string{tt.pattern}, "maxEffort", tt.effort)
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Tags != tt.tags || got.Effort != tt.spent || got.More != tt.more {
			t.Errorf("%s with an effort of %d: got %s, want %d tags for %d, more %t", tt.pattern, tt.effort, body, tt.tags, tt.spent, tt.more)
		}
	}
	for _, wrong := range [][]any{{"repositories", []string{"*"}, "maxEffort", 0}, {"repositories", []string{}}, {"entitlementId", "none"},
		{"repositories", []string{"*"}, "versions", "two"},
		{"repositories", []string{"*"}, "channels", []string{"none"}}, {"entitlementId", made.Entitlement.EntitlementID}} {
		a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + "PreviewEntitlement",
			body: object(append([]any{"applicationSlug", "shop"}, wrong...)...)})
		if a.Status != http.StatusBadRequest {
			t.Errorf("%v: got %d %s", wrong, a.Status, a.Body)
		}
	}
	if body := call("ListEntitlements", "customerId", made.Customer.CustomerID); strings.Count(body, "entitlementId") != 1 {
		t.Errorf("after previews: got %s", body)
	}
}

// Customers are found by the beginning of their name and by a channel, page by page, with their channels.
func TestCustomersByPrefixAndChannel(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	ask := func(operation string, members ...any) answer {
		t.Helper()
		return s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + operation,
			body: object(append([]any{"applicationSlug", "shop"}, members...)...)})
	}
	ask("CreateApplication", "applicationName", "Shop")
	for i, of := range []string{"stable", "beta", "stable", "beta", "stable"} {
		if a := ask("CreateCustomer", "customerName", fmt.Sprint([]string{"a", "b"}[i%2], i),
			"channels", []map[string]string{{"channelId": of}}); a.Status != 200 {
			t.Fatal(a.Body)
		}
	}
	for _, tt := range []struct {
		members []any
		want    string
	}{
		{nil, "a0 a2 a4 b1 b3"},
		{[]any{"namePrefix", "a"}, "a0 a2 a4"},
		{[]any{"namePrefix", "b3"}, "b3"},
		{[]any{"namePrefix", "c"}, ""},
		{[]any{"channelId", "beta"}, "b1 b3"},
		{[]any{"channelId", "stable", "namePrefix", "a2"}, "a2"},
		{[]any{"channelId", "stable", "namePrefix", "b"}, ""},
	} {
		var names []string
		token := ""
		for {
			var page struct {
				Customers []struct {
					CustomerName string
					Channels     []struct{ ChannelSlug string }
				}
				NextToken string
			}
			members := append([]any{"maxResults", 2}, tt.members...)
			if token != "" {
				members = append(members, "nextToken", token)
			}
			a := ask("ListCustomers", members...)
			if err := json.Unmarshal([]byte(a.Body), &page); err != nil || a.Status != 200 {
				t.Fatalf("%v: got %d %s", tt.members, a.Status, a.Body)
			}
			for _, c := range page.Customers {
				if names = append(names, c.CustomerName); len(c.Channels) != 1 || c.Channels[0].ChannelSlug == "" {
					t.Errorf("%s has the channels %v", c.CustomerName, c.Channels)
				}
			}
			if token = page.NextToken; token == "" {
				break
			}
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.members, got, tt.want)
		}
	}
	for _, wrong := range [][]any{{"namePrefix", "a", "customerName", "a0"}, {"channelId", "beta", "offset", 0}, {"channelId", "none"}} {
		if a := ask("ListCustomers", wrong...); a.Status != 400 {
			t.Errorf("%v: got %d %s", wrong, a.Status, a.Body)
		}
	}
}
