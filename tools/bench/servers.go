package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// The servers under test. All keep their files below one directory, so that they use the same disk.

// buildEcrin builds the product as `make build` does.
func buildEcrin(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "ecrin")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ecrin: %w\n%s", err, out)
	}
	return path, nil
}

// startEcrin starts ecrin on the directory data, with the metadata in the PostgreSQL database of an address, or in SQLite without
// one. With a profile address, it starts this program, which runs the same server and net/http/pprof.
func (b *bench) startEcrin(ctx context.Context, data, database string) (*process, error) {
	return b.startEcrinWith(ctx, data, database, nil)
}

// startEcrinWith is startEcrin with a certificate; nil for no TLS.
func (b *bench) startEcrinWith(ctx context.Context, data, database string, secure *certificate) (*process, error) {
	if database == "" {
		return b.startEcrinEnv(ctx, data, secure)
	}
	return b.startEcrinEnv(ctx, data, secure, "ECRIN_DATABASE="+database)
}

// startEcrinEnv is startEcrinWith with settings as environment variables.
func (b *bench) startEcrinEnv(ctx context.Context, data string, secure *certificate, settings ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"--data", data, "--listen", address}
	var pair []string // of files with a certificate and its key
	var trust *tls.Config
	if secure != nil {
		args = append(args, "--tls=files", "--tls-cert", secure.cert, "--tls-key", secure.key)
		pair, trust = []string{secure.cert, secure.key}, secure.client
	}
	cmd, profile := exec.Command(b.ecrinPath, append([]string{"serve"}, args...)...), ""
	if b.profiles != "" {
		if profile, err = freeAddress(); err != nil {
			return nil, err
		}
		cmd = exec.Command(b.self, append([]string{"serve", data, address, profile}, pair...)...)
	}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "ECRIN_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, settings...)
	p, err := startSecure(ctx, b.dir, "ecrin", address, "/readyz", trust, cmd)
	if err == nil {
		p.profile = profile
	}
	return p, err
}

// distributionPath returns the path of distribution, built by tools/clients/install; "" if it is not built.
func distributionPath() (string, error) { return installed("distribution") }

// installed returns the path of a program that tools/clients/install has built; "" if it is not built.
func installed(name string) (string, error) {
	dir := os.Getenv("ECRIN_CLIENTS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "ecrin", "clients")
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"-v[0-9]*[0-9]"))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[len(found)-1], nil
}

func (b *bench) startDistribution(ctx context.Context) (*process, error) {
	path, err := distributionPath()
	if err != nil || path == "" {
		return nil, errors.Join(errors.New("distribution is not built: tools/clients/install distribution"), err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "distribution.yml")
	config := fmt.Sprintf(`version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
http: {addr: %s}
`, filepath.Join(b.dir, "distribution"), address)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	return start(ctx, b.dir, "distribution", address, "/v2/", cmd)
}

// startBare starts a handler that does the minimum of a Go registry: it sends the response's bytes with
// net/http.
func (b *bench) startBare(ctx context.Context, manifest string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, b.dir, "bare", address, "/", exec.Command(b.self, "bare", manifest, address))
}

// The workers keep root's rights, if any, so that they can read the file.
const nginxConfig = `user root;
worker_processes 2;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log %[1]s/nginx-access.log;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000;
	client_body_temp_path %[1]s/nginx-body;
	proxy_temp_path %[1]s/nginx-proxy;
	fastcgi_temp_path %[1]s/nginx-fastcgi;
	uwsgi_temp_path %[1]s/nginx-uwsgi;
	scgi_temp_path %[1]s/nginx-scgi;
	server { listen %[2]s; root %[1]s/static; }
}
`

// Names of static file servers.
const (
	nginx      = "nginx"
	fileServer = "file server"
)

// nginxPath returns the path of nginx, or "" if it is not installed.
var nginxPath = sync.OnceValue(func() string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		if path := filepath.Join(dir, "nginx"); exec.Command(path, "-v").Run() == nil {
			return path
		}
	}
	return ""
})

// staticName returns the name of the static file server that startStatic starts.
func staticName() string {
	if nginxPath() == "" {
		return fileServer
	}
	return nginx
}

// startStatic serves dir/static with nginx, or with Go's file server if there is no nginx.
func (b *bench) startStatic(ctx context.Context) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := b.writeStatic(b.dir); err != nil {
		return nil, err
	}
	path := nginxPath()
	if path == "" {
		return start(ctx, b.dir, fileServer, address, "/", exec.Command(b.self, "files", filepath.Join(b.dir, "static"), address))
	}
	file := filepath.Join(b.dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, b.dir, address), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, b.dir, nginx, address, "/", exec.Command(path, "-e", "stderr", "-p", b.dir, "-c", file))
}
