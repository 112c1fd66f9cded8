package cli_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ranchertest"
)

// rancherRun runs `ecrin refresh rancher` with the variables of the environment.
func rancherRun(ctx context.Context, env map[string]string, errs io.Writer, args ...string) int {
	return cli.Run(ctx, cli.Env{Args: append([]string{"refresh", "rancher", "--log-format", "text"}, args...), Out: io.Discard, Err: errs,
		Lookup: func(key string) (string, bool) {
			v, ok := env[key]
			return v, ok
		}})
}

// The SDK reads the environment of the process, so this test is not parallel.
func TestRefreshRancher(t *testing.T) {
	s, f := apptest.Start(t, apptest.Options{}), ranchertest.New(t)
	root := s.Root(t)
	f.Add("https://"+s.Running.Address+"/", "active")
	env := map[string]string{"CATTLE_URL": f.URL + "/v1",
		"CATTLE_ACCESS_KEY": ranchertest.AccessKey, "CATTLE_SECRET_KEY": ranchertest.SecretKey,
		"AWS_REGION": root.Region, "AWS_ACCESS_KEY_ID": root.KeyID, "AWS_SECRET_ACCESS_KEY": root.Secret, "AWS_ENDPOINT_URL": s.URL,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
	for key, value := range env {
		t.Setenv(key, value)
	}
	var errs apptest.Buffer
	if code := rancherRun(t.Context(), env, &errs, "--once"); code != 0 {
		t.Fatalf("got exit code %d\n%s", code, &errs)
	}
	user, password, _ := strings.Cut(f.Credentials()["https://"+s.Running.Address+"/"], ":")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	answer, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || strings.Contains(errs.String(), password) {
		t.Errorf("the registry answers %d to the credential, want 200, and no password in the log:\n%s", answer.StatusCode, &errs)
	}

	// As a service: it answers /ping until it is stopped.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- rancherRun(ctx, env, &errs, "--listen", address) }()
	pong := ""
	for pong == "" && t.Context().Err() == nil {
		select {
		case code := <-ended:
			t.Fatalf("it ended with exit code %d\n%s", code, &errs)
		default:
		}
		if answer, err := s.HTTP.Get("http://" + address + "/ping"); err == nil {
			text, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			pong = string(text)
		}
	}
	stop()
	if code := <-ended; code != 0 || pong != "pong!" {
		t.Errorf("got %q and exit code %d, want pong! and 0\n%s", pong, code, &errs)
	}

	env["CATTLE_SECRET_KEY"] = "other"
	var refused bytes.Buffer
	code := rancherRun(t.Context(), env, &refused, "--listen", "127.0.0.1:0")
	if code == 0 || !strings.Contains(refused.String(), "refuses the access key") {
		t.Errorf("a wrong key: got %d, %s", code, &refused)
	}
}

// Every variable that is wrong is named at once, before anything is called.
func TestRefreshRancherVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		want []string
	}{
		{nil, []string{"CATTLE_URL is not set", "CATTLE_ACCESS_KEY is not set", "CATTLE_SECRET_KEY is not set", "AWS_REGION is not set"}},
		{map[string]string{"AUTO_CREATE": "maybe", "LOG_LEVEL": "loud", "AWS_ECR_REGISTRY_IDS": "111122223333,x"},
			[]string{"AUTO_CREATE must be", "LOG_LEVEL must be", "AWS_ECR_REGISTRY_IDS: "}},
		{map[string]string{"CATTLE_URL": "rancher:8080/v1"}, []string{"CATTLE_URL must be"}},
		{map[string]string{"CATTLE_URL": "http://r/v1", "CATTLE_ACCESS_KEY": "x", "CATTLE_SECRET_KEY": "y", "AWS_REGION": "z",
			"LISTEN_PORT": "0x1"},
			[]string{"LISTEN_PORT must be"}},
	} {
		var errs bytes.Buffer
		code := rancherRun(t.Context(), c.env, &errs)
		for _, want := range c.want {
			if code == 0 || !strings.Contains(errs.String(), want) {
				t.Errorf("%v: got %d, %s, want %q", c.env, code, &errs, want)
			}
		}
	}
}
