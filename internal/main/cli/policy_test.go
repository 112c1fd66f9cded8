package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// Requests, output and exit codes of ecrin policy grant.
func TestPolicyGrant(t *testing.T) {
	t.Parallel()
	const (
		text  = `{"Version" : "2012-10-17","Statement" : [ {"Effect" : "Allow"} ]}`
		shown = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\n      \"Effect\": \"Allow\"\n    }\n  ]\n}\n"
	)
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(rest string) string { return `{"policyText":` + string(quoted) + `,` + rest + `}` }
	for what, test := range map[string]struct {
		args, answer string
		request      string // the body, "" for none
		scope        string // part of the signature's scope
		code         int
		out, errs    string
	}{
		"to be set": {
			"pull team/app --to 111111111111",
			answer(`"changed":true,"applied":false,"warnings":[{"code":"denied","path":"Statement[1]","text":"denies it"}]`),
			`{"repositoryName":"team/app","principal":"111111111111","permission":"PULL","apply":false}`, "/us-east-1/ecrin/", 0, shown,
			"ecrin: warning: Statement[1]: denies it\n" +
				"ecrin: nothing is set yet: repeat with --apply, or save this as policy.json and run\n" +
				"ecrin:   aws ecr set-repository-policy --repository-name team/app --policy-text file://policy.json\n",
		},
		"set": {
			"push team/app --apply --to arn:aws:iam::111111111111:role/ci --registry 222222222222/eu-west-1",
			answer(`"changed":true,"applied":true,"warnings":[]`),
			`{"registryId":"222222222222","repositoryName":"team/app","principal":"arn:aws:iam::111111111111:role/ci","permission":"PUSH","apply":true}`, "/eu-west-1/ecrin/", 0, shown,
			"ecrin: this is now the policy of team/app\n",
		},
		"there already": {
			"pull team/app --to 111111111111 --apply", answer(`"changed":false,"applied":false,"warnings":[]`),
			`{"repositoryName":"team/app","principal":"111111111111","permission":"PULL","apply":true}`, "/us-east-1/ecrin/", 0, shown,
			"ecrin: the policy of team/app already has this permission: nothing to set\n",
		},
		"refused": {
			"pull team/app --to 111111111111", `{"__type":"RepositoryNotFoundException","message":"there is no such repository"}`,
			`{"repositoryName":"team/app","principal":"111111111111","permission":"PULL","apply":false}`, "/us-east-1/ecrin/", 1, "",
			"ecrin: there is no such repository\n",
		},
		"not asked": {"pull team/app --to 111111111111 --registry 222222222222/nowhere", "", "", "", 1, "",
			"ecrin: --registry: a region looks like eu-west-1, got \"nowhere\"\n"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var request, scope, dir string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if proved(t, w, r, dir) {
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GrantRepositoryAccess") {
					t.Errorf("the call is %q, error %v", r.Header.Get("X-Amz-Target"), err)
				}
				request, scope = string(body), r.Header.Get("Authorization")
				if strings.Contains(test.answer, "__type") {
					w.WriteHeader(http.StatusBadRequest)
				}
				_, _ = io.WriteString(w, test.answer)
			}))
			defer server.Close()
			dir = dataOf(t, server.URL)
			var out, errs bytes.Buffer
			args := append([]string{"policy", "grant", "--data", dir}, strings.Fields(test.args)...)
			code := cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &errs, Lookup: nothing})
			if code != test.code || out.String() != test.out || errs.String() != test.errs {
				t.Errorf("%s: exit code %d, want %d\nstandard output (-want +got):\n%s\nstandard error (-want +got):\n%s",
					test.args, code, test.code, cmp.Diff(test.out, out.String()), cmp.Diff(test.errs, errs.String()))
			}
			if request != test.request || !strings.Contains(scope, test.scope) {
				t.Errorf("%s: the request is %s signed by %q, want %s and the scope %s", test.args, request, scope, test.request, test.scope)
			}
			if code != 0 {
				return
			}
			out.Reset()
			cli.Run(t.Context(), cli.Env{Args: append(args, "--json"), Out: &out, Err: io.Discard, Lookup: nothing})
			var got, want any
			if json.Unmarshal(out.Bytes(), &got) != nil || json.Unmarshal([]byte(test.answer), &want) != nil || cmp.Diff(want, got) != "" {
				t.Errorf("%s --json: got %s, want the answer %s", test.args, out.String(), test.answer)
			}
		})
	}
}

// dataOf returns a data directory whose server is at url.
func dataOf(t *testing.T, url string) string {
	t.Helper()
	dir := t.TempDir()
	running, err := json.Marshal(app.Running{URL: url, Account: "000000000000", Region: "us-east-1",
		Domains: []string{"registry.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, app.RunningFile), running, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadKeyring(dir, "", true); err != nil {
		t.Fatal(err)
	}
	return dir
}

// proved answers a challenge as the server of the data directory does. It reports whether the request was one.
func proved(t *testing.T, w http.ResponseWriter, r *http.Request, dir string) bool {
	if r.URL.Path != app.ProofPath {
		return false
	}
	keys, err := identity.LoadKeyring(dir, "", false)
	if err != nil {
		t.Error(err)
		return true
	}
	proof := keys.ServerProof(r.URL.Query().Get("challenge"), "http://"+r.Host, "once")
	if err := json.NewEncoder(w).Encode(app.Proof{Once: "once", Proof: proof}); err != nil {
		t.Error(err)
	}
	return true
}
