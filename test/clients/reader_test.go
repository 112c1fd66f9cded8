package clients_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
)

// loopbackEnv is the variable that makes this test binary bring up the loopback interface and become the program in its arguments. It
// is used in a network namespace of its own.
const loopbackEnv = "ECRIN_CLIENTS_LOOPBACK"

// The machine of a reader listens on this port of the README.
const readmeAddress = "localhost:5100"

// A reader does what a page says: a shell in one folder, whose variables last from one command to the next, and a server.
type reader struct {
	*session
	t      *testing.T
	page   string            // that is read
	stop   func()            // of the server
	keys   map[string]string // of the user ci
	digest string            // of team/app:1.0
	nested []step            // commands for a machine of their own, see finish
	ran    int
	rows   map[string]int // commands of the table's rows by client
}

// newReader returns a reader of a page with the docker engine, the program and an aws CLI.
func newReader(t *testing.T, page string) *reader {
	t.Helper()
	home := t.TempDir()
	s := &session{t: t, s: &server{plain: true}, home: home, env: os.Environ()}
	withEngine(s)
	containersConfig(s)
	socket, err := containerdSocket()
	if err != nil {
		t.Fatal(err)
	}
	bin := mkdir(t, home, "shims")
	symlink(t, awsCLIs()["1"], filepath.Join(bin, "aws")) // one that reads AWS_ENDPOINT_URL
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	symlink(t, filepath.Join(workDir, "bin", "ecrin"), filepath.Join(mkdir(t, home, "bin"), "ecrin"))
	s.env = append(s.env, "HOME="+home, "TMPDIR="+mkdir(t, home, "tmp"), "XDG_RUNTIME_DIR="+mkdir(t, home, "run"), "AWS_PAGER=",
		"PATH="+bin+":"+lookup(s.env, "PATH"), "COSIGN_PASSWORD=", "BUILDAH_ISOLATION=chroot",
		"CONTAINERD_ADDRESS="+socket, "CONTAINERD_NAMESPACE="+cgroupParent()+"-readme", "CONTAINERD_SNAPSHOTTER=native")
	write(t, s.path(".config/containers/policy.json"), `{"default":[{"type":"insecureAcceptAnything"}]}`)
	write(t, s.path("state"), "")
	return &reader{session: s, t: t, page: page, rows: map[string]int{}}
}

// newReadmeReader returns a reader with the images and charts that the README takes for granted.
func newReadmeReader(t *testing.T) *reader {
	t.Helper()
	u := newReader(t, "README.md")
	img := loadImage(u.session, "alpine:latest")
	u.cmd("podman", "load", "--quiet", "--input", img.archive).ok()
	u.cmd("podman", "tag", img.loaded, "readme-image").ok()
	u.cmd("skopeo", "copy", "--quiet", "--all", "oci:"+theImage(t).layout+":v1", "oci:layout:1.0").ok()
	u.cmd("helm", "create", "greeting").ok()
	u.cmd("helm", "package", "greeting").ok()
	u.cmd("cosign", "generate-key-pair").ok()
	write(t, u.path("seed.yaml"), `{accounts: {"111122223333": {users: {ci: {keys: true}}}}}`)
	return u
}

var serveWords = regexp.MustCompile(`^((?:[A-Z_]+=\S+ )*)(?:bin/)?ecrin serve\b`)

// do runs one command.
func (u *reader) do(s step) {
	t := u.t
	t.Helper()
	u.ran++
	u.rows[s.row]++
	code := strings.NewReplacer("--seed FILE", "--seed seed.yaml", "IMAGE ", "localhost/readme-image ", "NAME", "greeting",
		"team/app@sha256:…", "team/app@"+u.digest).Replace(s.code)
	switch {
	case strings.HasPrefix(code, "make build "):
		if _, err := os.Stat(u.path("bin/ecrin")); err != nil {
			t.Errorf("%s:%d: make build has made no bin/ecrin (see prepare): %v", u.page, s.line, err)
		}
	case strings.HasPrefix(code, "FROM "):
		write(t, u.path("Dockerfile"), code+"\n")
	case strings.HasPrefix(code, "sudo ") || strings.HasPrefix(code, "ecrin trust") || strings.HasPrefix(code, "ecrin doctor") ||
		strings.HasPrefix(code, "ecrin serve --listen 0.0.0.0:443"):
		u.nested = append(u.nested, s)
	case strings.HasPrefix(code, "psql "):
		u.database()
		u.shell(s, code, true)
	case serveWords.MatchString(code):
		u.serve(s, code)
	case strings.HasSuffix(code, "# with the keys of ci"):
		write(t, u.path("ci"), "AWS_ACCESS_KEY_ID="+u.keys["AccessKeyId"]+" AWS_SECRET_ACCESS_KEY="+u.keys["SecretAccessKey"]+"\n")
		u.shell(s, ". ./ci; "+code, false)
	default:
		out := u.shell(s, code, s.block || s.row != "" && strings.HasPrefix(s.row, "client"))
		if strings.HasPrefix(code, "aws iam create-access-key") {
			var made struct{ AccessKey map[string]string }
			if err := json.Unmarshal([]byte(out), &made); err != nil {
				t.Errorf("%s:%d: %s printed %q: %v", u.page, s.line, code, out, err)
			}
			u.keys = made.AccessKey
		}
		if strings.HasPrefix(code, "skopeo copy") { // the last push of team/app:1.0
			u.digest = theImage(t).index.String()
		}
	}
}

// shell runs a command in the shell of the reader, and keeps the variables that it sets if keep is true. It must succeed.
func (u *reader) shell(s step, code string, keep bool) string {
	u.t.Helper()
	if strings.HasPrefix(code, "eval ") { // whose status is 0 also if there is nothing to evaluate
		code = "unset AWS_ACCESS_KEY_ID\n" + code + "\ntest -n \"$AWS_ACCESS_KEY_ID\""
	}
	script := "set -a -o pipefail; . ./state\n" + code + "\nstatus=$?\n"
	if keep {
		script += `export -p | grep -v 'declare -x \(PWD\|OLDPWD\|SHLVL\|status\)' >state` + "\n"
	}
	out, stderr, err := u.cmd("bash", "-c", script+"exit $status").run()
	if err != nil {
		u.t.Errorf("%s:%d: `%s`: %v\n%s\n%s", u.page, s.line, code, err, out, stderr)
	}
	return out
}

// serve starts a server as a command of the README does. The first one, and that for anonymous clients after it, serve the folder of the
// reader on the port of the README; others get a folder and a port of their own by the environment, and stop when they are ready.
func (u *reader) serve(s step, code string) {
	t := u.t
	t.Helper()
	variables := serveWords.FindStringSubmatch(code)[1]
	env := append(u.env, strings.Fields(variables)...)
	data, address := u.path("ecrin-data"), readmeAddress
	main := u.stop == nil || strings.Contains(code, "--anonymous")
	if main && u.stop != nil {
		u.stop()
		env = append(env, "DOCKER_CONFIG="+mkdir(t, u.home, "no-login")) // for what follows
		u.env = append(u.env, "DOCKER_CONFIG="+u.path("no-login"))
	}
	if !main {
		data, address = t.TempDir(), ""
		env = append(env, "ECRIN_DATA="+data, "ECRIN_LISTEN=127.0.0.1:0")
	}
	os.Remove(filepath.Join(data, "serve.json"))
	ready := func() error {
		raw, err := os.ReadFile(filepath.Join(data, "serve.json"))
		if err != nil {
			return err
		}
		var about struct{ Address string }
		if err := json.Unmarshal(raw, &about); err != nil {
			return err
		}
		if address == "" {
			address = about.Address
		}
		resp, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	stop, err := daemon(env, ready, "sh", "-c", `cd "$1" && exec env `+code, "sh", u.home)
	if err != nil {
		t.Errorf("%s:%d: `%s`: %v", u.page, s.line, code, err)
		return
	}
	if main {
		u.stop = stop
	} else {
		stop()
	}
}

// database starts a PostgreSQL server that is reached as the README says: by the variables of psql as its superuser, and at localhost:5432.
func (u *reader) database() {
	t := u.t
	t.Helper()
	if lookup(u.env, "PGHOST") != "" {
		return
	}
	// The user of PostgreSQL, who is not root, has to reach its directory.
	if err := os.Chmod(workDir, 0o711); err != nil {
		t.Fatal(err)
	}
	server := pgtest.New(t)
	socket := server.Socket()
	// Its superuser has the name of the role that the README creates.
	server.Exec(t, "postgres", "CREATE ROLE postgres LOGIN SUPERUSER")
	u.env = append(u.env, "PGHOST="+filepath.Dir(socket), "PGUSER=postgres", "PGDATABASE=postgres")
	u.cmd("psql", "-c", "ALTER ROLE ecrin RENAME TO first").ok()
	l, err := net.Listen("tcp", "127.0.0.1:5432")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", socket)
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
		}
	}()
}

// finish runs the commands for TLS, which write to /etc and /usr/local/bin and use port 443: on a machine of their own, which is a shell
// with its own network and its own versions of these folders.
func (u *reader) finish() {
	t := u.t
	t.Helper()
	if u.stop != nil {
		u.stop()
	}
	dir := t.TempDir()
	symlink(t, u.path("bin"), filepath.Join(dir, "bin"))
	hosts := write(t, filepath.Join(dir, "hosts"), "127.0.0.1 localhost\n")
	if err := os.Chmod(hosts, 0o644); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -e\nmount --bind " + hosts + " /etc/hosts\nmount -t tmpfs none /usr/local/bin\n")
	for _, client := range []string{"docker", "containerd", "containers"} {
		script.WriteString("mkdir -p /etc/" + client + "\nmount -t tmpfs none /etc/" + client + "\n")
	}
	for _, s := range u.nested {
		code := strings.ReplaceAll(s.code, "HOST", "reg.example.com")
		fmt.Fprintf(&script, "echo 'README.md:%d' >&2\n", s.line)
		switch {
		case strings.HasPrefix(code, "ecrin serve"):
			script.WriteString(withoutComment(code) + " & server=$!\n" +
				"for i in $(seq 300); do curl -sfk https://localhost/readyz >ready && break; sleep 0.1; done; test -s ready\n")
		case code == "ecrin trust print":
			script.WriteString(code + " >ca.pem\n")
		default:
			script.WriteString(code + "\n")
		}
	}
	script.WriteString("getent hosts 000000000000.dkr.ecr.us-east-1.amazonaws.com\ntest -s /etc/docker/certs.d/reg.example.com/ca.crt\nkill $server\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u.dir(dir).cmd("unshare", "--mount", "--propagation", "private", "--net", self, "bash", "-c", script.String()).
		with(loopbackEnv + "=1").ok()
}

// dir returns the session with another folder.
func (u *reader) dir(dir string) *session {
	s := *u.session
	s.home = dir
	return &s
}

// becomeOnLoopback brings up the loopback interface and becomes the program in the arguments.
func becomeOnLoopback() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		return err
	}
	return syscall.Exec(path, os.Args[1:], os.Environ())
}
