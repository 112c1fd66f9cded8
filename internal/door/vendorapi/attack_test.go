package vendorapi_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// Who is unknown, a customer with its licence among them, gets 401 from every path, and learns nothing of what there is.
func TestVendorsMustBeKnown(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	var made ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &made)
	id, secret, _ := strings.Cut(f.key, ":")
	for _, key := range []string{"", "made-up", made.LicenseId, "Basic " + made.LicenseId, id + ":" + secret + "x", id,
		"AKIAAAAAAAAAAAAAAAAA:x"} {
		for _, call := range [][2]string{{"GET", "/v3/apps"}, {"GET", "/v3/app/shop"}, {"GET", "/v3/nothing"},
			{"GET", "/v3/app/shop/customer/" + made.Customer.CustomerId + "/license-download"}, {"POST", "/v3/app/shop/release"}} {
			got := f.call(key, call[0], call[1], "{}")
			if got.status != http.StatusUnauthorized && got.status != http.StatusForbidden || strings.Contains(got.text, "shop") {
				t.Errorf("%s %s with the key %q: got %d %s, want 401", call[0], call[1], key, got.status, got.text)
			}
		}
	}
	if got := f.call("Bearer "+f.Root(t).Password(t), "GET", "/v3/apps", ""); got.status != 200 {
		t.Errorf("an authorization token: got %d %s, want 200", got.status, got.text)
	}
	if got := f.call(f.key, "GET", "/v3/nothing", ""); got.status != 404 {
		t.Errorf("a path that is not served: got %d, want 404", got.status)
	}
	if got := f.call(f.key, "DELETE", "/v3/apps", ""); got.status != 405 {
		t.Errorf("a method that is not served: got %d, want 405", got.status)
	}
}

// The door does nothing that the operations refuse: each request is decided with the permissions of its caller, for its own account.
func TestVendorsDoWhatTheirPoliciesAllow(t *testing.T) {
	t.Parallel()
	f := start(t)
	ids := f.app("shop")
	var made ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &made)
	other := f.NewAccount(t, "222233334444")
	foreign := other.KeyID + ":" + other.Secret
	for _, of := range []string{ids["app"], "shop"} {
		for _, call := range [][3]string{
			{"GET", "/v3/app/" + of, ""}, {"DELETE", "/v3/app/" + of, ""}, {"GET", "/v3/app/" + of + "/channels", ""},
			{"POST", "/v3/app/" + of + "/channel", `{"name":"x"}`}, {"GET", "/v3/app/" + of + "/customers", ""},
			{"GET", "/v3/app/" + of + "/release/1", ""}, {"GET", "/v3/customer/" + made.Customer.CustomerId, ""},
			{"PUT", "/v3/customer/" + made.Customer.CustomerId, `{"name":"mine"}`},
			{"POST", "/v3/customer/" + made.Customer.CustomerId + "/archive", ""},
			{"GET", "/v3/app/" + of + "/customer/" + made.Customer.CustomerId + "/license-download", ""},
		} {
			got := f.call(foreign, call[0], call[1], call[2])
			if got.status != http.StatusNotFound || strings.Contains(got.text, made.LicenseId) {
				t.Errorf("%s %s by another account: got %d %s, want 404", call[0], call[1], got.status, got.text)
			}
		}
	}
	if got := f.call(foreign, "GET", "/v3/apps", ""); got.status != 200 || strings.Contains(got.text, "shop") {
		t.Errorf("the applications of another account: got %d %s, want none", got.status, got.text)
	}
	got := f.call(f.key, "GET", "/v3/customer/"+made.Customer.CustomerId, "")
	if got.status != 200 || strings.Contains(got.text, made.LicenseId) {
		t.Errorf("a customer that is described: got %d %s, want no licence", got.status, got.text)
	}
}

// A release that is small when it is compressed, and one with paths that leave its folder, are refused.
func TestVendorsCannotSendBombs(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	fmt.Fprint(w, `[{"name":"a","path":"a","content":"`)
	for range 80 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(w, `","children":[]}]`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`[{"name":"d","path":"d","content":"","children":`, 100) + `[]` + strings.Repeat(`}]`, 100)
	for label, spec := range map[string][]byte{
		"bomb": bomb.Bytes(), "no gzip": []byte("x"), "no list": packed(t, "[1]"), "deep": packed(t, deep),
		"outside": packed(t, `[{"name":"a","path":"../a","content":"x","children":[]}]`),
		"twice":   packed(t, `[{"name":"a","path":"a","content":"x"},{"name":"a","path":"a","content":"y"}]`),
		"empty":   packed(t, `[]`),
	} {
		got := f.call(f.key, "POST", "/v3/app/shop/release", object(t, members{"spec_gzip": spec}))
		if got.status != http.StatusBadRequest {
			t.Errorf("%s: got %d %.300s, want 400", label, got.status, got.text)
		}
	}
	if got := f.call(f.key, "POST", "/v3/app/shop/channel", `{"name":"`+strings.Repeat("x", 2<<20)+`"}`); got.status != 413 {
		t.Errorf("a large body: got %d, want 413", got.status)
	}
}

// An escaped slash, two dots and other signs are parts of an id that does not exist: they lead to no other path.
func TestIDsOfVendorsAreNoPaths(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	for _, path := range []string{"/v3/app/shop%2Fchannels", "/v3/app%2Fshop", "/v3/app/other%2F..%2Fshop", "/v3/app/..", "/v3/app/shop%00",
		"/v3/app/shop%2F", "/v3/app/%2e%2e/apps", "/%76%33/apps", "/v3//apps", "/v3/apps/", "/vendor/v3/../../v3/apps",
		"/v3/app/shop/channel/stable%2F..%2Fbeta", "/v3/external_registry/logs%2F", "/v3/customer/x%2Farchive",
		"/v3/app/shop/customer/..%2F..%2Fother/license-download", "/v3/notification_subscription/a%2Fevents"} {
		if got := f.call(f.key, "GET", path, ""); got.status != 404 {
			t.Errorf("GET %s: got %d %s, want 404", path, got.status, got.text)
		}
	}
	if got := f.call(f.key, "GET", "/v3/app/sh%6Fp/channels", ""); got.status != 200 {
		t.Errorf("an escaped letter: got %d %s, want 200", got.status, got.text)
	}
	if got := f.call("BasicBearer "+f.Root(t).Password(t), "GET", "/v3/apps", ""); got.status != 401 && got.status != 403 {
		t.Errorf("another scheme: got %d, want 401", got.status)
	}
}

// Members of a wrong type are refused, also the flags of customers, and requests that are repeated say that they were.
func TestVendorsAreToldAboutWrongMembers(t *testing.T) {
	t.Parallel()
	f := start(t)
	ids := f.app("shop")
	made := f.call(f.key, "POST", "/v3/customer", `{"name":"Big","app_id":"shop","is_airgap_enabled":true}`)
	if made.status != 201 {
		t.Fatalf("a customer: got %d %s", made.status, made.text)
	}
	customer := "/v3/customer/" + made.body.(members)["customer"].(members)["id"].(string)
	for _, c := range []recorded{
		{"PUT", customer, `{"name":"Big","is_airgap_enabled":"false"}`, 400, nil},
		{"PUT", customer, `{"name":"Big","is_airgap_enabled":0}`, 400, nil},
		{"PUT", customer, `{"name":7}`, 400, nil},
		{"PUT", customer, `[]`, 400, nil},
		{"PUT", customer, `{"expires_at":"tomorrow"}`, 400, nil},
		{"PUT", customer, `{"channels":"stable"}`, 400, nil},
		{"PUT", customer, `{"channels":[{"channel_id":"none"}]}`, 404, nil},
		{"PUT", customer, `{"is_airgap_enabled":null,"unheard":1}`, 200, members{"customer": members{"airgap": true}}},
		{"PUT", customer, `{"is_airgap_enabled":false}`, 200, members{"customer": members{"airgap": false}}},
		{"POST", "/v3/customer", `null`, 404, nil},
		{"POST", "/v3/app", `null`, 400, nil},
		{"POST", "/v3/app", `{"name":["x"]}`, 400, nil},
		{"POST", "/v3/app", `{"name":"shop"}`, 409, nil},
		{"POST", "/v3/app/shop/channel", `{"name":"Stable"}`, 409, nil},
		{"POST", "/v3/app/shop/release", `{"spec_gzip":7}`, 400, nil},
		{"POST", "/v3/app/shop/release", `{}`, 400, nil},
		{"POST", "/v3/app/shop/release/x/promote", `{"channelIds":["` + ids["stable"] + `"]}`, 404, nil},
		{"POST", "/v3/app/shop/release/1/promote", `{"channelIds":"` + ids["stable"] + `"}`, 400, nil},
		{"POST", "/v3/customers/search", `{"app_id":"shop","page_size":-1}`, 400, nil},
		{"POST", "/v3/customers/search", `{"app_id":"shop","page_size":1e99}`, 400, nil},
		{"GET", "/v3/app/shop/customers?currentPage=-1", ``, 400, nil},
		{"GET", "/v3/app/shop/releases?pageSize=x", ``, 400, nil},
		{"POST", "/v3/external_registry", `{"endpoint":{}}`, 400, nil},
		{"POST", customer + "/archive", ``, 204, nil},
		{"POST", customer + "/archive", ``, 204, nil},
		{"DELETE", "/v3/app/shop/channel/" + ids["beta"], ``, 200, nil},
		{"DELETE", "/v3/app/shop/channel/" + ids["beta"], ``, 404, nil},
	} {
		got := f.call(f.key, c.method, c.path, c.body)
		if s := differs("the answer", c.want, got.body); got.status != c.status || c.want != nil && s != "" {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.path, c.body, got.status, got.text, c.status, s)
		}
	}
}

// Changes of different flags and of different values of one customer at the same time are all made.
func TestChangesOfFlagsAreNotLost(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	made := f.call(f.key, "POST", "/v3/customer", `{"name":"Big","app_id":"shop","is_gitops_supported":true}`)
	if made.status != 201 {
		t.Fatalf("a customer: got %d %s", made.status, made.text)
	}
	customer := "/v3/customer/" + made.body.(members)["customer"].(members)["id"].(string)
	want := members{"airgap": true, "isGitopsSupported": false, "isSnapshotSupported": true, "isKotsInstallEnabled": true,
		"isGeoaxisSupported": true, "isSupportBundleUploadEnabled": true}
	var work sync.WaitGroup
	for i, change := range []string{`{"is_airgap_enabled":true}`, `{"is_gitops_supported":false}`, `{"is_snapshot_supported":true}`,
		`{"is_kots_install_enabled":true}`, `{"is_geoaxis_supported":true}`, `{"is_support_bundle_upload_enabled":true}`,
		`{"entitlementValues":[{"name":"seats","value":"7"}]}`, `{"entitlementValues":[{"name":"tier","value":"gold"}]}`} {
		work.Go(func() {
			if got := f.call(f.key, []string{"PATCH", "PUT"}[i%2], customer, change); got.status != 200 {
				t.Errorf("%s: got %d %s", change, got.status, got.text)
			}
		})
	}
	work.Wait()
	got := f.call(f.key, "GET", customer, "")
	if s := differs("the answer", members{"customer": want}, got.body); s != "" {
		t.Errorf("after changes of different flags at the same time: %s in %s", s, got.text)
	}
	for _, value := range []string{`"name":"seats","title":"seats","value":"7","valueType":"String"`, `"name":"tier"`} {
		if !strings.Contains(got.text, value) {
			t.Errorf("after changes of different values at the same time: got %s, want %s", got.text, value)
		}
	}
}

// A value keeps the type of its field, which the vendor has chosen; one that is none of the type is refused.
func TestValuesKeepTheTypeOfTheirField(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	var made ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big",
		Fields: []ecrintypes.LicenseField{{Name: "seats", Title: "Seats", Value: "7", ValueType: ecrintypes.FieldTypeInteger}}}, &made)
	customer := "/v3/customer/" + made.Customer.CustomerId
	for _, c := range []recorded{
		{"PUT", customer, `{"entitlementValues":[{"name":"seats","value":"8"}]}`, 200, nil},
		{"PUT", customer, `{"entitlementValues":[{"name":"seats","value":"many"}]}`, 400, nil},
		{"PUT", customer, `{"entitlementValues":[{"name":"expires_at","value":"x"}]}`, 400, nil},
	} {
		if got := f.call(f.key, c.method, c.path, c.body); got.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.body, got.status, got.text, c.status)
		}
	}
	if got := f.call(f.key, "GET", customer, ""); !strings.Contains(got.text, `"title":"Seats","value":"8","valueType":"Integer"`) {
		t.Errorf("the field after the changes: got %s, want the integer 8 with its title", got.text)
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`{"name":"f%d","value":"x"}`, i))
	}
	if got := f.call(f.key, "PUT", customer, `{"entitlementValues":[`+strings.Join(many, ",")+`]}`); got.status != 400 {
		t.Errorf("more than 100 fields: got %d %.300s, want 400", got.status, got.text)
	}
}
