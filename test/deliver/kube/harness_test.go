// Package kube_test runs the refresher of pull secrets, as the real program, against real clusters of Kubernetes. It needs the programs of
// tools/clients/install kubernetes, and root for the node.
package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

// binary is the path of the program.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("kubernetes: skipped with -short")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ecrin-kt-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ecrin")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "../../../cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the program of an image is alone there
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building ecrin: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// registry is a server with its host and the environment of a client of it.
type registry struct {
	*apptest.Server
	host string
	env  []string
}

// startRegistry starts a server. now may be nil.
func startRegistry(t *testing.T, now func() time.Time) registry {
	t.Helper()
	s := apptest.Start(t, apptest.Options{Now: now})
	root, address := s.Root(t), s.URL
	if now != nil {
		address = dated(t, s.URL, now)
	}
	// The API is at another port than the registry, so that a rule has to say that it gives the tokens of the registry.
	rules := filepath.Join(t.TempDir(), "credentials.yaml")
	if err := os.WriteFile(rules, fmt.Appendf(nil, "hosts: [{match: %q, endpoint: %q}]\n", s.Running.Address, address), 0o600); err != nil {
		t.Fatal(err)
	}
	return registry{s, s.Running.Address, []string{"ECRIN_CREDENTIALS_CONFIG=" + rules, "AWS_ENDPOINT_URL=" + address,
		"AWS_REGION=" + root.Region,
		"AWS_ACCESS_KEY_ID=" + root.KeyID,
		"AWS_SECRET_ACCESS_KEY=" + root.Secret, "AWS_EC2_METADATA_DISABLED=true", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}}
}

// dated starts a proxy whose answers have the date of a clock, by which the SDK corrects the times of its signatures.
func dated(t *testing.T, to string, now func() time.Time) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", now().UTC().Format(http.TimeFormat))
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// log collects what a program writes.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// refresher is the running program.
type refresher struct {
	cmd *exec.Cmd
	log *log
	end chan error
}

// refresh starts `ecrin refresh kubernetes` until the test ends.
func refresh(t *testing.T, env []string, args ...string) *refresher {
	t.Helper()
	r := &refresher{log: &log{}, end: make(chan error, 1)}
	r.cmd = exec.CommandContext(context.Background(), binary, append([]string{"refresh", "kubernetes", "--log-format", "json"}, args...)...)
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = env, r.log, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.end <- r.cmd.Wait() }()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it may have ended
		if t.Failed() {
			t.Logf("the refresher's log:\n%s", r.log)
		}
	})
	return r
}

// stop stops the program by SIGTERM, and checks that it ends without an error.
func (r *refresher) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.end:
		if err != nil {
			t.Errorf("SIGTERM: got %v, want exit code 0", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("SIGTERM: the refresher does not end within 20 s")
	}
}

// once runs `ecrin refresh kubernetes --once`, and returns what it writes.
func once(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"refresh", "kubernetes", "--once", "--log-format", "json"}, args...)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// object is what the tests read of objects of Kubernetes.
type object struct {
	Type     string            `json:"type"`
	Data     map[string][]byte `json:"data"`
	Metadata struct {
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	ImagePullSecrets []struct {
		Name string `json:"name"`
	} `json:"imagePullSecrets"`
}

// get reads an object, such as secret/x of a namespace.
func get(c *kubetest.Cluster, namespace, what string) (o object, err error) {
	out, err := c.TryKubectl(c.Kubeconfig, "", "get", "-n", namespace, what, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &o)
	}
	return o, err
}

// auths returns the user names and passwords, joined by a colon, of a pull secret, by host.
func (o object) auths() (map[string]string, error) {
	var c struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if err := json.Unmarshal(o.Data[".dockerconfigjson"], &c); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for host, a := range c.Auths {
		plain, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return nil, err
		}
		all[host] = string(plain)
	}
	return all, nil
}

// secrets returns the names of the pull secrets of a service account.
func (o object) secrets() (all []string) {
	for _, s := range o.ImagePullSecrets {
		all = append(all, s.Name)
	}
	return all
}

// pulls asks the registry whether the credential of a pull secret is accepted.
func (r registry) pulls(ctx context.Context, o object) error {
	all, err := o.auths()
	if err != nil {
		return err
	}
	user, password, ok := strings.Cut(all[r.host], ":")
	if !ok {
		return fmt.Errorf("the secret has entries for %q, not for %s", slices.Sorted(maps.Keys(all)), r.host)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/v2/", nil)
	if err != nil {
		return err
	}
	q.SetBasicAuth(user, password)
	resp, err := r.HTTP.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the registry answers %s: %s", resp.Status, body)
	}
	return nil
}
