package awsapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The scanning configuration of a registry is stored and returned, for one account and region. What would promise scans is refused.
func TestRegistryScanningConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	get := func() any { return s.must("GetRegistryScanningConfiguration", "{}") }
	none := map[string]any{"registryId": home, "scanningConfiguration": map[string]any{"scanType": "BASIC", "rules": []any{}}}
	if diff := cmp.Diff(any(none), get()); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	rule := func(frequency string, filters ...string) map[string]any {
		all := []any{}
		for _, f := range filters {
			all = append(all, map[string]any{"filter": f, "filterType": "WILDCARD"})
		}
		return map[string]any{"scanFrequency": frequency, "repositoryFilters": all}
	}
	for _, rules := range [][]any{{rule("SCAN_ON_PUSH", "prod/*", "*"), rule("MANUAL", "test")}, {rule("MANUAL")}, {}} {
		want := map[string]any{"scanType": "BASIC", "rules": rules}
		out := s.must("PutRegistryScanningConfiguration", object("scanType", "BASIC", "rules", rules))
		if diff := cmp.Diff(map[string]any{"registryScanningConfiguration": want}, out); diff != "" {
			t.Errorf("PutRegistryScanningConfiguration (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(any(map[string]any{"registryId": home, "scanningConfiguration": want}), get()); diff != "" {
			t.Errorf("GetRegistryScanningConfiguration (-want +got):\n%s", diff)
		}
	}
	s.must("PutRegistryScanningConfiguration", object("rules", []any{rule("SCAN_ON_PUSH", "a")}))
	before := get()
	for _, wrong := range []string{object("scanType", "ENHANCED"), object("scanType", "COLOUR"),
		object("scanType", "BASIC", "rules", []any{rule("CONTINUOUS_SCAN", "*")}),
		object("scanType", "BASIC", "rules", []any{rule("MANUAL", "a"), rule("MANUAL", "b")}),
		object("scanType", "BASIC", "rules", []any{rule("MANUAL"), rule("MANUAL"), rule("MANUAL")})} {
		s.wantError("PutRegistryScanningConfiguration", wrong, "InvalidParameterException", "")
	}
	if diff := cmp.Diff(before, get()); diff != "" {
		t.Errorf("after refused configurations (-want +got):\n%s", diff)
	}
	other := s.send(raw{key: s.key, region: "eu-west-1", target: ecrTarget + "GetRegistryScanningConfiguration", body: "{}"})
	if want := `{"registryId":"` + home + `","scanningConfiguration":{"scanType":"BASIC","rules":[]}}`; other.Body != want {
		t.Errorf("in another region: got %s, want %s", other, want)
	}
	s.wantError("GetAccountSetting", `{"name":"scanning"}`, "InvalidParameterException", "'name'")
}
