// Package installed serves the pages of an installed application, beside its folder on the machine of the customer: the history of its
// versions, what differs between them, their files, whether their images can be pulled, deploying and going back, values and licence.
//
// Who has the folder may do all of that by the command line, so the pages have one right: a one-time secret, which the command prints, is
// exchanged for a session. The server listens on an address of this machine only. It keeps nothing but sessions and the job that runs,
// both in memory, and takes the lock of the folder for each action, so that the command line can be used beside it.
package installed

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/look"
)

//go:embed templates/*.html
var templates embed.FS

var pages = look.NewPages(templates, nil)

// Options say which installation is served, and how.
type Options struct {
	Dir     string          // of the installation
	Install install.Options // Say is called too
	Wait    time.Duration   // how long a deployment may take
	Version string          // of the program, as the foot of a page shows it
	Now     func() time.Time
	// Opened is called with each address by which a browser can begin a session: once when the server starts, and after each use.
	Opened func(address string)
}

// The limits of the server. A stranger on this machine, who has no session, can hold connections only.
const (
	maxConnections = 128
	maxHead        = 16 << 10
	maxForm        = 1 << 20
	headTime       = 10 * time.Second
	requestTime    = 30 * time.Second
	idleTime       = 2 * time.Minute
	maxSessions    = 8
	sessionIdle    = time.Hour
	sessionLife    = 12 * time.Hour
	endTime        = 20 * time.Second // for a job to end after the process was told to
)

// Server serves the pages of one installation. It is safe for concurrent use.
type Server struct {
	Options
	key string // the first part of each path. Cookies do not tell ports of this machine apart: it does.

	mu       sync.Mutex
	address  string            // of the listener, http://HOST:PORT
	secret   [sha256.Size]byte // hash of the secret that begins a session; it is used once
	sessions map[[sha256.Size]byte]*session
	job      *job // that runs or has ended last; nil for none

	heavy sync.Mutex // one comparison, or one file, is in memory at once
	work  sync.WaitGroup
	ctx   context.Context // of jobs
}

// New returns a server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Opened == nil {
		o.Opened = func(string) {}
	}
	return &Server{Options: o, key: random(16), sessions: map[[sha256.Size]byte]*session{}}
}

// random returns n random bytes as text for paths.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Loopback reports whether a host, with or without a port, is this machine by its name localhost or by an address.
func Loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// ErrNotLoopback is the error of Serve for a listener that other machines reach.
var ErrNotLoopback = errors.New("the pages are served on an address of this machine only, such as 127.0.0.1:0")

// Serve serves the pages on a listener until ctx ends. A job that runs then is told to end: a deployment can be resumed. Serve may be
// called once.
//
// Errors: ErrNotLoopback; those of the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !Loopback(l.Addr().String()) {
		return ErrNotLoopback
	}
	jobs, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.ctx, s.address = jobs, "http://"+l.Addr().String()
	s.mu.Unlock()
	server := &http.Server{Handler: s, ReadHeaderTimeout: headTime, ReadTimeout: requestTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(&limited{Listener: l, places: make(chan struct{}, maxConnections)}) }()
	s.Opened(s.next())
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	cancel()
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer stop()
	if server.Shutdown(late) != nil {
		_ = server.Close() // what is left of the answers is given up
	}
	s.work.Wait()
	return err
}

// next makes a new secret, and returns the address with it.
func (s *Server) next() string {
	secret := random(32)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = sha256.Sum256([]byte(secret))
	return s.address + s.base() + "/open?secret=" + secret
}

// base returns the path of the pages, without a slash at its end.
func (s *Server) base() string { return "/" + s.key }

// limited accepts a number of connections at once.
type limited struct {
	net.Listener
	places chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	l.places <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

type placed struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	look.Head(w.Header())
	x := &request{Server: s, w: w, r: r, begun: s.Now()}
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// problem is an error of a page.
type problem struct {
	status int
	what   string // a sentence without its full stop
	text   string
}

// Error has both.
func (p *problem) Error() string { return p.what + ": " + p.text }

// The errors of requests.
var (
	errHost = &problem{http.StatusMisdirectedRequest, "This is not the address of this page",
		"it is served to this machine, as localhost or by an address such as 127.0.0.1"}
	errNoPage  = &problem{http.StatusNotFound, "There is no such page", "begin with the address that ecrin update console has printed"}
	errMethod  = &problem{http.StatusMethodNotAllowed, "This page does not take that method", "it is read, or has a form"}
	errForged  = &problem{http.StatusForbidden, "The form was not accepted", "it was not sent by a page of this session: open the page again"}
	errForm    = &problem{http.StatusBadRequest, "The form was not accepted", "it is malformed, or too large"}
	errNothing = &problem{http.StatusBadRequest, "The form was not accepted", "it names nothing that this page does"}
	errSession = &problem{http.StatusUnauthorized, "Open this page by the address in the terminal",
		"ecrin update console prints an address for each browser; it begins a session once"}
	errSecret = &problem{http.StatusForbidden, "This address was used, or is not the last one",
		"ecrin update console prints a new address after each use: open the last one"}
	errChanged = &problem{http.StatusConflict, "This has changed since you opened it", "open the page again, and decide by what it shows now"}
	errRunning = &problem{http.StatusConflict, "Something else is running", "one thing is done at a time: wait until it ends, then try again"}
	errLocked  = &problem{http.StatusConflict, "Another ecrin works with this folder",
		"nothing was changed: wait until that command ends, then try again"}
)

// fail answers a request with an error, as a page.
func (x *request) fail(err error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = &problem{http.StatusInternalServerError, "This could not be done", err.Error()}
	}
	if p == errSession && x.r.Header.Get("HX-Request") != "" { // a part of a page: the whole page says so
		x.w.Header().Set("HX-Refresh", "true")
	}
	v := &view{Title: p.what, Alone: x.session == nil, Main: p}
	if x.render(p.status, "error", v) != nil {
		x.w.WriteHeader(http.StatusInternalServerError)
	}
}

// What and Text are for the template.
func (p *problem) What() string { return p.what }
func (p *problem) Text() string { return p.text }

// row is one method of one path below the key. A part of the path in braces is any text but "".
type row struct {
	method, path string
	serve        func(*request) error
	open         bool // needs no session
}

// rows are all requests that are served.
var rows []row

func init() {
	rows = []row{
		{method: "GET", path: "", serve: (*request).historyPage},
		{method: "POST", path: "", serve: (*request).onHistory},
		{method: "GET", path: "open", serve: (*request).openPage, open: true},
		{method: "POST", path: "open", serve: (*request).openSession, open: true},
		{method: "POST", path: "signout", serve: (*request).signOut},
		{method: "POST", path: "theme", serve: (*request).setTheme},
		{method: "GET", path: "job", serve: (*request).jobPage},
		{method: "POST", path: "job", serve: (*request).onJob},
		{method: "GET", path: "versions/{version}", serve: (*request).versionPage},
		{method: "POST", path: "versions/{version}", serve: (*request).onVersion},
		{method: "GET", path: "versions/{version}/files", serve: (*request).filesPage},
		{method: "GET", path: "versions/{version}/file", serve: (*request).sendFile},
		{method: "GET", path: "diff", serve: (*request).diffPage},
		{method: "GET", path: "config", serve: (*request).configPage},
		{method: "POST", path: "config", serve: (*request).saveConfig},
		{method: "GET", path: "licence", serve: (*request).licencePage},
		{method: "POST", path: "licence", serve: (*request).syncLicence},
		{method: "GET", path: "registry", serve: (*request).registryPage},
	}
}

// find returns the row of a method and a path, with the parts that the row names.
//
// Errors: errNoPage, errMethod.
func find(method, path string) (*row, map[string]string, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	err := error(errNoPage)
	got := strings.Split(path, "/")
	for i := range rows {
		at := map[string]string{}
		want := strings.Split(rows[i].path, "/")
		same := len(want) == len(got)
		for j := 0; same && j < len(want); j++ {
			if strings.HasPrefix(want[j], "{") {
				at[strings.Trim(want[j], "{}")], same = got[j], got[j] != ""
			} else {
				same = want[j] == got[j]
			}
		}
		switch {
		case same && rows[i].method == method:
			return &rows[i], at, nil
		case same:
			err = errMethod
		}
	}
	return nil, nil, err
}

// serve finds the row and the session of the request and does it.
func (x *request) serve() error {
	if !Loopback(x.r.Host) {
		return errHost
	}
	key, path, found := strings.Cut(strings.TrimPrefix(x.r.URL.Path, "/"), "/")
	if !found || subtle.ConstantTimeCompare([]byte(key), []byte(x.key)) != 1 {
		return errNoPage
	}
	if file, ok := strings.CutPrefix(path, look.AssetFolder); ok {
		if look.Asset(x.w, x.r, file) != nil {
			return errNoPage
		}
		return nil
	}
	x.begin()
	o, at, err := find(x.r.Method, path)
	switch {
	case x.session == nil && (o == nil || !o.open):
		return errSession
	case err != nil:
		return err
	}
	x.at = at
	if x.r.Method == http.MethodPost {
		if err := x.readForm(o.open); err != nil {
			return err
		}
	}
	return o.serve(x)
}

// installation reads what the installation has now.
//
// Errors: install.ErrNotInstalled; those of install.Look.
func (x *request) installation() (*install.History, error) {
	h, err := install.Look(x.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", x.Dir, err)
	}
	x.known = h
	return h, nil
}
