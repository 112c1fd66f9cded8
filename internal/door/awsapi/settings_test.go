package awsapi_test

import (
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
