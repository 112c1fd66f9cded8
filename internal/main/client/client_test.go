package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
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
	if _, err := call(t, prepared(t, app.Running{URL: gone.URL, Region: "us-east-1"})); !errors.Is(err, client.ErrNotRunning) || !strings.Contains(err.Error(), gone.URL) {
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
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Amz-Target") != ecrintypes.Service.TargetPrefix+".ListAccounts" || !strings.Contains(r.Header.Get("Authorization"), identity.OperatorKeyID) {
				t.Errorf("the request has the header %v", r.Header)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		out, err := call(t, prepared(t, app.Running{URL: s.URL, Region: "us-east-1"}))
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
