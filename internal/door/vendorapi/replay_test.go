package vendorapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// fixture is a server with the root user of its account.
type fixture struct {
	*apptest.Server
	t   *testing.T
	key string // of the root user, as the header of requests has it
}

func start(t *testing.T) *fixture {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	a := s.Root(t)
	return &fixture{Server: s, t: t, key: a.KeyID + ":" + a.Secret}
}

// reply is the answer of one call.
type reply struct {
	status int
	header http.Header
	text   string
	body   any // nil for an empty answer
}

// call makes a request as the public client of vendors does.
func (f *fixture) call(key, method, path, body string) reply {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := f.HTTP.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if len(text) > 0 && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &out.body); err != nil {
			f.t.Fatalf("%s %s: the answer %s is not JSON: %v", method, path, text, err)
		}
	}
	return out
}

// app makes an application, and returns the ids of its channels by their slugs.
func (f *fixture) app(slug string) map[string]string {
	f.t.Helper()
	var made ecrintypes.VendorApplicationResponse
	f.Operator(f.t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: slug, ApplicationSlug: slug}, &made)
	ids := map[string]string{"app": made.Application.ApplicationId}
	for _, c := range made.Channels {
		ids[c.ChannelSlug] = c.ChannelId
	}
	return ids
}

// packed returns a text in the form of spec_gzip.
func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func object(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The matchers of expected values. Any other value must be equal.
type (
	like    struct{ of any }    // a value of the same type
	term    struct{ re string } // a text of a form
	eachOf  struct{ of any }    // a list with one element at least, each of which matches
	isEmpty struct{}            // null, or an empty list
)

// differs returns how a value differs from what is expected; "" if it matches. Members that are not expected may be there.
func differs(at string, want, got any) string {
	switch w := want.(type) {
	case like:
		if reflect.TypeOf(w.of) != reflect.TypeOf(got) {
			return fmt.Sprintf("%s is %T %v, want a %T", at, got, got, w.of)
		}
	case term:
		if s, ok := got.(string); !ok || !regexp.MustCompile(w.re).MatchString(s) {
			return fmt.Sprintf("%s is %v, want a text like %s", at, got, w.re)
		}
	case eachOf:
		all, ok := got.([]any)
		if !ok || len(all) == 0 {
			return fmt.Sprintf("%s is %v, want a list with elements", at, got)
		}
		for i, one := range all {
			if s := differs(fmt.Sprintf("%s[%d]", at, i), w.of, one); s != "" {
				return s
			}
		}
	case isEmpty:
		if all, ok := got.([]any); got != nil && (!ok || len(all) > 0) {
			return fmt.Sprintf("%s is %v, want nothing", at, got)
		}
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for k, v := range w {
			one, there := m[k]
			if !there {
				return fmt.Sprintf("%s.%s is missing", at, k)
			}
			if s := differs(at+"."+k, v, one); s != "" {
				return s
			}
		}
	case []any:
		all, ok := got.([]any)
		if !ok || len(all) != len(w) {
			return fmt.Sprintf("%s is %v, want %d elements", at, got, len(w))
		}
		for i := range w {
			if s := differs(fmt.Sprintf("%s[%d]", at, i), w[i], all[i]); s != "" {
				return s
			}
		}
	default:
		if !reflect.DeepEqual(want, got) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
	}
	return ""
}

type members = map[string]any

// recorded is one call of the public client of vendors, with what it expects. $NAME in paths and bodies is an id of the fixture.
type recorded struct {
	method, path, body string
	status             int
	want               any // nil for any answer
}

const ksuid = `^[a-zA-Z0-9]{27}$`

// files is a list of files in the form in which clients send it.
const files = `[{"name":"app.yaml","path":"app.yaml","content":"---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: nginx\nspec:\n` +
	`  template:\n    spec:\n      containers:\n      - name: nginx\n        image: nginx\n","children":[]},` +
	`{"name":"service.yaml","path":"service.yaml","content":"apiVersion: v1\nkind: Service\nmetadata:\n  name: nginx\n","children":[]}]`

// hook is the body of a request for a subscription.
const hook = `{"name":"Release webhook","isEnabled":true,"webhookUrl":"https://example.com/hook",` +
	`"eventConfigs":[{"eventType":"release.promoted","filters":{}}]}`

// hooked is the subscription of hook in answers.
func hooked(enabled bool) members {
	return members{"id": like{""}, "userId": like{""}, "teamId": like{""}, "name": "Release webhook", "isEnabled": enabled,
		"webhookUrl": "https://example.com/hook", "eventConfigs": []any{members{"eventType": "release.promoted", "filters": members{}}}}
}

// added is the call that adds an external registry without a test of it.
func added(provider, endpoint, slug, authType, username string) recorded {
	shown := slug
	if shown == "" {
		shown = endpoint
	}
	return recorded{"POST", "/v3/external_registry", fmt.Sprintf(`{"provider":%q,"endpoint":%q,"slug":%q,"authType":%q,"username":%q,`+
		`"password":"test-secret","skipValidation":true}`, provider, endpoint, slug, authType, username), 201, members{
		"external_registry": members{"provider": provider, "endpoint": endpoint, "slug": shown, "authType": authType}}}
}

// The calls that are recorded of the public client of vendors are answered with the paths, methods, statuses and types of members that it
// expects.
func TestRecordedCallsOfVendors(t *testing.T) {
	t.Parallel()
	spec := object(t, members{"spec_gzip": packed(t, files)})
	for label, calls := range map[string][]recorded{
		"create an application": {{"POST", "/v3/app", `{"name":"app-create-1"}`, 201, members{"app": members{
			"channels": eachOf{members{}}, "created": term{`^\d{4}-\d\d-\d\dT`}, "description": "", "id": term{ksuid}, "isArchived": false,
			"isKotsApp": true, "name": "app-create-1", "renamedAt": nil, "slug": "app-create-1", "teamId": like{""}}}}},
		"list applications": {{"GET", "/v3/apps?excludeChannels=false", "", 200, members{"apps": eachOf{members{"name": like{""},
			"slug": like{""}, "id": term{ksuid}, "channels": eachOf{members{}}}}}}},
		"delete an application": {{"DELETE", "/v3/app/$APP", "", 200, nil}, {"GET", "/v3/app/$APP", "", 404, nil}},
		"create a channel": {{"POST", "/v3/app/$APP/channel", `{"name":"New Channel","description":"Description"}`, 201, members{
			"channel": members{"id": term{ksuid}, "name": "New Channel", "description": "Description", "channelSlug": "new-channel"}}}},
		"list channels": {{"GET", "/v3/app/$APP/channels?excludeDetail=true", "", 200, members{"channels": eachOf{members{
			"id": term{ksuid}, "name": term{"^(Unstable|Beta|Stable)$"}}}}}},
		"get a channel": {{"GET", "/v3/app/$APP/channel/$UNSTABLE", "", 200, members{"channel": members{"id": term{ksuid}, "name": "Unstable",
			"releases": []any{}}}}},
		"remove a channel": {{"DELETE", "/v3/app/$APP/channel/$BETA", "", 200, nil},
			{"GET", "/v3/app/$APP/channels?excludeDetail=true", "", 200, members{"channels": []any{members{"name": "Unstable"},
				members{"name": "Stable"}}}}},
		"semantic versions": {{"PATCH", "/v3/app/$APP/channel/$UNSTABLE", `{"semverRequired":true}`, 200, members{}}},
		"create and get a release": {
			{"POST", "/v3/app/$APP/release", spec, 201, members{"release": members{"appId": "$APP", "sequence": 1.0}}},
			{"GET", "/v3/app/$APP/release/1", "", 200, members{"release": members{"appId": "$APP", "sequence": 1.0, "spec": files}}}},
		"list releases": {{"POST", "/v3/app/$APP/release", spec, 201, nil}, {"POST", "/v3/app/$APP/release", spec, 201, nil},
			{"GET", "/v3/app/$APP/releases?currentPage=0&pageSize=20", "", 200, members{"releases": []any{
				members{"appId": "$APP", "sequence": 2.0, "spec": ""}, members{"appId": "$APP", "sequence": 1.0, "spec": ""}}}},
			{"GET", "/v3/app/$APP/releases?currentPage=1&pageSize=20", "", 200, members{"releases": []any{}}}},
		"update a release": {{"POST", "/v3/app/$APP/release", spec, 201, nil}, {"PUT", "/v3/app/$APP/release/1", spec, 200, nil}},
		"promote a release": {{"POST", "/v3/app/$APP/release", spec, 201, nil},
			{"POST", "/v3/app/$APP/release/1/promote", `{"releaseNotes":"releasenotes","versionLabel":"v0.0.1","isRequired":false,` +
				`"channelIds":["$UNSTABLE"],"ignoreWarnings":false,"omitDetailsInResponse":true}`, 200,
				members{"release": members{"appId": "$APP", "sequence": 1.0}, "airgapBuilds": []any{}}},
			{"GET", "/v3/app/$APP/channel/$UNSTABLE", "", 200, members{"channel": members{"releaseSequence": 1.0, "channelSequence": 1.0,
				"currentVersion": "v0.0.1", "releases": []any{members{"sequence": 1.0, "semver": "v0.0.1", "releaseNotes": "releasenotes",
					"isDemoted": false}}}}},
			{"POST", "/v3/app/$APP/channel/$UNSTABLE/release/1/demote", "", 200, members{"release": members{"isDemoted": true}}},
			{"GET", "/v3/app/$APP/channel/$UNSTABLE", "", 200, members{"channel": members{"releaseSequence": 0.0}}},
			{"POST", "/v3/app/$APP/channel/$UNSTABLE/release/1/undemote", "", 200, members{"release": members{"isDemoted": false}}}},
		"results of a release on clusters": {{"POST", "/v3/app/$APP/release", spec, 201, members{"release": members{"charts": []any{},
			"compatibilityResults": []any{}}}},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"kind","version":"1.35.0","successAt":"2026-11-29T06:00:00.000Z",` +
				`"successNotes":"all ready"}`, 201, nil},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"eks","version":"1.34","failureAt":"2026-11-29T07:00:00.000Z",` +
				`"failureNotes":"no volume"}`, 201, nil},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"kind","version":"1.35.0","failureAt":"2026-11-29T08:00:00.000Z"}`,
				201, nil},
			{"GET", "/v3/app/$APP/release/1", "", 200, members{"release": members{"compatibilityResults": []any{
				members{"distribution": "eks", "version": "1.34", "successAt": nil, "failureAt": "2026-11-29T07:00:00Z", "failureNotes": "no volume"},
				members{"distribution": "kind", "version": "1.35.0", "successAt": "2026-11-29T06:00:00Z", "successNotes": "all ready",
					"failureAt": "2026-11-29T08:00:00Z", "failureNotes": ""}}}}},
			{"POST", "/v3/app/$APP/release/2/compatibility", `{"distribution":"kind","version":"1","successAt":"2026-11-29T06:00:00Z"}`, 404, nil},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"kind","version":"1"}`, 400, nil},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"kind","version":"1","successAt":"2026-11-29T06:00:00Z",` +
				`"successNotes":"\u0000"}`, 400, nil},
			{"POST", "/v3/app/$APP/release/1/compatibility", `{"distribution":"","version":"1","successAt":"2026-11-29T06:00:00Z"}`, 400, nil},
			{"PUT", "/v3/app/$APP/release/1", spec, 200, nil},
			{"GET", "/v3/app/$APP/release/1", "", 200, members{"release": members{"compatibilityResults": []any{}}}}},
		"installers": {{"POST", "/v3/app/$APP/installer", `{"yaml":"kind: Installer"}`, 404, members{"error": members{
			"code": "UnsupportedOperation", "message": term{"ecrin install"}}}}},
		"clusters": {{"GET", "/v3/app/$APP/cluster-usage", "", 200, members{"clusterUsageDetails": []any{}}}},
		"customers": {
			{"POST", "/v3/customer", `{"name":"Big","email":"it@big.example","app_id":"$APP","channels":[{"channel_id":"$STABLE",` +
				`"pinned_channel_sequence":null,"is_default_for_customer":true}],"type":"trial","expires_at":"2027-12-31T00:00:00Z",` +
				`"is_airgap_enabled":true,"is_kots_install_enabled":true,"custom_id":"crm-1","entitlementValues":[{"name":"seats","value":"10"}]}`,
				201, members{"customer": members{"id": term{ksuid}, "name": "Big", "email": "it@big.example", "customId": "crm-1",
					"type": "trial", "expiresAt": "2027-12-31T00:00:00Z", "airgap": true, "isKotsInstallEnabled": true,
					"isGitopsSupported": false, "installationId": term{ksuid}, "channels": []any{members{"id": "$STABLE", "name": "Stable"}}}}},
			{"GET", "/v3/app/$APP/customers?currentPage=0", "", 200, members{"totalCustomers": 1.0, "customers": []any{members{
				"name": "Big", "installationId": "", "channels": []any{members{"name": "Stable"}}}}}},
			{"GET", "/v3/app/$APP/customers?currentPage=1", "", 200, members{"totalCustomers": 1.0, "customers": []any{}}},
			{"POST", "/v3/customers/search", `{"app_id":"$APP","offset":0,"page_size":100,"query":"name:Big"}`, 200,
				members{"total_hits": 1.0, "customers": []any{members{"name": "Big", "id": "$CUSTOMER"}}}},
			{"POST", "/v3/customers/search", `{"app_id":"$APP","offset":0,"page_size":100,"query":"name:Bi"}`, 200,
				members{"total_hits": 0.0, "customers": []any{}}},
			{"GET", "/v3/customer/$CUSTOMER", "", 200, members{"customer": members{"name": "Big", "installationId": ""}}},
			{"PUT", "/v3/customer/$CUSTOMER", `{"name":"Bigger","app_id":"$APP","channels":[{"channel_id":"$BETA"}],"type":"paid","expires_at":"",` +
				`"is_airgap_enabled":false,"entitlementValues":[{"name":"seats","value":"20"}]}`, 200, members{"customer": members{
				"name": "Bigger", "type": "paid", "expiresAt": nil, "airgap": false, "isKotsInstallEnabled": true,
				"channels": []any{members{"name": "Beta"}}, "entitlements": []any{members{"name": "seats", "value": "20"}}}}},
			{"GET", "/v3/app/$APP/customer/$CUSTOMER/license-download", "", 200, nil},
			{"POST", "/v3/customer/$CUSTOMER/archive", "", 204, nil},
			{"GET", "/v3/app/$APP/customers?currentPage=0", "", 200, members{"totalCustomers": 0.0, "customers": []any{}}},
			{"POST", "/v3/customer/$CUSTOMER/unarchive", "", 204, nil},
			{"GET", "/v3/app/$APP/customers?currentPage=0", "", 200, members{"totalCustomers": 1.0}}},
		"external registry of Docker Hub by password": {
			added("dockerhub", "index.docker.io", "", "password", "test"),
			{"GET", "/v3/external_registries", "", 200, members{"external_registries": []any{members{"slug": "index.docker.io",
				"provider": "dockerhub", "endpoint": "index.docker.io", "authType": "password", "username": "test", "lastUsedAt": nil,
				"appIds": []any{}}}}},
			{"DELETE", "/v3/external_registry/index.docker.io", "", 204, nil},
			{"GET", "/v3/external_registries", "", 200, members{"external_registries": nil}}},
		"external registry of Docker Hub by token": {added("dockerhub", "index.docker.io", "token-test", "token", "test")},
		"external registry of ECR": {added("ecr", "0000000000.dkr.ecr.us-east-2.amazonaws.com", "ecr-test-registry", "accesskey", "test"),
			{"GET", "/v3/external_registry/ecr-test-registry", "", 200, members{"external_registry": members{"provider": "ecr",
				"endpoint": "0000000000.dkr.ecr.us-east-2.amazonaws.com", "authType": "accesskey", "username": "test"}}},
			{"GET", "/v3/external_registry/logs?endpoint=ecr-test-registry", "", 200, members{"logs": []any{}}}},
		"external registry of GCR":            {added("gcr", "gcr.io", "gcr-test-registry", "serviceaccount", "_json_key")},
		"external registry of GAR":            {added("gar", "pkg.dev", "gar-serviceaccount-test", "serviceaccount", "_json_key")},
		"external registry of GAR by a token": {added("gar", "pkg.dev", "gar-accesstoken-test", "token", "oauth2accesstoken")},
		"notification subscriptions": {
			{"POST", "/v3/notification_subscription", hook, 201, hooked(true)},
			{"GET", "/v3/notification_subscriptions?search=release&type=team", "", 200, members{"subscriptions": []any{hooked(true)},
				"totalCount": 1.0}},
			{"GET", "/v3/notification_subscription/$SUBSCRIPTION", "", 200, hooked(true)},
			{"PUT", "/v3/notification_subscription/$SUBSCRIPTION", `{"isEnabled":false}`, 200, hooked(false)},
			{"GET", "/v3/notification_events?status=failed&subscription_id=$SUBSCRIPTION&pageSize=20", "", 200, members{
				"events": []any{}, "totalCount": 0.0}},
			{"GET", "/v3/notification_subscription/$SUBSCRIPTION/events", "", 200, members{"events": []any{}}},
			{"DELETE", "/v3/notification_subscription/$SUBSCRIPTION", "", 204, nil},
			{"GET", "/v3/notification_subscription/$SUBSCRIPTION", "", 404, nil}},
		"notification types": {{"GET", "/v3/notification_event_types?q=release.promoted&limit=20", "", 200, members{"total": 1.0,
			"eventTypes": []any{members{"key": "release.promoted", "displayName": "Release Promoted", "description": like{""},
				"category": "Release"}}}}},
		"notification tests": {
			{"POST", "/v3/notification_webhook/test", `{"webhookUrl":"https://example.invalid/hook","eventType":"release.promoted"}`, 200, members{
				"success": like{true}, "statusCode": like{200.0}, "durationMs": like{15.0}}},
			{"POST", "/v3/notification_email/resend_verification", `{"emailAddress":"alerts@example.com"}`, 200, members{
				"success": false, "message": like{""}}},
			{"POST", "/v3/notification_email/verify", `{"emailAddress":"alerts@example.com","verificationCode":"123456"}`, 200, members{
				"success": false, "message": like{""}}}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			ids := f.app("shop")
			replay(t, f, []string{"$APP", ids["app"], "$UNSTABLE", ids["unstable"], "$BETA", ids["beta"], "$STABLE", ids["stable"]}, calls)
		})
	}
}

// replay makes calls, and compares the answers with what is expected.
func replay(t *testing.T, f *fixture, ids []string, calls []recorded) {
	t.Helper()
	for _, c := range calls {
		fill := strings.NewReplacer(ids...)
		got := f.call(f.key, c.method, fill.Replace(c.path), fill.Replace(c.body))
		if got.status != c.status {
			t.Fatalf("%s %s: got %d %s, want %d", c.method, c.path, got.status, got.text, c.status)
		}
		var want any
		if err := walk(&want, c.want, fill); c.want != nil && err == "" {
			if s := differs("the answer", want, got.body); s != "" {
				t.Errorf("%s %s: %s in %s", c.method, c.path, s, got.text)
			}
		}
		if m, ok := got.body.(members); ok && m["customer"] != nil {
			ids = append(ids, "$CUSTOMER", m["customer"].(members)["id"].(string))
		}
		if m, ok := got.body.(members); ok && m["webhookUrl"] != nil {
			ids = append(ids, "$SUBSCRIPTION", m["id"].(string))
		}
	}
}

// walk copies an expected value with the ids of the fixture.
func walk(to *any, v any, fill *strings.Replacer) string {
	switch w := v.(type) {
	case string:
		*to = fill.Replace(w)
	case members:
		m := members{}
		for k, one := range w {
			var filled any
			walk(&filled, one, fill)
			m[k] = filled
		}
		*to = m
	case []any:
		all := make([]any, len(w))
		for i := range w {
			walk(&all[i], w[i], fill)
		}
		*to = all
	default:
		*to = v
	}
	return ""
}

// A folder without files, which clients send too, is no file of a release.
func TestEmptyFoldersAreNoFiles(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	one := `{"name":"a.yaml","path":"a.yaml","content":"a: 1\n","children":[]}`
	spec := object(t, members{"spec_gzip": packed(t, `[`+one+`,{"name":"images","path":"images","content":"","children":[]},`+
		`{"name":"b","path":"b","content":"","children":[{"name":"c","path":"b/c","content":"","children":[]}]}]`)})
	if got := f.call(f.key, "POST", "/v3/app/shop/release", spec); got.status != 201 {
		t.Fatalf("a release: got %d %s", got.status, got.text)
	}
	got := f.call(f.key, "GET", "/v3/app/shop/release/1", "")
	if s := differs("the answer", members{"release": members{"spec": "[" + one + "]"}}, got.body); s != "" {
		t.Error(s)
	}
}

// Folders and files that are no text come back as they were sent, and so does a release of one text.
func TestSpecsComeBack(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	for i, spec := range []string{
		files,
		`[{"name":"a.yaml","path":"a.yaml","content":"a: 1\n","children":[]},{"name":"charts","path":"charts","content":"","children":[` +
			`{"name":"x.tgz","path":"charts/x.tgz","content":"H4sIAP+A","children":[]},{"name":"y","path":"charts/y","content":"","children":[` +
			`{"name":"z.yaml","path":"charts/y/z.yaml","content":"{}","children":[]}]}]}]`,
		"apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Pod\n",
	} {
		if got := f.call(f.key, "POST", "/v3/app/shop/release", object(t, members{"spec_gzip": packed(t, spec)})); got.status != 201 {
			t.Fatalf("release %d: got %d %s", i+1, got.status, got.text)
		}
		got := f.call(f.key, "GET", fmt.Sprintf("/vendor/v3/app/shop/release/%d", i+1), "")
		if s := differs("the answer", members{"release": members{"spec": spec}}, got.body); s != "" {
			t.Error(s)
		}
	}
}
