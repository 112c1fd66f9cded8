package outside_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A reader that new-reader makes may pull what it was made for, and nothing else; another installation uses its key at once. A name that is
// in use changes nothing.
func TestNewReader(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	im := ocitest.NewImage(1, 1000)
	for _, repo := range []string{"team/app", "team/app/sub", "other", "team/apple"} {
		f.root.CreateRepository(t, repo).Push(t, "v1", im)
	}
	code, out, errs := ecrin(t, f.server, "integration", "new-reader", "vendor", "--repository", "team/app", "--json")
	if code != 0 {
		t.Fatalf("new-reader: got %d: %s", code, errs)
	}
	var r struct {
		Endpoint, Username, Password string
		Policy                       struct{ Statement []struct{ Resource any } }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Policy.Statement) != 2 || r.Policy.Statement[0].Resource != "*" || r.Endpoint == "" || strings.Contains(r.Endpoint, "/") {
		t.Errorf("new-reader: got %s, want an endpoint and a policy of two statements, the first on *", out)
	}
	in := f.in("far")
	in.AwsAccessKeyId, in.AwsSecretAccessKey = r.Username, r.Password
	add(t, f.near, in)
	for image, want := range map[string]string{"team/app:v1": "", "team/app/sub:v1": "", "other:v1": "DENIED", "team/apple:v1": "DENIED"} {
		f.want(t, image, "far", image, "GET manifest", want, "")
	}
	if err := sendImage(t, f.near, "far", "v1"); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a push by the reader: got %v, want AccessDenied", err)
	}
	if code, out, _ := ecrin(t, f.server, "integration", "new-reader", "vendor"); code != 1 || strings.Contains(out, "Password") {
		t.Errorf("a name that is in use: got %d: %s, want a refusal", code, out)
	}
	f.want(t, "the reader after that", "far", "team/app:v1", "GET manifest", "", "")
	code, out, errs = ecrin(t, f.server, "integration", "new-reader", "all")
	for _, want := range []string{"Endpoint", "Username", "Password"} {
		if code != 0 || strings.Count(out, want) != 1 {
			t.Errorf("new-reader for people: got %d: %s%s, want one line with %s", code, out, errs, want)
		}
	}
	if code, _, errs := ecrin(t, f.server, "integration", "new-reader", "bad", "--repository", "Team*"); code != 2 {
		t.Errorf("a bad repository: got %d: %s, want 2", code, errs)
	}
}
