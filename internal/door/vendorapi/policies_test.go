package vendorapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// iam returns the AWS SDK's client with the key of the root user.
func (f *fixture) iam() *iam.Client {
	a := f.Root(f.t)
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: aws.String(f.URL), HTTPClient: f.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// user makes a user with a managed policy or, if document is not "", an inline policy, and returns its key.
func (f *fixture) user(label, policyARN, document string) string {
	f.t.Helper()
	c, ctx := f.iam(), f.t.Context()
	_, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: &label})
	if err == nil && policyARN != "" {
		_, err = c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &label, PolicyArn: &policyARN})
	}
	if err == nil && document != "" {
		_, err = c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &label, PolicyName: &label, PolicyDocument: &document})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	key, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &label})
	if err != nil {
		f.t.Fatal(err)
	}
	return *key.AccessKey.AccessKeyId + ":" + *key.AccessKey.SecretAccessKey
}

const admin = `{"v1":{"name":"Admin","resources":{"allowed":["**/*"],"denied":[]}}}`

// policyBody returns the body of a request that makes or changes a policy.
func policyBody(t *testing.T, label, description, definition string) string {
	t.Helper()
	return object(t, members{"name": label, "description": description, "definition": definition})
}

// defined returns a definition.
func defined(t *testing.T, allowed, denied string) string {
	t.Helper()
	return object(t, members{"v1": members{"name": "x", "resources": members{"allowed": append([]string{}, strings.Fields(allowed)...),
		"denied": append([]string{}, strings.Fields(denied)...)}}})
}

// The calls that are recorded of the public client, and what a policy is in IAM.
func TestRecordedCallsOfPolicies(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	shown := func(label, description, definition string) members {
		return members{"id": like{""}, "teamId": f.Root(t).ID, "name": label, "description": description, "definition": definition,
			"readOnly": false}
	}
	other := "{\n  \"v1\": {\"name\": \"☃\", \"resources\": {\"allowed\": [\"kots/app/shop/read\"], \"denied\": [\"**/*\"]}}\n}\n"
	for _, c := range []recorded{
		{"GET", "/v3/policies", "", 200, members{"policies": []any{}}},
		{"POST", "/v3/policy", policyBody(t, "New Policy", "A test policy", admin), 200, members{
			"policy": shown("New Policy", "A test policy", admin)}},
		{"GET", "/v3/policies", "", 200, members{"policies": []any{shown("New Policy", "A test policy", admin)}}},
		{"POST", "/v3/policy", policyBody(t, "New Policy", "A test policy", admin), 409, members{"error": members{
			"message": term{"New-Policy already exists"}}}},
		{"PUT", "/v3/policy/New-Policy", policyBody(t, "Renamed Pölicy", "Updated <description>", other), 200, members{
			"policy": shown("Renamed Pölicy", "Updated <description>", other)}},
		{"GET", "/vendor/v3/policy/New-Policy", "", 200, members{"policy": shown("Renamed Pölicy", "Updated <description>", other)}},
		{"PUT", "/v3/policy/New-Policy", `{"description":""}`, 200, members{"policy": shown("Renamed Pölicy", "", other)}},
		{"DELETE", "/v3/policy/New-Policy", "", 200, nil},
		{"DELETE", "/v3/policy/New-Policy", "", 404, nil},
		{"GET", "/v3/policy/New-Policy", "", 404, nil},
		{"PUT", "/v3/policy/New-Policy", `{"description":"x"}`, 404, nil},
		{"GET", "/v3/policies", "", 200, members{"policies": []any{}}},
	} {
		got := f.call(f.key, c.method, c.path, c.body)
		if got.status != c.status {
			t.Fatalf("%s %s: got %d %s, want %d", c.method, c.path, got.status, got.text, c.status)
		}
		if c.want != nil {
			if s := differs("the answer", c.want, got.body); s != "" {
				t.Errorf("%s %s: %s in %s", c.method, c.path, s, got.text)
			}
		}
	}
	// An update is one more version; IAM keeps five, so that the oldest goes.
	for i := range 8 {
		method, path := "PUT", "/v3/policy/many"
		if i == 0 {
			method, path = "POST", "/v3/policy"
		}
		if got := f.call(f.key, method, path, policyBody(t, "many", fmt.Sprint(i), admin)); got.status != 200 ||
			!strings.Contains(got.text, fmt.Sprintf(`"description":"%d"`, i)) {
			t.Fatalf("change %d: got %d %s", i, got.status, got.text)
		}
	}
	arn := "arn:aws:iam::" + f.Root(t).ID + ":policy/vendor/many"
	versions, err := f.iam().ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	if err != nil || len(versions.Versions) != 5 || *versions.Versions[0].VersionId != "v8" || !versions.Versions[0].IsDefaultVersion {
		t.Errorf("the versions: got %+v, %v, want v8 in force and four before", versions, err)
	}
	if got := f.call(f.key, "DELETE", "/v3/policy/many", ""); got.status != 200 {
		t.Errorf("deleting a policy with versions: got %d %s", got.status, got.text)
	}
}

// A user with a policy may do what its definition says, and nothing else, by the next request after a change.
func TestPoliciesDecide(t *testing.T) {
	t.Parallel()
	f := start(t)
	shop, other := f.app("shop"), f.app("other")
	var big ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &big)
	customer := "/v3/customer/" + big.Customer.CustomerId
	spec := object(t, members{"spec_gzip": packed(t, files)})
	if got := f.call(f.key, "POST", "/v3/policy", policyBody(t, "team", "", defined(t, "kots/app/shop/read", ""))); got.status != 200 {
		t.Fatalf("a policy: got %d %s", got.status, got.text)
	}
	arn := "arn:aws:iam::" + f.Root(t).ID + ":policy/vendor/team"
	user := f.user("seller", arn, "")
	for _, c := range []struct {
		allowed, denied string
		can, cannot     []recorded
	}{
		{"kots/app/" + shop["app"] + "/read", "**/*", []recorded{{method: "GET", path: "/v3/app/shop"}},
			[]recorded{{method: "GET", path: "/v3/app/other"}, {method: "GET", path: "/v3/app/shop/channels"},
				{method: "GET", path: "/v3/policies"}, {method: "DELETE", path: "/v3/app/shop"}}},
		{"**/read **/list", "**/*", []recorded{{method: "GET", path: "/v3/apps"}, {method: "GET", path: "/v3/app/other/channels"},
			{method: "GET", path: customer}, {method: "GET", path: "/v3/app/shop/customers"}, {method: "GET", path: "/v3/external_registries"},
			{method: "GET", path: "/v3/app/shop/customer/" + big.Customer.CustomerId + "/license-download"}},
			[]recorded{{method: "POST", path: "/v3/app/shop/release", body: spec}, {method: "PUT", path: customer, body: `{"name":"x"}`},
				{method: "POST", path: customer + "/archive"}, {method: "POST", path: "/v3/policy", body: policyBody(t, "x", "", admin)}}},
		{"kots/app/shop/**", "kots/app/shop/channel/*/promote", []recorded{{method: "POST", path: "/v3/app/shop/release", body: spec},
			{method: "PUT", path: customer, body: `{"name":"Bigger"}`}, {method: "POST", path: "/v3/app/shop/channel", body: `{"name":"x"}`}},
			[]recorded{{method: "POST", path: "/v3/app/shop/release/1/promote", body: `{"channelIds":["` + shop["stable"] + `"]}`},
				{method: "POST", path: customer + "/archive"}, {method: "POST", path: "/v3/app/other/release", body: spec}}},
		{"kots/license/*/archive", "", []recorded{{method: "POST", path: customer + "/archive"}},
			[]recorded{{method: "POST", path: customer + "/unarchive"}, {method: "PUT", path: customer, body: `{"name":"x"}`}}},
		{"**/*", "kots/app/" + other["app"] + "/delete", []recorded{{method: "POST", path: customer + "/unarchive"},
			{method: "POST", path: "/v3/app/other/release", body: spec}, {method: "POST", path: "/v3/app", body: `{"name":"third"}`},
			{method: "DELETE", path: "/v3/app/third"}},
			[]recorded{{method: "DELETE", path: "/v3/app/other"}, {method: "GET", path: "/v3/policies"},
				{method: "PUT", path: "/v3/policy/team", body: policyBody(t, "team", "", admin)}, {method: "DELETE", path: "/v3/policy/team"}}},
	} {
		got := f.call(f.key, "PUT", "/v3/policy/team", policyBody(t, "team", "", defined(t, c.allowed, c.denied)))
		if got.status != 200 {
			t.Fatalf("allowed %s, denied %s: got %d %s", c.allowed, c.denied, got.status, got.text)
		}
		for _, one := range c.can {
			if got := f.call(user, one.method, one.path, one.body); got.status >= 300 {
				t.Errorf("allowed %s, denied %s: %s %s: got %d %s", c.allowed, c.denied, one.method, one.path, got.status, got.text)
			}
		}
		for _, one := range c.cannot {
			if got := f.call(user, one.method, one.path, one.body); got.status != 403 {
				t.Errorf("allowed %s, denied %s: %s %s: got %d %s, want 403", c.allowed, c.denied, one.method, one.path, got.status, got.text)
			}
		}
	}
	if got := f.call(f.key, "DELETE", "/v3/policy/team", ""); got.status != 409 || !strings.Contains(got.text, "attached to 1") {
		t.Errorf("deleting a policy that a user has: got %d %s, want 409", got.status, got.text)
	}
}

// A user whose policy covers one application, or one channel, sees that one in lists, and acts on no other. Who may see none is refused.
func TestPoliciesOfOneApplicationAndChannel(t *testing.T) {
	t.Parallel()
	f := start(t)
	shop, other := f.app("shop"), f.app("other")
	spec := object(t, members{"spec_gzip": packed(t, files)})
	for _, app := range []string{"shop", "other"} {
		if got := f.call(f.key, "POST", "/v3/app/"+app+"/release", spec); got.status != 201 {
			t.Fatalf("a release: got %d %s", got.status, got.text)
		}
	}
	if got := f.call(f.key, "POST", "/v3/policy", policyBody(t, "team", "", defined(t, "kots/app/shop/read", ""))); got.status != 200 {
		t.Fatalf("a policy: got %d %s", got.status, got.text)
	}
	user := f.user("seller", "arn:aws:iam::"+f.Root(t).ID+":policy/vendor/team", "")
	promote := func(channels ...string) string {
		return object(t, members{"channelIds": append([]string{}, channels...), "versionLabel": "1.0"})
	}
	channel := func(ids map[string]string, which string) string { return "kots/app/*/channel/" + ids[which] }
	for _, c := range []struct {
		allowed, denied string
		sees            []string // paths and what their answers have
		not             []string // what the answers to /v3/apps and /v3/app/shop/channels have not
		can, cannot     []recorded
	}{
		{"kots/app/shop/read", "", []string{"/v3/apps", `"slug":"shop"`}, []string{`"slug":"other"`, "channelSlug"}, nil,
			[]recorded{{method: "GET", path: "/v3/app/other"}, {method: "GET", path: "/v3/app/shop/channels"}}},
		{"kots/app/shop/** " + channel(other, "beta") + "/promote", "**/*",
			[]string{"/v3/apps", `"slug":"shop"`, "/v3/apps", `"channelSlug":"stable"`}, []string{`"slug":"other"`},
			[]recorded{{method: "POST", path: "/v3/app/shop/release/1/promote", body: promote(shop["stable"], shop["beta"])},
				{method: "POST", path: "/v3/app/other/release/1/promote", body: promote(other["beta"])},
				{method: "POST", path: "/v3/app/other/release/1/promote", body: promote("beta")}},
			[]recorded{{method: "POST", path: "/v3/app/other/release/1/promote", body: promote(other["beta"], other["stable"])},
				{method: "POST", path: "/v3/app/other/release/1/promote", body: promote("stable")},
				{method: "POST", path: "/v3/app/other/release/1/promote", body: promote("none")},
				{method: "PUT", path: "/v3/app/other/channel/" + other["beta"], body: `{"name":"x"}`}}},
		{"kots/app/shop/read " + channel(shop, "stable") + "/read " + channel(shop, "stable") + "/update", "",
			[]string{"/v3/apps", `"channelSlug":"stable"`, "/v3/app/shop/channels", `"channelSlug":"stable"`}, []string{`"channelSlug":"beta"`},
			[]recorded{{method: "GET", path: "/v3/app/shop/channel/" + shop["stable"]},
				{method: "PUT", path: "/v3/app/shop/channel/stable", body: `{"name":"Stable"}`}},
			[]recorded{{method: "PUT", path: "/v3/app/shop/channel/" + shop["beta"], body: `{"name":"x"}`},
				{method: "DELETE", path: "/v3/app/shop/channel/" + shop["stable"]}, {method: "GET", path: "/v3/app/other/channels"},
				{method: "GET", path: "/v3/app/none/channels"}}},
		{"**/*", channel(shop, "stable") + "/promote", nil, nil,
			[]recorded{{method: "POST", path: "/v3/app/shop/release/1/promote", body: promote("beta")}},
			[]recorded{{method: "POST", path: "/v3/app/shop/release/1/promote", body: promote(shop["stable"])},
				{method: "POST", path: "/v3/app/shop/release/1/promote", body: promote("beta", "stable")}}},
		{"kots/license/*/archive", "", nil, nil, nil, []recorded{{method: "GET", path: "/v3/apps"}}},
	} {
		got := f.call(f.key, "PUT", "/v3/policy/team", policyBody(t, "team", "", defined(t, c.allowed, c.denied)))
		if got.status != 200 {
			t.Fatalf("allowed %s, denied %s: got %d %s", c.allowed, c.denied, got.status, got.text)
		}
		for i := 0; i < len(c.sees); i += 2 {
			if got := f.call(user, "GET", c.sees[i], ""); got.status != 200 || !strings.Contains(got.text, c.sees[i+1]) {
				t.Errorf("allowed %s, denied %s: GET %s: got %d %s, want %s", c.allowed, c.denied, c.sees[i], got.status, got.text, c.sees[i+1])
			}
		}
		for _, path := range []string{"/v3/apps", "/v3/app/shop/channels"} {
			got := f.call(user, "GET", path, "")
			for _, not := range c.not {
				if strings.Contains(got.text, not) {
					t.Errorf("allowed %s, denied %s: GET %s: got %s with %s", c.allowed, c.denied, path, got.text, not)
				}
			}
		}
		for want, all := range map[int][]recorded{200: c.can, 403: c.cannot} {
			for _, one := range all {
				if got := f.call(user, one.method, one.path, one.body); got.status != want {
					t.Errorf("allowed %s, denied %s: %s %s %s: got %d %s, want %d", c.allowed, c.denied, one.method, one.path, one.body, got.status,
						got.text, want)
				}
			}
		}
	}
}

// What is no policy of the path is not reached, and a document that another tool has made or changed has no definition.
func TestPoliciesOfOthers(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, ctx := f.iam(), t.Context()
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	for label, path := range map[string]string{"plain": "/", "own": "/vendor/", "below": "/vendor/x/"} {
		if _, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: &label, Path: &path, PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
	}
	own := members{"id": "own", "name": "own", "definition": "", "readOnly": true}
	if got := f.call(f.key, "GET", "/v3/policies", ""); differs("the answer", members{"policies": []any{own}}, got.body) != "" {
		t.Errorf("the policies: got %s, want the own one, read only", got.text)
	}
	for path, want := range map[string]int{"plain": 404, "below": 404, "x%2Fbelow": 404, "..%2Fplain": 404, "..": 404, "%00": 404,
		"a%20b": 404, "*": 404, "own": 200, strings.Repeat("x", 200): 404} {
		for _, method := range []string{"GET", "PUT"} {
			if got := f.call(f.key, method, "/v3/policy/"+path, policyBody(t, "x", "", admin)); got.status != want {
				t.Errorf("%s of the policy %s: got %d %s, want %d", method, path, got.status, got.text, want)
			}
		}
	}
	// The definition is known since the change above, and not any more when IAM has changed the document.
	if got := f.call(f.key, "GET", "/v3/policy/own", ""); !strings.Contains(got.text, `"readOnly":false`) {
		t.Errorf("after a change by this API: got %s, want a definition", got.text)
	}
	arn := "arn:aws:iam::" + f.Root(t).ID + ":policy/vendor/own"
	version, err := c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: aws.String("v2")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := url.QueryUnescape(*version.PolicyVersion.Document)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "ecrin:CreateRelease", "ecr:*", 1)
	if _, err := c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &text,
		SetAsDefault: true}); err != nil {
		t.Fatal(err)
	}
	if got := f.call(f.key, "GET", "/v3/policy/own", ""); !strings.Contains(got.text, `"readOnly":true`) ||
		!strings.Contains(got.text, `"definition":""`) {
		t.Errorf("after a change by IAM: got %s, want no definition", got.text)
	}
	if got := f.call(f.key, "PUT", "/v3/policy/own", `{"description":"x"}`); got.status != 400 ||
		!strings.Contains(got.text, "definition must be specified") {
		t.Errorf("a change of the description alone: got %d %s, want 400", got.status, got.text)
	}
	// Other accounts, and users without the actions of IAM.
	other := f.NewAccount(t, "222233334444")
	stranger := other.KeyID + ":" + other.Secret
	lister := f.user("lister", "", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListPolicies","Resource":"*"}]}`)
	nobody := f.user("nobody", "", "")
	for _, call := range []struct {
		key, method, path string
		want              int
	}{
		{stranger, "GET", "/v3/policy/own", 404}, {stranger, "DELETE", "/v3/policy/own", 404},
		{nobody, "GET", "/v3/policies", 403}, {nobody, "GET", "/v3/policy/own", 403}, {nobody, "GET", "/v3/policy/none", 403},
		{nobody, "POST", "/v3/policy", 403}, {nobody, "PUT", "/v3/policy/own", 403}, {nobody, "DELETE", "/v3/policy/own", 403},
		{lister, "GET", "/v3/policies", 200}, {lister, "POST", "/v3/policy", 403}, {"", "GET", "/v3/policies", 401},
		{"", "POST", "/v3/policy", 401}, {f.key, "PATCH", "/v3/policy/own", 405}, {f.key, "POST", "/v3/policies", 405},
	} {
		if got := f.call(call.key, call.method, call.path, policyBody(t, "mine", "", admin)); got.status != call.want {
			t.Errorf("%s %s: got %d %s, want %d", call.method, call.path, got.status, got.text, call.want)
		}
	}
	if got := f.call(stranger, "GET", "/v3/policies", ""); strings.Contains(got.text, "own") {
		t.Errorf("the policies of another account: got %s", got.text)
	}
}

func TestPoliciesAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	var rules []string
	for i := range 90 {
		rules = append(rules, fmt.Sprintf("kots/app/*/license/%s%03d/update", strings.Repeat("a", 24), i))
	}
	for label, c := range map[string]struct{ body, want string }{
		"no name":            {object(t, members{"definition": admin}), "name must be specified"},
		"no definition":      {`{"name":"x"}`, "definition must be specified"},
		"blank name":         {policyBody(t, "  ", "", admin), "1 to 100 characters"},
		"long name":          {policyBody(t, strings.Repeat("ä", 101), "", admin), "1 to 100 characters"},
		"name of signs":      {policyBody(t, "☃", "", admin), "must have a letter"},
		"long description":   {policyBody(t, "x", strings.Repeat("x", 1001), admin), "1000 bytes"},
		"object":             {`{"name":"x","definition":{"v1":{}}}`, "not the JSON"},
		"number":             {`{"name":7,"definition":"{}"}`, "not the JSON"},
		"no JSON":            {`{`, "not the JSON"},
		"null":               {`null`, "must be specified"},
		"no definition JSON": {policyBody(t, "x", "", "{"), "JSON like"},
		"unknown member":     {policyBody(t, "x", "", `{"v1":{"name":"x","resources":{"allowed":["**/*"],"denyed":[]}}}`), "unknown field"},
		"unknown app":        {policyBody(t, "x", "", defined(t, "kots/app/2HKXWE5CM7bqkR5T2sKfVniMJfD/read", "")), "no application"},
		"one channel":        {policyBody(t, "x", "", defined(t, "**/*", "kots/app/*/channel/123456/promote")), "has no id of a channel"},
		"long document":      {policyBody(t, "x", "", defined(t, strings.Join(rules, " "), "")), "IAM has at most 6144"},
	} {
		got := f.call(f.key, "POST", "/v3/policy", c.body)
		if got.status != 400 && got.status != 404 || !strings.Contains(got.text, c.want) {
			t.Errorf("%s: got %d %s, want an error with %q", label, got.status, got.text, c.want)
		}
	}
	if got := f.call(f.key, "POST", "/v3/policy", policyBody(t, "x", "", strings.Repeat("x", 2<<20))); got.status != 413 {
		t.Errorf("a large body: got %d %.200s, want 413", got.status, got.text)
	}
	if got := f.call(f.key, "GET", "/v3/policies", ""); got.text != "{\"policies\":[]}\n" {
		t.Errorf("after requests that were refused: got %s", got.text)
	}
}
