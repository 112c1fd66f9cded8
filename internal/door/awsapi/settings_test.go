package awsapi_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/main/config"
)

func strict(quirks string) func(*config.Config) {
	return func(c *config.Config) { c.StrictECR = quirks }
}

func TestDescribeRegistry(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	want := map[string]any{"registryId": home, "replicationConfiguration": map[string]any{"rules": []any{}}}
	if diff := cmp.Diff(want, s.must("DescribeRegistry", `{}`)); diff != "" {
		t.Errorf("DescribeRegistry (-want +got):\n%s", diff)
	}
}

func TestAccountSettings(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	get := func(name string) any { return s.must("GetAccountSetting", object("name", name))["value"] }
	for name, want := range map[string]string{"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2",
		"BLOB_MOUNTING": "ENABLED"} {
		if got := get(name); got != want {
			t.Errorf("%s: got the default %v, want %s", name, got, want)
		}
	}
	for _, value := range []string{"DISABLED", "ENABLED", "DISABLED"} {
		want := map[string]any{"name": "BLOB_MOUNTING", "value": value}
		if diff := cmp.Diff(want, s.must("PutAccountSetting", object("name", "BLOB_MOUNTING", "value", value))); diff != "" {
			t.Errorf("PutAccountSetting (-want +got):\n%s", diff)
		}
		if got := get("BLOB_MOUNTING"); got != value {
			t.Errorf("BLOB_MOUNTING is %v, want %s", got, value)
		}
	}
	// A setting applies to one account in one region.
	other := s.send(raw{key: s.key, region: "eu-west-1", target: ecrTarget + "GetAccountSetting", body: `{"name":"BLOB_MOUNTING"}`})
	if want := `{"name":"BLOB_MOUNTING","value":"ENABLED"}`; other.Body != want {
		t.Errorf("in another region: got %s, want %s", other, want)
	}
	s.wantError("GetAccountSetting", `{"name":"COLOUR"}`, "InvalidParameterException", "'name'")
	s.wantError("PutAccountSetting", `{"name":"COLOUR","value":"red"}`, "InvalidParameterException", "'name'")
	s.wantError("PutAccountSetting", `{"name":"BLOB_MOUNTING","value":"MAYBE"}`, "InvalidParameterException", "'value'")
	s.wantError("PutAccountSetting", `{"name":"BLOB_MOUNTING"}`, "InvalidParameterException", "'value'")
}

func TestBlobMountingDefaultOfECR(t *testing.T) {
	t.Parallel()
	s := serve(t, strict("all"))
	if got := s.must("GetAccountSetting", `{"name":"BLOB_MOUNTING"}`)["value"]; got != "DISABLED" {
		t.Errorf("BLOB_MOUNTING with --strict-ecr is %v, want DISABLED", got)
	}
}

// A policy can allow the settings of an account by their names.
func TestSettingsByTheirNameInPolicies(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("ann", object("Version", "2012-10-17", "Statement", []any{map[string]any{"Effect": "Allow", "Resource": "*",
		"Action":    []string{"ecr:GetAccountSetting", "ecr:PutAccountSetting"},
		"Condition": map[string]any{"StringEquals": map[string]string{"ecr:AccountSetting": "BLOB_MOUNTING"}}}}))
	for setting, status := range map[string]int{"BLOB_MOUNTING": 200, "REGISTRY_POLICY_SCOPE": 400} {
		for operation, body := range map[string]string{"GetAccountSetting": object("name", setting),
			"PutAccountSetting": object("name", setting, "value",
				map[string]string{"BLOB_MOUNTING": "ENABLED", "REGISTRY_POLICY_SCOPE": "V2"}[setting])} {
			a := s.send(raw{key: user, target: ecrTarget + operation, body: body})
			if a.Status != status || (status == 400) != (a.Type == "AccessDeniedException") {
				t.Errorf("%s of %s: got %s, want it allowed: %t", operation, setting, a, status == 200)
			}
		}
	}
}

// The APIs are at the root of a host. Every other path of a signed request is no operation.
func TestOtherPathsAreNoOperations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, path := range []string{"/x", "//", "/index.html"} {
		a := s.send(raw{key: s.key, target: ecrTarget + "DescribeRegistry", body: "{}",
			before: func(r *http.Request) { r.URL.Path = path }})
		a.want(t, path, 400, "UnknownOperationException", "is not an operation of an API")
	}
	a := s.send(raw{key: s.key, target: ecrTarget + "DescribeRegistry", body: "{}",
		before: func(r *http.Request) { r.Method = http.MethodPut }})
	a.want(t, "another method", 400, "UnknownOperationException", "PUT /")
}
