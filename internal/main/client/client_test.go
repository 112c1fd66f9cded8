package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// prepared returns a data directory whose server is described by running.
func prepared(t *testing.T, running app.Running) string {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(running)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, app.RunningFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadKeyring(dir, "", true); err != nil {
		t.Fatal(err)
	}
	return dir
}

func call(t *testing.T, dir string) (ecrintypes.ListAccountsResponse, error) {
	t.Helper()
	var out ecrintypes.ListAccountsResponse
	c, err := client.Open(dir, "")
	if err != nil {
		return out, err
	}
	return out, c.Call(t.Context(), "ListAccounts", &ecrintypes.ListAccountsRequest{}, &out)
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := client.Open(dir, ""); !errors.Is(err, client.ErrNotRunning) || !strings.Contains(err.Error(), "ecrin serve --data "+dir) {
		t.Errorf("Open without a server: got %v, want ErrNotRunning and how to start one", err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := call(t, prepared(t, app.Running{URL: gone.URL, Region: "us-east-1"})); !errors.Is(err,
		client.ErrNotRunning) || !strings.Contains(err.Error(), gone.URL) {
		t.Errorf("a call to a server that was killed: got %v, want ErrNotRunning and its address", err)
	}
	if err := os.WriteFile(filepath.Join(dir, app.RunningFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Find(dir); err == nil || errors.Is(err, client.ErrNotRunning) {
		t.Errorf("Find with a broken file: got %v, want an error that is not ErrNotRunning", err)
	}
}

// A missing master key is not created by the client, since it would differ from the server's.
func TestNoMasterKey(t *testing.T) {
	t.Parallel()
	dir := prepared(t, app.Running{URL: "http://127.0.0.1:1"})
	key := filepath.Join(dir, "master.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Open(dir, ""); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("Open without a master key: got %v", err)
	}
	if _, err := os.Stat(key); !os.IsNotExist(err) {
		t.Errorf("Open made a master key: %v", err)
	}
}

// Errors of ecrin and responses of other servers are distinguished.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"accounts":[{"accountId":"000000000000","createdAt":1.5,"isDefault":true}]}`, ""},
		{400, `{"__type":"AccessDeniedException","message":"you may not"}`, "you may not"},
		{400, `{"__type":"X"}`, "the server answered 400"},
		{502, `<html>bad gateway</html>`, "the server answered 502 Bad Gateway"},
		{200, `<html>login</html>`, "reading the response"},
	} {
		var dir string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if proved(t, w, r, dir) {
				return
			}
			if r.Header.Get(identity.OnceHeader) != "once" ||
				!strings.Contains(r.Header.Get("Authorization"), strings.ToLower(identity.OnceHeader)) {
				t.Errorf("the request is not signed with the value of the proof: %v", r.Header)
			}
			if r.Header.Get("X-Amz-Target") != ecrintypes.Service.TargetPrefix+".ListAccounts" ||
				!strings.Contains(r.Header.Get("Authorization"), identity.OperatorKeyID) {
				t.Errorf("the request has the header %v", r.Header)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		dir = prepared(t, app.Running{URL: s.URL, Region: "us-east-1"})
		out, err := call(t, dir)
		s.Close()
		var answered *client.Error
		switch {
		case c.want == "" && (err != nil || len(out.Accounts) != 1):
			t.Errorf("%d %s: got %+v, %v", c.status, c.body, out, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%d %s: got %v, want %q in it", c.status, c.body, err, c.want)
		case errors.As(err, &answered) != strings.Contains(c.body, "message"):
			t.Errorf("%d %s: got %T", c.status, c.body, err)
		}
	}
}

// proved answers a challenge as the server of the data directory does, with the value "once". It reports whether the request
// was one.
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

// A program that has taken the address of a server that was killed gets no signature from the command line: neither one that
// knows nothing, nor one that has the proof of another address, such as that of the true server.
func TestAnotherProgramGetsNoSignature(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(dir, challenge string) any{
		"knows nothing":  func(string, string) any { return app.Proof{Once: "once", Proof: []byte("proof")} },
		"another answer": func(string, string) any { return "hello" },
		"relays": func(dir, challenge string) any {
			keys, err := identity.LoadKeyring(dir, "", false)
			if err != nil {
				t.Error(err)
				return nil
			}
			return app.Proof{Once: "once", Proof: keys.ServerProof(challenge, "http://localhost:5100", "once")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dir string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != app.ProofPath || r.Header.Get("Authorization") != "" {
					t.Errorf("the other program got %s %s with %v", r.Method, r.URL, r.Header)
				}
				_ = json.NewEncoder(w).Encode(answer(dir, r.URL.Query().Get("challenge")))
			}))
			defer s.Close()
			dir = prepared(t, app.Running{URL: s.URL, Region: "us-east-1"})
			if _, err := call(t, dir); !errors.Is(err, client.ErrAnotherServer) || !strings.Contains(err.Error(), s.URL) {
				t.Errorf("a call: got %v, want ErrAnotherServer and the address", err)
			}
		})
	}
}

// A description whose process is gone and whose lock is free is told from that of a server that runs, without a connection.
func TestStaleDescription(t *testing.T) {
	t.Parallel()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("got %s %s", r.Method, r.URL) }))
	defer s.Close()
	dir := prepared(t, app.Running{URL: s.URL, Region: "us-east-1", PID: gone.Process.Pid, Boot: app.BootID()})
	if app.BootID() == "" {
		t.Skip("this system has no id of its start")
	}
	if _, err := client.Open(dir, ""); !errors.Is(err, client.ErrNotRunning) ||
		!strings.Contains(err.Error(), strconv.Itoa(gone.Process.Pid)) {
		t.Errorf("Open: got %v, want ErrNotRunning and the process", err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err == nil {
		defer lock.Close()
		err = durable.TryLock(lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Open(dir, ""); err != nil {
		t.Errorf("Open while a server, in a container perhaps, has the lock: %v", err)
	}
}

// A request of the operator that somebody else got hold of is accepted once.
func TestOperatorsRequestIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	keys, err := identity.LoadKeyring(s.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	const body = "{}"
	send := func(once string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", ecrintypes.Service.TargetPrefix+".GetAccountCredentials")
		if once != "" {
			r.Header.Set(identity.OnceHeader, once)
		}
		key := aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: keys.OperatorSecret().Reveal()}
		if err := v4.NewSigner().SignHTTP(t.Context(), key, r, ocitest.SHA256([]byte(body))[len("sha256:"):], "ecrin",
			s.Running.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := s.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	once, err := client.Prove(t.Context(), s.HTTP, s.Running.URL, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		what, once string
		want       int
	}{
		{"a fresh value", once, 200}, {"the value again", once, 400}, {"no value", "", 400}, {"a value of nobody",
			once[:20] + "AAAA" + once[24:], 400},
	} {
		if got := send(c.once); got != c.want {
			t.Errorf("%d: %s: got %d, want %d", i, c.what, got, c.want)
		}
	}
}
