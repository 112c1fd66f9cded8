package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// Requests, output and exit codes of ecrin explain.
func TestExplain(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	t.Parallel()
	const (
		lists   = `"principalArn":"arn:aws:iam::111111111111:root","action":"ecr:ListImages","resource":"*","layers":[],"findings":[],"changes":[],"context":[]`
		denied  = `{"explanation":{"allowed":false,"verdict":"implicitDeny","decidedBy":"resource-based","requestId":"r-1",` + lists + `}}`
		allowed = `{"explanation":{"allowed":true,"verdict":"allowed",` + lists + `}}`
	)
	for what, test := range map[string]struct {
		args              []string
		answer            string
		operation, scope  string
		request           string
		code              int
		firstLine, stderr string
	}{
		"a request": {
			[]string{"r-1"}, denied, "ExplainRequest", "/us-east-1/ecrin/", `{"requestId":"r-1"}`, 3,
			"denied because no resource-based policy allows it: arn:aws:iam::111111111111:root may not ecr:ListImages on *", "",
		},
		"an unknown request": {
			[]string{"r-2"}, `{"__type":"RequestNotFoundException","message":"there is no such request"}`, "ExplainRequest",
			"/us-east-1/ecrin/", `{"requestId":"r-2"}`, 1,
			"", "ecrin: there is no such request\n",
		},
		"all flags": {
			[]string{"--as", "111111111111", "--action", "ecr:ListImages", "--on", "team/app:1.0@" + digest,
				"--registry", "222222222222/eu-west-1", "--source-ip", "::1", "--context", "a:B=1=2", "--context", "c=", "--context", "A:b=3"},
			allowed, "ExplainAccess", "/eu-west-1/ecrin/",
			`{"principal":"111111111111","action":"ecr:ListImages","registryId":"222222222222","repositoryName":"team/app","imageTag":"1.0","imageDigest":"` + digest + `","sourceIp":"::1","context":[{"key":"a:B","values":["1=2","3"]},{"key":"c","values":[""]}]}`, 0,
			"allowed: arn:aws:iam::111111111111:root may ecr:ListImages on *, as root user of the account that owns it", "",
		},
		"an image reference": {
			[]string{"--as", "*", "--action", "ecr:ListImages", "--on",
				"registry.example.com/222222222222/eu-west-1/app"}, allowed, "ExplainAccess", "/eu-west-1/ecrin/",
			`{"principal":"*","action":"ecr:ListImages","registryId":"222222222222","repositoryName":"app"}`, 0,
			"allowed: arn:aws:iam::111111111111:root may ecr:ListImages on *, as root user of the account that owns it", "",
		},
		"an image reference with the host of a registry": {
			[]string{"--as", "*", "--action", "ecr:ListImages", "--on",
				"222222222222.dkr.ecr.eu-west-1.amazonaws.com/1/app:x"}, allowed, "ExplainAccess", "/eu-west-1/ecrin/",
			`{"principal":"*","action":"ecr:ListImages","registryId":"222222222222","repositoryName":"1/app","imageTag":"x"}`, 0,
			"allowed: arn:aws:iam::111111111111:root may ecr:ListImages on *, as root user of the account that owns it", "",
		},
		"a name with a dot is no host": {
			[]string{"--as", "*", "--action", "ecr:ListImages", "--on", "other.example.com/app"}, allowed, "ExplainAccess", "/us-east-1/ecrin/",
			`{"principal":"*","action":"ecr:ListImages","registryId":"000000000000","repositoryName":"other.example.com/app"}`, 0,
			"allowed: arn:aws:iam::111111111111:root may ecr:ListImages on *, as root user of the account that owns it", "",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var dir, request, scope, target string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if proved(t, w, r, dir) {
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				request, scope, target = string(body), r.Header.Get("Authorization"), r.Header.Get("X-Amz-Target")
				if strings.Contains(test.answer, "__type") {
					w.WriteHeader(http.StatusBadRequest)
				}
				_, _ = io.WriteString(w, test.answer)
			}))
			defer server.Close()
			dir = dataOf(t, server.URL)
			args := append([]string{"explain", "--data", dir}, test.args...)
			var out, errs bytes.Buffer
			code := cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &errs, Lookup: nothing})
			line, _, _ := strings.Cut(out.String(), "\n")
			if code != test.code || line != test.firstLine || errs.String() != test.stderr {
				t.Errorf("%v: got exit code %d, %q, %q, want %d, %q, %q", test.args, code, line, errs.String(), test.code, test.firstLine, test.stderr)
			}
			if request != test.request || !strings.Contains(scope, test.scope) || !strings.HasSuffix(target, "."+test.operation) {
				t.Errorf("%v: the request is %s %s signed by %q, want %s %s and the scope %s", test.args, target, request, scope,
					test.operation, test.request, test.scope)
			}
			if code == 1 {
				return
			}
			out.Reset()
			if got := cli.Run(t.Context(), cli.Env{Args: append(args, "--json"), Out: &out, Err: io.Discard, Lookup: nothing}); got != code {
				t.Errorf("%v --json: got exit code %d, want %d", test.args, got, code)
			}
			var got any
			var want struct{ Explanation any }
			if json.Unmarshal(out.Bytes(), &got) != nil || json.Unmarshal([]byte(test.answer), &want) != nil ||
				cmp.Diff(want.Explanation, got) != "" {
				t.Errorf("%v --json: got %s, want the explanation in %s", test.args, out.String(), test.answer)
			}
		})
	}
}
