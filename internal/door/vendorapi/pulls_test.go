package vendorapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// The log of an external registry has the requests for images of its host through the proxy, of all applications that the caller may read.
func TestVendorsReadTheLogOfARegistry(t *testing.T) {
	t.Parallel()
	f := start(t)
	shop, other := f.app("shop")["app"], f.app("other")["app"]
	var big ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &big)
	for _, r := range [][2]string{{"registry.example", "mine"}, {"index.docker.io", "hub"}, {"registry.example:5000", "port"},
		{"listed.example", "listed"}} {
		if got := f.call(f.key, "POST", "/v3/external_registry", fmt.Sprintf(`{"provider":"other","endpoint":%q,"slug":%q,"username":"u",`+
			`"password":"test-secret","skipValidation":true}`, r[0], r[1])); got.status != 201 {
			t.Fatalf("adding a registry: got %d %s", got.status, got.text)
		}
	}
	at := time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Millisecond)
	var lines []meta.PullLine
	add := func(application, kind, action, image, reference string, status int, code string) *meta.PullLine {
		lines = append(lines, meta.PullLine{Application: application, Customer: big.Customer.CustomerId,
			At: at.Add(time.Duration(len(lines)) * time.Minute), Request: fmt.Sprint(len(lines)), Kind: kind, Action: action, Image: image,
			Reference: reference, Status: status, Code: code})
		return &lines[len(lines)-1]
	}
	add(shop, "PROXY", "HEAD", "registry.example/a/b", "1", 200, "")
	add(shop, "PROXY", "MANIFEST", "registry.example/a/b", "1", 200, "")
	add(other, "PROXY", "BLOB", "registry.example/a/c", "sha256:abc", 206, "")
	failed := add(shop, "PROXY", "MANIFEST", "registry.example/a/d", "2", 502, "UPSTREAM")
	failed.UpstreamStatus, failed.UpstreamCode = 403, "DENIED"
	refused := add(shop, "PROXY", "AUTH", "mine/a/b", "", 401, "UNAUTHORIZED")
	refused.Customer = ""
	add(shop, "PROXY", "MANIFEST", "docker.io/library/redis", "7", 200, "")
	add(shop, "PROXY", "MANIFEST", "registry.example:5000/a/b", "1", 200, "INCOMPLETE")
	add(shop, "REGISTRY", "MANIFEST", "mine/a/b", "1", 200, "")
	add(shop, "CHART", "MANIFEST", "mine/a/b", "1", 200, "")
	add(shop, "PROXY", "LIST", "listed.example/a", "", 200, "")
	add(shop, "PROXY", "WRITE", "listed.example/a", "1", 403, "DENIED")
	add(shop, "PROXY", "WRITE", "listed.example/a", "", 403, "DENIED")
	if err := f.Meta().PutPullLines(t.Context(), lines); err != nil {
		t.Fatal(err)
	}
	time1 := func(i int) string { return lines[i].At.Format(time.RFC3339Nano) }
	mine := []any{
		members{"createdAt": time1(4), "action": "auth", "statusCode": 401.0, "isSuccess": false, "image": "mine/a/b", "appId": shop,
			"customerId": "", "customerName": ""},
		members{"createdAt": time1(3), "action": "manifest", "statusCode": 403.0, "isSuccess": false, "image": "registry.example/a/d", "tag": "2",
			"customerName": "Big", "error": "UPSTREAM"},
		members{"createdAt": time1(2), "action": "blob", "statusCode": nil, "isSuccess": true, "image": "registry.example/a/c", "appId": other},
		members{"createdAt": time1(1), "action": "manifest", "statusCode": nil, "isSuccess": true, "image": "registry.example/a/b", "tag": "1"},
		members{"createdAt": time1(0), "action": "HEAD", "statusCode": nil, "isSuccess": true, "image": "registry.example/a/b"},
	}
	for path, want := range map[string][]any{
		"?endpoint=mine": mine, "?endpoint=registry.example": mine, "?endpoint=https://registry.example/": mine,
		"?endpoint=mine&pageSize=2": mine[:2], "?endpoint=mine&app=other": mine[2:3], "?endpoint=mine&appId=" + other: mine[2:3],
		"?endpoint=hub":  {members{"image": "docker.io/library/redis", "isSuccess": true}},
		"?endpoint=port": {members{"image": "registry.example:5000/a/b", "isSuccess": false, "statusCode": 200.0, "error": "INCOMPLETE"}},
		"?app=other":     mine[2:3],
		"?endpoint=listed": {members{"action": "blob", "isSuccess": false}, members{"action": "manifest", "isSuccess": false},
			members{"action": "manifest", "isSuccess": true}},
	} {
		got := f.call(f.key, "GET", "/v3/external_registry/logs"+path, "")
		if s := differs("the answer", members{"logs": want}, got.body); got.status != 200 || s != "" {
			t.Errorf("%s: got %d, %s in %s", path, got.status, s, got.text)
		}
	}
	if got := f.call(f.key, "GET", "/v3/external_registry/logs", ""); strings.Count(got.text, "createdAt") != 10 {
		t.Errorf("the logs of all registries: got %s, want 10 lines", got.text)
	}
	for path, want := range map[string]int{"?endpoint=nothing": 404, "?app=nothing": 404, "?pageSize=1001": 400} {
		if got := f.call(f.key, "GET", "/v3/external_registry/logs"+path, ""); got.status != want {
			t.Errorf("%s: got %d %s, want %d", path, got.status, got.text, want)
		}
	}
	for slug, want := range map[string]any{"mine": time1(2), "hub": time1(5), "port": nil} {
		got := f.call(f.key, "GET", "/v3/external_registry/"+slug, "")
		if s := differs("the answer", members{"external_registry": members{"slug": slug, "lastUsedAt": want}}, got.body); s != "" {
			t.Errorf("the registry %s: %s", slug, s)
		}
	}
	stranger := f.NewAccount(t, "222233334444")
	if got := f.call(stranger.KeyID+":"+stranger.Secret, "GET", "/v3/external_registry/logs", ""); got.status != 200 ||
		strings.Contains(got.text, "createdAt") {
		t.Errorf("another account: got %d %s, want no lines", got.status, got.text)
	}
}
