package farside

import (
	"context"
	"crypto/tls"
	"errors"
	"hash/fnv"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// Kind is what a fault does to a request.
type Kind int

// The kinds. Those that concern a body let Fault.After bytes of it pass first: of the answer, or of the request if that has a body.
const (
	Cut      Kind = iota + 1 // resets the connection
	Hang                     // sends nothing more until the client gives up
	Slow                     // sends a byte each Fault.Every; of an answer only
	Wrong                    // changes the byte after Fault.After; of an answer only
	Short                    // answers with Fault.After bytes, and a Content-Length that agrees
	Long                     // adds a byte, and to the Content-Length
	HTML                     // answers with a page for people, and the status 200
	Redirect                 // answers 307 to Fault.To
	Realm                    // answers 401, with the token service Fault.To
	Status                   // answers with Fault.Status, and Retry-After if Fault.To is not ""
	Call                     // calls Fault.Do: before it forwards the request, or after Fault.After bytes of the answer
)

// Fault is what happens to a request.
type Fault struct {
	Kind   Kind
	After  int64
	Every  time.Duration
	To     string
	Status int
	Do     func()
}

// Proxy forwards the requests of clients to a registry, with faults. Without any it forwards everything.
type Proxy struct {
	*Site
	to      *url.URL
	via     http.RoundTripper
	forward *httputil.ReverseProxy

	mu     sync.Mutex
	rules  []*rule
	seed   uint64
	share  float64
	chance []Fault
	seen   map[string]uint64 // how often a request of this method and path came
	faults map[Kind]int
}

type rule struct {
	text  string
	times int // that are left; negative for no limit
	fault Fault
}

// NewProxy starts a proxy with a name in front of the registry at a URL, until the test ends. via makes its requests.
func NewProxy(t testing.TB, name, to string, via http.RoundTripper) *Proxy {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: u, via: via, seen: map[string]uint64{}, faults: map[Kind]int{}}
	p.forward = &httputil.ReverseProxy{Transport: via, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: p.rewrite,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) { reset(r) }}
	p.Site = serve(t, p, name)
	return p
}

func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	r.SetURL(p.to)
	r.SetXForwarded()
}

// On makes a fault of the next requests, as many as times (negative for all), whose METHOD PATH contains a text. The first call with
// requests left decides.
func (p *Proxy) On(text string, times int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &rule{text, times, f})
}

// Random makes one of the faults of a share of the requests, from 0 to 1. Which request has which fault depends on the seed, its method
// and path and how often it came, and not on the order of concurrent requests.
func (p *Proxy) Random(seed uint64, share float64, faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seed, p.share, p.chance = seed, share, faults
}

// Clear ends all faults.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.chance = nil, nil
}

// Faults returns how many faults of a kind there were.
func (p *Proxy) Faults(k Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults[k]
}

// choose returns the fault of a request; a Kind of 0 for none.
func (p *Proxy) choose(line string) (f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.faults[f.Kind]++ }()
	for _, r := range p.rules {
		if r.times != 0 && strings.Contains(line, r.text) {
			r.times--
			return r.fault
		}
	}
	if len(p.chance) == 0 {
		return Fault{}
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, line) // never fails
	p.seen[line]++
	random := seedtest.New(p.seed^h.Sum64(), p.seen[line])
	if random.Float64() >= p.share {
		return Fault{}
	}
	return p.chance[random.IntN(len(p.chance))]
}

// ServeHTTP forwards a request, with its fault.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.choose(r.Method + " " + r.URL.Path)
	switch f.Kind {
	case 0:
		p.forward.ServeHTTP(w, r)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>Sign in</title><p>Please sign in.")
	case Redirect:
		w.Header().Set("Location", f.To)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Realm:
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.To+`",service="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	case Status:
		if f.To != "" {
			w.Header().Set("Retry-After", f.To)
		}
		w.WriteHeader(f.Status)
	default:
		p.damage(w, r, f)
	}
}

var errCut = errors.New("the proxy cuts the request")

// cut is a body that ends early.
type cut struct {
	io.ReadCloser
	left int64
	end  func() error
}

func (c *cut) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, c.end()
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// damage forwards a request whose body, or whose answer, has a fault.
func (p *Proxy) damage(w http.ResponseWriter, r *http.Request, f Fault) {
	if f.Kind == Call && f.After == 0 {
		f.Do()
		p.forward.ServeHTTP(w, r)
		return
	}
	in := f.Kind == Cut || f.Kind == Hang
	if in = in && r.ContentLength != 0 && r.Body != http.NoBody; in {
		r.Body = &cut{r.Body, f.After, func() error {
			if f.Kind == Hang {
				<-r.Context().Done()
			}
			return errCut
		}}
	}
	pr := &httputil.ProxyRequest{In: r, Out: r.Clone(r.Context())}
	p.rewrite(pr)
	pr.Out.RequestURI = ""
	resp, err := p.via.RoundTrip(pr.Out)
	if in || err != nil {
		reset(r)
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	total := resp.ContentLength
	switch {
	case f.Kind == Short && total > f.After:
		total = f.After
	case f.Kind == Long && total >= 0:
		total++
	}
	if total >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
	}
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return
	}
	_, err = io.CopyN(w, resp.Body, f.After)
	if flushing := http.NewResponseController(w).Flush(); flushing != nil || err != nil && err != io.EOF {
		reset(r)
	}
	switch f.Kind {
	case Cut:
		reset(r)
	case Hang:
		<-r.Context().Done()
		reset(r)
	case Slow:
		slowly(w, r, resp.Body, f.Every)
	case Wrong:
		one := make([]byte, 1)
		if n, _ := resp.Body.Read(one); n == 1 {
			_, _ = w.Write([]byte{one[0] ^ 1})
		}
		_, _ = io.Copy(w, resp.Body) // the answer is wrong anyway
	case Call:
		f.Do()
		if _, err := io.Copy(w, resp.Body); err != nil {
			reset(r)
		}
	case Long:
		_, _ = io.Copy(w, resp.Body)
		_, _ = w.Write([]byte{0})
	}
}

// slowly sends a body byte by byte.
func slowly(w http.ResponseWriter, r *http.Request, body io.Reader, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	one := make([]byte, 1)
	for {
		if n, err := body.Read(one); n == 0 && err != nil {
			return
		}
		if _, err := w.Write(one); err != nil {
			reset(r)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			reset(r)
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			reset(r)
		}
	}
}

type connKey struct{}

// withConn keeps the connection of a request, so that a fault can reset it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// reset ends the handler of a request and its connection, by RST and without the end of TLS.
func reset(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*tls.Conn); ok {
		if raw, ok := c.NetConn().(*net.TCPConn); ok {
			_ = raw.SetLinger(0) // the connection is closed in any case
			_ = raw.Close()
		}
	}
	panic(http.ErrAbortHandler)
}
