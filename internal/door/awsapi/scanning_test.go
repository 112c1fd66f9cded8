package awsapi_test

import (
	"fmt"
	"strings"
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

// The scanning configuration of repositories is that of the rules that choose them, with the filters that do, or their own. Filters choose
// as the user guide of ECR says.
func TestRepositoryScanningConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	names := []any{"prod", "repo-prod", "prod-repo", "repo-prod-repo", "prodrepo"}
	for _, n := range names {
		s.must("CreateRepository", object("repositoryName", n))
	}
	batch := func(names ...any) any {
		return s.must("BatchGetRepositoryScanningConfiguration", object("repositoryNames", names))
	}
	one := func(n, frequency string, filters ...string) any {
		all := []any{}
		for _, f := range filters {
			all = append(all, map[string]any{"filter": f, "filterType": "WILDCARD"})
		}
		return map[string]any{"repositoryArn": "arn:aws:ecr:us-east-1:" + home + ":repository/" + n, "repositoryName": n,
			"scanOnPush": frequency == "SCAN_ON_PUSH", "scanFrequency": frequency, "appliedScanFilters": all}
	}
	want := func(what string, got any, all ...any) {
		t.Helper()
		if diff := cmp.Diff(any(map[string]any{"scanningConfigurations": all, "failures": []any{}}), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("at first", batch("prod"), one("prod", "MANUAL"))
	s.must("PutImageScanningConfiguration", `{"repositoryName":"prod","imageScanningConfiguration":{"scanOnPush":true}}`)
	want("by its own setting", batch("prod", "prodrepo"), one("prod", "SCAN_ON_PUSH"), one("prodrepo", "MANUAL"))
	s.must("PutImageScanningConfiguration", `{"repositoryName":"prod","imageScanningConfiguration":{"scanOnPush":false}}`)
	for filter, chosen := range map[string]string{"prod": "01234", "*prod": "01", "prod*": "024", "*prod*": "01234", "prod*repo": "24"} {
		s.must("PutRegistryScanningConfiguration", object("scanType", "BASIC", "rules", []any{map[string]any{"scanFrequency": "SCAN_ON_PUSH",
			"repositoryFilters": []any{map[string]any{"filter": filter, "filterType": "WILDCARD"}}}}))
		var all []any
		for i, n := range names {
			if strings.Contains(chosen, fmt.Sprint(i)) {
				all = append(all, one(n.(string), "SCAN_ON_PUSH", filter))
			} else {
				all = append(all, one(n.(string), "MANUAL"))
			}
		}
		want(filter, batch(names...), all...)
	}
	got := batch("none", "prod").(map[string]any)
	if f := got["failures"].([]any); len(f) != 1 || f[0].(map[string]any)["failureCode"] != "REPOSITORY_NOT_FOUND" ||
		f[0].(map[string]any)["repositoryName"] != "none" || len(got["scanningConfigurations"].([]any)) != 1 {
		t.Errorf("a repository that does not exist: got %v", got)
	}
	s.wantError("BatchGetRepositoryScanningConfiguration", `{"repositoryNames":[]}`, "InvalidParameterException", "")
}
