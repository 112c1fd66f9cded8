package farside

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// ECR is a registry that answers as ECR does: a real server, which should have the setting strict_ecr, behind a proxy. What the proxy
// adds is written from the contract of ECR alone.
//
//   - It has the names ACCOUNT.dkr.ecr.REGION.amazonaws.com, api.ecr.REGION.amazonaws.com, sts.REGION.amazonaws.com and
//     iam.amazonaws.com.
//   - GET of a blob is answered by 307 to a second host, whose URLs are signed and which refuses a request with Authorization.
//   - PATCH of an upload is answered by 201, and the Range of an upload is stale after the first.
//   - The rate is limited, and tokens end, as the test chooses.
type ECR struct {
	*Site // of the registry and the APIs
	// Layers is the second host, from which blobs come.
	Layers *Site
	// Host is the registry of the default account of the server.
	Host string

	region string
	url    *url.URL
	via    http.RoundTripper

	mu       sync.Mutex
	throttle func() bool
	uses     int            // of a token until it ends; 0 for no limit
	ended    int            // the status of the answer to a token that has ended
	used     map[string]int // by hash of the token
	ranges   map[string]string
	links    map[string]link
	linkLife time.Duration
}

// link is a signed URL of a blob.
type link struct {
	host, path, authorization string
	until                     time.Time
}

// NewECR starts the proxy in front of a server until the test ends. The registries of the given accounts have names beside that of the
// default account.
func NewECR(t testing.TB, s *apptest.Server, accounts ...string) *ECR {
	t.Helper()
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	region := s.Running.Region
	e := &ECR{region: region, url: to, via: s.HTTP.Transport, used: map[string]int{}, ranges: map[string]string{}, links: map[string]link{},
		linkLife: time.Hour, ended: http.StatusForbidden}
	proxy := &httputil.ReverseProxy{Transport: e.via, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), ModifyResponse: e.answer,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // it is signed
		}}
	names := []string{"api.ecr." + region + ".amazonaws.com", "sts." + region + ".amazonaws.com", "iam.amazonaws.com"}
	for _, a := range append([]string{s.Running.Account}, accounts...) {
		names = append(names, e.HostOf(a))
	}
	e.Host = e.HostOf(s.Running.Account)
	e.Layers = serve(t, http.HandlerFunc(e.layer), "prod-"+region+"-starport-layer-bucket.s3."+region+".amazonaws.com")
	e.Site = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, proxy) }), names...)
	return e
}

// HostOf returns the host of the registry of an account.
func (e *ECR) HostOf(account string) string {
	return account + ".dkr.ecr." + e.region + ".amazonaws.com"
}

// Sites returns both hosts, for Configure and Environment.
func (e *ECR) Sites() []*Site { return []*Site{e.Site, e.Layers} }

// Throttle refuses a share of the requests from now on, from 0 to 1, as ECR refuses those beyond its rates. Requests are refused in the
// order of a seed.
func (e *ECR) Throttle(share float64, seed uint64) {
	random := seedtest.New(seed, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.throttle = func() bool { return random.Float64() < share }
}

// Limit refuses the requests beyond a rate, each second, and a burst of as many.
func (e *ECR) Limit(rate float64) {
	left, last := rate, time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.throttle = func() bool {
		now := time.Now()
		left, last = min(rate, left+now.Sub(last).Seconds()*rate), now
		if left < 1 {
			return true
		}
		left--
		return false
	}
}

// EndTokens ends each token after a number of requests from now on; 0 means never. A further one is answered by a status: 403 as ECR does,
// with the text that the token has expired, or 401 without it.
func (e *ECR) EndTokens(uses, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uses, e.ended = uses, status
	clear(e.used)
}

// EndLinks sets the life of the signed URLs of blobs from now on. It is an hour by default.
func (e *ECR) EndLinks(life time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.linkLife = life
}

func (e *ECR) refuses() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.throttle != nil && e.throttle()
}

// ends reports whether the token of a request has ended, and how that is answered.
func (e *ECR) ends(authorization string) (status int, ends bool) {
	sum := sha256.Sum256([]byte(authorization))
	key := hex.EncodeToString(sum[:])
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.uses == 0 || authorization == "" {
		return 0, false
	}
	e.used[key]++
	return e.ended, e.used[key] > e.uses
}

var blobPath = regexp.MustCompile(`^/v2/.+/blobs/[a-z0-9]+:[0-9a-f]+$`)

func (e *ECR) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	docker := strings.HasPrefix(r.URL.Path, "/v2/")
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch refused := e.refuses(); {
	case refused && docker:
		e.refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded")
		return
	case refused:
		w.Header().Del("Docker-Distribution-Api-Version")
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-ErrorType", "ThrottlingException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"ThrottlingException","message":"Rate exceeded"}`)
		return
	}
	if docker {
		if status, ends := e.ends(r.Header.Get("Authorization")); ends {
			if status == http.StatusForbidden {
				e.refuse(w, status, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
				return
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="https://`+hostOf(r)+`/",service="ecr.amazonaws.com"`)
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "Not Authorized\n")
			return
		}
	}
	if r.Method == http.MethodGet && blobPath.MatchString(r.URL.Path) {
		e.redirect(w, r, proxy)
		return
	}
	proxy.ServeHTTP(w, r)
}

func (e *ECR) refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

// redirect answers the GET of a blob by a signed URL, if the server would give it.
func (e *ECR) redirect(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	l := link{host: r.Host, path: r.URL.Path, authorization: r.Header.Get("Authorization")}
	resp, err := e.get(r, l, "bytes=0-0")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = resp.Body.Close() // a byte
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable: // the last for a blob without bytes
	default:
		proxy.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	id := fmt.Sprintf("/%08x", len(e.links))
	l.until = time.Now().Add(e.linkLife)
	e.links[id] = l
	e.mu.Unlock()
	w.Header().Set("Location", "https://"+e.Layers.Names[0]+id+"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature="+id[1:])
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (e *ECR) get(r *http.Request, l link, span string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, e.url.JoinPath(l.path).String(), nil)
	if err != nil {
		return nil, err
	}
	q.Host = l.host
	q.Header.Set("Authorization", l.authorization)
	if span != "" {
		q.Header.Set("Range", span)
	}
	return e.via.RoundTrip(q)
}

// layer is the second host: it has the blobs behind signed URLs, and refuses any other authentication.
func (e *ECR) layer(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}
	e.mu.Lock()
	l, ok := e.links[r.URL.Path]
	e.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		refuse(http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed")
		return
	case !ok || r.URL.Query().Get("X-Amz-Signature") != r.URL.Path[1:]:
		refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		return
	case time.Now().After(l.until):
		refuse(http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	resp, err := e.get(r, l, r.Header.Get("Range"))
	if err != nil {
		refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		return
	}
	defer resp.Body.Close()
	for _, k := range []string{"Content-Length", "Content-Range", "Accept-Ranges"} {
		if v := resp.Header.Get(k); v != "" {
			w.Header().Set(k, v)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // the client must not take the part for the whole
	}
}

// answer changes an answer of the server to that of ECR.
func (e *ECR) answer(resp *http.Response) error {
	r := resp.Request
	if !strings.Contains(r.URL.Path, "/blobs/uploads/") {
		return nil
	}
	resp.Header.Del("Docker-Upload-UUID")
	e.mu.Lock()
	defer e.mu.Unlock()
	switch first, begun := e.ranges[r.URL.Path]; {
	case r.Method == http.MethodPatch && (resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusCreated):
		resp.StatusCode, resp.Status = http.StatusCreated, "201 Created"
		if !begun {
			e.ranges[r.URL.Path] = resp.Header.Get("Range")
		} else {
			resp.Header.Set("Range", first)
		}
	case r.Method == http.MethodGet && begun && resp.Header.Get("Range") != "":
		resp.Header.Set("Range", first)
	}
	return nil
}
