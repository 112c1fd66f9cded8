// Package upstream is a client of other registries: of their tokens, manifests, blobs, tags and referrers, and for
// copies to them. Pull-through caches, replication and imports use it.
//
// The other side is not trusted. Every connection passes the guard of package egress, redirects included.
// Credentials are sent only to the host of the registry and to the hosts that issue its tokens. Content is compared
// with its digest and size. Sizes, numbers of pages, attempts and waiting times are limited. An [Error] contains no
// text of the other side.
//
// Package oras-go does the protocol where it can; docs/design/upstream.md says what is done here, and why.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Options configure a Client.
type Options struct {
	Guard     *egress.Guard    // checks each connection; required
	Now       func() time.Time // for the ends of tokens; nil means time.Now
	UserAgent string           // of requests; "" means ecrin
	Limits    Limits
}

// Limits are the waiting times and numbers of a Client. A zero field means its default.
type Limits struct {
	Answer   time.Duration // maximum wait for the header of a response; 30 s
	Commit   time.Duration // maximum wait for the header of the response to a PUT, which may verify a large blob; 2 min
	Document time.Duration // maximum time for a manifest, a page of a list or a step without content, with all attempts; 2 min
	Stall    time.Duration // in this time of waiting, a body must advance by 16 KiB or end; 30 s
	Attempts int           // of one request that fails for a reason that may pass; 4
	Pause    time.Duration // mean pause after the first attempt; it doubles with each attempt; 250 ms
	MaxPause time.Duration // maximum pause between attempts: a longer Retry-After ends the request; 10 s
	PerHost  int           // requests to one registry at the same time; 16
	Chunk    int64         // bytes of a chunk of an upload; a smaller blob is sent in one request; 64 MiB
}

// orDefault returns the limits with their defaults.
func (l Limits) orDefault() Limits {
	set(&l.Answer, 30*time.Second)
	set(&l.Commit, 2*time.Minute)
	set(&l.Document, 2*time.Minute)
	set(&l.Stall, 30*time.Second)
	set(&l.Attempts, 4)
	set(&l.Pause, 250*time.Millisecond)
	set(&l.MaxPause, 10*time.Second)
	set(&l.PerHost, 16)
	set(&l.Chunk, 64<<20)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Client makes requests to other registries. It is safe for concurrent use.
type Client struct {
	guard     *egress.Guard
	transport http.RoundTripper
	now       func() time.Time
	agent     string
	limits    Limits
	places    places
	life      context.Context // of what serves several requests; ends by Close
	end       context.CancelFunc
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{guard: o.Guard, transport: o.Guard.Transport(), now: o.Now, agent: o.UserAgent, limits: o.Limits.orDefault()}
	if c.now == nil {
		c.now = time.Now
	}
	if c.agent == "" {
		c.agent = "ecrin"
	}
	c.places = places{max: c.limits.PerHost}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Close ends requests for tokens and closes the connections that serve no request. The client must not be used again.
func (c *Client) Close() {
	c.end()
	c.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// Kind is how a registry authenticates its clients.
type Kind uint8

// The kinds. The challenges of an OCI registry determine whether it gets Basic credentials or a token.
const (
	OCI Kind = iota // anonymous, Basic, or Bearer with a token service
	ECR             // a token of GetAuthorizationToken; Endpoint.AWS is required
)

// Endpoint is one registry and the credentials for it.
type Endpoint struct {
	Host       string // HOST or HOST:PORT, by https unless the guard has it in Plain
	Kind       Kind
	Username   string        // of OCI; "" and an empty Password mean anonymous
	Password   secret.String // of OCI
	TokenHosts []string      // of OCI: hosts, HOST or HOST:PORT, that may issue tokens, beside Host and the known ones
	AWS        *AWS          // of ECR

	// Of returns what gives the token of a registry that the path of a repository names by ACCOUNT/REGION/, as paths of ecrin do; nil if
	// all repositories have that of AWS. Of ECR.
	Of func(context.Context, name.Registry) (*AWS, error)
}

// Registry is a registry of another installation or vendor, with its credentials and tokens. Keep it for all requests
// with the same credentials, so that they share tokens. It is safe for concurrent use.
type Registry struct {
	c    *Client
	host string // as in URLs
	http string // scheme, http or https
	kind Kind
	auth authorizer
	of   func(context.Context, name.Registry) (*AWS, error) // nil for none

	mu    sync.Mutex
	named map[name.Registry]*ecrTokens
	repos map[string]*remote.Repository // share what oras-go has found out; by name
}

const maxRepos = 256 // kept in Registry.repos

// Registry returns the registry of an endpoint. It sends nothing.
//
// Errors: an [Error] with the reason Invalid.
func (c *Client) Registry(e Endpoint) (*Registry, error) {
	host, err := parseHost(e.Host)
	if err != nil {
		return nil, invalid("the host of the registry: %v", err)
	}
	if host == "docker.io" || host == "index.docker.io" {
		host = "registry-1.docker.io" // which serves the registry of these names
	}
	r := &Registry{c: c, host: host, http: c.guard.Scheme(host), kind: e.Kind, repos: map[string]*remote.Repository{}}
	switch e.Kind {
	case OCI:
		a := &challenged{c: c, host: host, username: e.Username, password: e.Password, tokenHosts: knownTokenHosts[host]}
		for _, text := range e.TokenHosts {
			h, err := parseHost(text)
			if err != nil {
				return nil, invalid("a host that may issue tokens: %v", err)
			}
			a.tokenHosts = append(a.tokenHosts[:len(a.tokenHosts):len(a.tokenHosts)], h)
		}
		r.auth = a
	case ECR:
		if r.auth, err = newECRTokens(c, host, e.AWS); err != nil {
			return nil, err
		}
		r.of, r.named = e.Of, map[name.Registry]*ecrTokens{}
	default:
		return nil, invalid("the kind of the registry is unknown")
	}
	return r, nil
}

// Host returns the host of the registry, with its port unless that is 443, in lower case.
func (r *Registry) Host() string { return r.host }

// parseHost checks HOST or HOST:PORT and returns it in lower case, without the default port.
func parseHost(text string) (string, error) {
	u, err := url.Parse("https://" + text)
	if err != nil || u.Host != text || u.Hostname() == "" || len(text) > 270 || strings.HasSuffix(text, ":") ||
		(registry.Reference{Registry: text}).ValidateRegistry() != nil {
		return "", errors.New("it is not HOST or HOST:PORT")
	}
	return canonical(u), nil
}

// canonical returns the host and port of a URL in one form: two https URLs have the same origin if it is equal.
func canonical(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != "443" {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// repo returns the client of oras-go for a repository.
func (r *Registry) repo(name string) (*remote.Repository, error) {
	ref := registry.Reference{Registry: r.host, Repository: name}
	if len(name) > maxRepoName || ref.ValidateRepository() != nil {
		return nil, invalid("the name of the repository is not valid")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.repos[name]; have != nil {
		return have, nil
	}
	made := &remote.Repository{
		Client: doer{r}, Reference: ref, ManifestMediaTypes: accepted,
		TagListPageSize: pageSize, TagListMaxPages: maxTagPages, ReferrerListMaxPages: maxReferrerPages,
		MaxMetadataBytes: maxPage, SkipReferrersGC: true, PlainHTTP: r.http == "http",
	}
	if r.kind == ECR {
		_ = made.SetReferrersCapability(true) // fails only if it was set before
	}
	if len(r.repos) >= maxRepos {
		for any := range r.repos {
			delete(r.repos, any)
			break
		}
	}
	r.repos[name] = made
	return made, nil
}

const maxRepoName = 512 // bytes

// url returns the URL of a part of a repository, such as blobs or manifests.
func (r *Registry) url(repo, part, ref string) string {
	return fmt.Sprintf("%s://%s/v2/%s/%s/%s", r.http, r.host, repo, part, ref)
}
