package installed_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/installed"
	"github.com/ecrin-dev/ecrin/internal/test/installtest"
)

// patience is how long a test waits for what is on its way.
const patience = 2 * time.Minute

// childVariable has the folder of the installation whose pages a child process serves.
const childVariable = "ECRIN_INSTALLED_CHILD"

func TestMain(m *testing.M) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		o := options(dir)
		o.Opened = func(address string) { fmt.Println(address) }
		err = installed.New(o).Serve(ctx, l)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ended")
	os.Exit(0)
}

func options(dir string) installed.Options {
	return installed.Options{Dir: dir, Install: installtest.Options(), Wait: time.Minute, Version: "0.0.0"}
}

// console is a server of pages in this process.
type console struct {
	t         *testing.T
	mu        sync.Mutex
	addresses []string
	end       func() error
}

// serve serves the pages of a folder until the test ends.
func serve(t *testing.T, o installed.Options) *console {
	t.Helper()
	c := &console{t: t}
	first := make(chan struct{})
	o.Opened = func(address string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.addresses = append(c.addresses, address); len(c.addresses) == 1 {
			close(first)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- installed.New(o).Serve(ctx, l) }()
	c.end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := c.end(); err != nil {
			t.Errorf("the end of the server: %v", err)
		}
	})
	select {
	case <-first:
	case err := <-ended:
		t.Fatalf("the server has ended: %v", err)
	}
	return c
}

// address returns the last address that begins a session.
func (c *console) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addresses[len(c.addresses)-1]
}

// visitor is a browser without a screen: it keeps cookies, and follows nothing by itself.
type visitor struct {
	t    *testing.T
	base string // the address of the pages, without a slash at its end
	http *http.Client
}

func visit(t *testing.T, address string) *visitor {
	t.Helper()
	base, _, ok := strings.Cut(address, "/open?")
	if !ok {
		t.Fatalf("the address %q begins no session", address)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, base, &http.Client{Jar: jar, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(v.http.CloseIdleConnections)
	return v
}

func secretOf(address string) string {
	_, secret, _ := strings.Cut(address, "?secret=")
	return secret
}

// open begins a session.
func open(t *testing.T, address string) *visitor {
	t.Helper()
	v := visit(t, address)
	if g := v.send("POST", "/open", url.Values{"secret": {secretOf(address)}}); g.status != http.StatusSeeOther {
		t.Fatalf("opening: got %d\n%s", g.status, g.body)
	}
	return v
}

// got is an answer.
type got struct {
	status   int
	location string
	header   http.Header
	body     string
}

func (v *visitor) send(method, path string, form url.Values, header ...string) got {
	v.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	a, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return got{a.StatusCode, a.Header.Get("Location"), a.Header, string(b)}
}

// page gets a page that must be there, and returns its text.
func (v *visitor) page(path string) string {
	v.t.Helper()
	g := v.send("GET", path, nil)
	if g.status != http.StatusOK {
		v.t.Fatalf("%s: got %d to %q\n%s", path, g.status, g.location, g.body)
	}
	return g.body
}

var (
	tokenOf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	seenOf  = regexp.MustCompile(`name="seen" value="([^"]+)"`)
)

// form returns a form as a page of the session sends it.
func (v *visitor) form(page string, pairs ...string) url.Values {
	v.t.Helper()
	text := v.page(page)
	m := tokenOf.FindStringSubmatch(text)
	if m == nil {
		v.t.Fatalf("%s has no token for forms:\n%s", page, text)
	}
	f := url.Values{"csrf": {m[1]}}
	if seen := seenOf.FindStringSubmatch(text); seen != nil {
		f.Set("seen", seen[1])
	}
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

// post sends a form of a page.
func (v *visitor) post(page string, pairs ...string) got {
	v.t.Helper()
	return v.send("POST", page, v.form(page, pairs...))
}

// does sends a form that is accepted, and waits for the end of what it has begun. It returns what the next page says.
func (v *visitor) does(page string, pairs ...string) string {
	v.t.Helper()
	g := v.post(page, pairs...)
	if g.status != http.StatusSeeOther {
		v.t.Fatalf("%s %q: got %d\n%s", page, pairs, g.status, g.body)
	}
	if strings.HasSuffix(g.location, "/job") {
		return v.ends()
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(g.location, "/"), "/")
	return v.page("/" + path)
}

// ends waits until nothing runs, and returns the page of the job.
func (v *visitor) ends() string {
	v.t.Helper()
	var text string
	v.until("the end of the job", func() bool {
		text = v.page("/job")
		return !strings.Contains(text, "running</span>")
	})
	return text
}

// until waits until something is so.
func (v *visitor) until(what string, so func() bool) {
	v.t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			v.t.Fatalf("not in %s: %s", patience, what)
		}
	}
}

// has fails the test unless a page has the texts.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q:\n%s", text, page)
		}
	}
}

// lacks fails the test if a page has one of the texts.
func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("the page has %q:\n%s", text, page)
		}
	}
}

// child serves the pages of a folder in another process. It returns the process and the first address.
func child(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the child has said nothing: %v", lines.Err())
	}
	return cmd, lines, lines.Text()
}

// hashOf returns the hash of a file.
func hashOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
