// Package kubetest runs a real cluster of Kubernetes inside a test: etcd, kube-apiserver, and on request the controllers, the scheduler and
// a node, which is a real kubelet with containerd. tools/clients/install kubernetes builds the programs.
package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options choose the parts of a cluster. etcd and the API server are always there.
type Options struct {
	Issuer      string // of the tokens of service accounts; "" means https://issuer.test
	Controllers bool   // kube-controller-manager
	Node        bool   // kube-scheduler, containerd and a kubelet; needs root, and Controllers are there too
	// Kubelet returns further flags of the kubelet. It is called when the rest of the cluster runs; nil means none.
	Kubelet func(*Cluster) []string
	Images  [][]byte // further images of the node, archives too
	Network bool     // pods have a network of their own, which leads nowhere: the node is ready, and pods need not that of the host
	Image   []byte   // of the sandboxes of the pods, an archive as docker load takes it; required with Node: see Archive
}

// Cluster is a running cluster. All its files are in Dir.
type Cluster struct {
	Dir        string
	URL        string // https://127.0.0.1:PORT
	Kubeconfig string // path, of an administrator
	Etcd       string // host:port

	t   testing.TB
	ca  string
	bin string
	api *process
}

const (
	// AdminToken is the bearer token of the administrator.
	AdminToken = "admin-token"
	nodeToken  = "node-token"
	// NodeName is the name of the node.
	NodeName = "n1"
	// Sandbox is the name of the image of the sandboxes.
	Sandbox = "ecrin.test/pause:1"
	// ready is the time that a part of the cluster may take to start.
	ready = time.Minute
)

// Start starts a cluster until the test ends. It fails the test if a program is missing.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "ecrin-k-") // a short path, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the folder of the cluster: %v", err)
		}
	})
	c := &Cluster{t: t, Dir: dir, bin: programs(t)}
	c.keys("sa")
	ports := freePorts(t, 5)
	c.Etcd = "127.0.0.1:" + ports[0]
	peer := "http://127.0.0.1:" + ports[1]
	c.start("etcd", nil, "etcd", "--data-dir", c.path("etcd"), "--unsafe-no-fsync", "--listen-client-urls", "http://"+c.Etcd,
		"--advertise-client-urls", "http://"+c.Etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default="+peer, "--log-level", "warn")
	c.URL = "https://127.0.0.1:" + ports[2]
	if o.Issuer == "" {
		o.Issuer = "https://issuer.test"
	}
	c.write("tokens.csv", AdminToken+",admin,1,system:masters\n"+nodeToken+",system:node:"+NodeName+",2,system:nodes\n")
	c.api = c.start("kube-apiserver", nil, c.program("kube-apiserver"), "--etcd-servers=http://"+c.Etcd, "--service-account-issuer="+o.Issuer,
		"--service-account-key-file="+c.path("sa.pub"), "--service-account-signing-key-file="+c.path("sa.key"),
		"--token-auth-file="+c.path("tokens.csv"), "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.9.0.0/24",
		"--bind-address=127.0.0.1", "--secure-port="+ports[2], "--cert-dir="+c.path("certs"),
		"--api-audiences=https://kubernetes.default.svc", "--event-ttl=1h", "--enable-admission-plugins=NodeRestriction")
	c.ca = c.path("certs/apiserver.crt")
	c.wait("the API server", func() error { return c.get("/readyz") })
	c.Kubeconfig = c.KubeconfigOf("admin", AdminToken)
	if o.Controllers || o.Node {
		c.start("kube-controller-manager", nil, c.program("kube-controller-manager"), "--kubeconfig="+c.Kubeconfig,
			"--service-account-private-key-file="+c.path("sa.key"), "--root-ca-file="+c.ca, "--bind-address=127.0.0.1",
			"--secure-port="+ports[3], "--cert-dir="+c.path("certs-kcm"), "--leader-elect=false")
	}
	if o.Node {
		c.start("kube-scheduler", nil, c.program("kube-scheduler"), "--kubeconfig="+c.Kubeconfig, "--bind-address=127.0.0.1",
			"--secure-port="+ports[4], "--cert-dir="+c.path("certs-s"), "--leader-elect=false")
		var flags []string
		if o.Kubelet != nil {
			flags = o.Kubelet(c)
		}
		for i, image := range o.Images {
			c.write(fmt.Sprintf("image-%d.tar", i), string(image))
		}
		if o.Network {
			c.network()
		}
		c.node(o.Image, flags)
	}
	return c
}

func (c *Cluster) path(rel string) string { return filepath.Join(c.Dir, rel) }

func (c *Cluster) write(rel, content string) string {
	c.t.Helper()
	path := c.path(rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// keys makes a key for the tokens of service accounts.
func (c *Cluster) keys(label string) {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(label+".key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	c.write(label+".pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
}

// KubeconfigOf writes a kubeconfig for the owner of a bearer token, and returns its path.
func (c *Cluster) KubeconfigOf(label, token string) string {
	c.t.Helper()
	return c.write("kubeconfig-"+label, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, c.URL, c.ca, token))
}

// KubeconfigAt writes a kubeconfig for another server, without credentials, and returns its path.
func (c *Cluster) KubeconfigAt(label, address string) string {
	c.t.Helper()
	return c.write("kubeconfig-"+label, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
`, address))
}

// RotateKeys starts the API server again with another key for the tokens of service accounts. With which = "both", it signs with a new key
// and accepts the old one too, with "new", it accepts the new one alone.
func (c *Cluster) RotateKeys(t testing.TB, which string) {
	t.Helper()
	back := c.Away(t)
	args := slices.DeleteFunc(slices.Clone(c.api.cmd.Args), func(arg string) bool {
		return strings.HasPrefix(arg, "--service-account-key-file=") || strings.HasPrefix(arg, "--service-account-signing-key-file=")
	})
	if which == "both" {
		c.keys("sa2")
		args = append(args, "--service-account-key-file="+c.path("sa.pub"))
	}
	c.api.cmd.Args = append(args, "--service-account-key-file="+c.path("sa2.pub"), "--service-account-signing-key-file="+c.path("sa2.key"))
	back()
}

// Kubectl runs kubectl as the administrator, and returns its output.
func (c *Cluster) Kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.TryKubectl(c.Kubeconfig, "", args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Apply gives objects in YAML or JSON to kubectl apply.
func (c *Cluster) Apply(objects string) {
	c.t.Helper()
	if _, err := c.TryKubectl(c.Kubeconfig, objects, "apply", "-f", "-"); err != nil {
		c.t.Fatalf("kubectl apply: %v\n%s", err, objects)
	}
}

// TryKubectl runs kubectl with a kubeconfig and an input, and returns its output. Errors have what it writes to standard error.
func (c *Cluster) TryKubectl(kubeconfig, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), c.program("kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+c.Dir)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// Eventually waits until a function returns nil, and fails the test with its last error after a time.
func (c *Cluster) Eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// Away ends the API server, and starts it again by the function that it returns.
func (c *Cluster) Away(t testing.TB) (back func()) {
	t.Helper()
	if err := c.api.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.api.done
	return func() {
		t.Helper()
		c.api = c.start("kube-apiserver", nil, c.api.cmd.Path, c.api.cmd.Args[1:]...)
		c.wait("the API server", func() error { return c.get("/readyz") })
	}
}

// Transport returns a transport that trusts the API server.
func (c *Cluster) Transport() *http.Transport {
	pool := x509.NewCertPool()
	content, err := os.ReadFile(c.ca)
	if err == nil { // else no server is trusted, until it has written its certificate
		pool.AppendCertsFromPEM(content)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 16, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return tr
}

func (c *Cluster) get(path string) error {
	tr := c.Transport()
	defer tr.CloseIdleConnections()
	client := &http.Client{Timeout: 5 * time.Second, Transport: tr}
	q, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.URL+path, nil)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+AdminToken)
	resp, err := client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", path, resp.Status, text)
	}
	return nil
}

// wait waits for a part of the cluster, and fails the test if a program ends meanwhile.
func (c *Cluster) wait(what string, check func() error) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(ready); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s does not start: %v\n%s", what, err, c.Logs())
}

// Logs returns the last lines of the logs of all programs.
func (c *Cluster) Logs() string {
	var b strings.Builder
	logs, _ := filepath.Glob(c.path("*.log")) // the pattern is right
	for _, path := range logs {
		if text, err := os.ReadFile(path); err == nil {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(path), strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
	return b.String()
}

// process is a program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (c *Cluster) start(label string, env []string, program string, args ...string) *process {
	c.t.Helper()
	log, err := os.Create(c.path(label + ".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(context.Background(), program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, c.Dir
	p.cmd.Env = append(append(os.Environ(), "HOME="+c.Dir), env...)
	// The kernel ends the program when the thread that started it ends, so also if the test is killed, when no cleanup runs.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread lives as long as the program
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed
		}
		log.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		c.t.Fatalf("starting %s: %v", label, err)
	}
	c.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

// program returns the path of a built program.
func (c *Cluster) program(label string) string {
	c.t.Helper()
	found, err := filepath.Glob(filepath.Join(c.bin, label+"-v*"))
	found = slices.DeleteFunc(found, func(path string) bool { return strings.HasSuffix(path, ".log") })
	if err != nil || len(found) == 0 {
		c.t.Fatalf("%s is not built: run tools/clients/install kubernetes", label)
	}
	return found[len(found)-1]
}

// programs returns the folder of the built programs.
func programs(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Fatal("etcd is not installed: run tools/clients/install kubernetes")
	}
	root, err := filepath.Abs(".")
	for err == nil {
		if _, missing := os.Stat(filepath.Join(root, "tools/clients/install")); missing == nil {
			break
		}
		if filepath.Dir(root) == root {
			t.Fatal("the test does not run inside the tree")
		}
		root = filepath.Dir(root)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(root, "tools/clients/install"), "where").Output()
	if err != nil {
		t.Fatalf("tools/clients/install where: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// freePorts returns ports of 127.0.0.1 on which nothing listens.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}
