package ociapi

import (
	"crypto/hmac"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/audit"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/web"
)

// LinkPath is where direct addresses of layers are served.
const LinkPath = "/layers/"

// linkLife is how long a direct address is good.
const linkLife = 15 * time.Minute

// LayerLinks makes and checks direct addresses of layers, as GetDownloadUrlForLayer answers them. An address is bound to
// one digest in one repository, to the access key that asked, and to its end; the caller's right is decided again when
// it is used.
type LayerLinks struct {
	mac      func(data []byte) []byte
	identity *identity.Service
	now      func() time.Time
}

// NewLayerLinks makes them with a MAC that only this installation can compute.
func NewLayerLinks(mac func([]byte) []byte, id *identity.Service, now func() time.Time) *LayerLinks {
	return &LayerLinks{mac, id, now}
}

// Make returns path and query of a direct address.
func (l *LayerLinks) Make(c identity.Caller, reg name.Registry, repo name.Repo, d name.Digest) string {
	path := LinkPath + reg.String() + "/" + repo.String() + "/" + d.String()
	expires := strconv.FormatInt(l.now().Add(linkLife).Unix(), 10)
	return path + "?" + url.Values{"expires": {expires}, "key": {c.AccessKey}, "mac": {l.sign(path, expires, c.AccessKey)}}.Encode()
}

func (l *LayerLinks) sign(path, expires, key string) string {
	return hex.EncodeToString(l.mac([]byte(path + "\n" + expires + "\n" + key)))
}

// check tells who made the address and what it is for. Errors: fault.AccessDenied, fault.ExpiredCredentials.
func (l *LayerLinks) check(r *http.Request) (identity.Caller, name.Registry, name.Repo, name.Digest, error) {
	refused := fault.AccessDenied.New("the address is not one that this registry has made")
	q := r.URL.Query()
	if !hmac.Equal([]byte(q.Get("mac")), []byte(l.sign(r.URL.Path, q.Get("expires"), q.Get("key")))) {
		return identity.Caller{}, name.Registry{}, name.Repo{}, name.Digest{}, refused
	}
	expires, ok := decimal(q.Get("expires"))
	if !ok || l.now().Unix() >= expires {
		return identity.Caller{}, name.Registry{}, name.Repo{}, name.Digest{}, fault.ExpiredCredentials.New("the address has expired: ask for a new one")
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, LinkPath), "/", 3)
	repo, digest, _ := cutLast(parts[len(parts)-1])
	account, err1 := name.ParseAccount(parts[0])
	region, err2 := name.ParseRegion(parts[min(1, len(parts)-1)])
	parsed, err3 := name.ParseRepo(repo)
	d, err4 := name.ParseDigest(digest)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return identity.Caller{}, name.Registry{}, name.Repo{}, name.Digest{}, refused
	}
	caller, err := l.identity.KeyCaller(r.Context(), q.Get("key"))
	return caller, name.Registry{Account: account, Region: region}, parsed, d, err
}

// HandleLink answers a direct address of a layer.
func (a *API) HandleLink(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door, ev.Operation, ev.Action = "oci", "layer link", "ecr:GetDownloadUrlForLayer"
	if err := a.serveLink(w, r, ev); err != nil {
		a.refuse(w, r, ev, err)
	}
}

func (a *API) serveLink(w http.ResponseWriter, r *http.Request, ev *web.Event) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return fault.MethodNotAllowed.New("the operation is unsupported")
	}
	caller, reg, repo, digest, err := a.links.check(r)
	if err != nil {
		return err
	}
	ev.Caller, ev.Digest, ev.Resource = caller.ARN, digest.String(), reg.RepositoryARN(repo.String())
	ev.Decided = web.Decision{
		Source: "ecr.amazonaws.com", Name: "GetDownloadUrlForLayer", Caller: caller, Owner: reg.Account, Region: reg.Region, ReadOnly: true, Docker: true,
		Params: func() (p audit.Params) {
			p.String("registryId", reg.Account.String())
			p.String("repositoryName", repo.String())
			p.String("layerDigest", digest.String())
			return p
		},
	}
	access := identity.Access{Action: ev.Action, Account: reg.Account, Region: reg.Region, Resource: ev.Resource, Repository: repo, From: originOf(r, ev)}
	if err := a.identity.Authorize(r.Context(), caller, access); err != nil {
		return err
	}
	found, err := a.registry.Repository(r.Context(), reg, repo)
	if err != nil {
		return err
	}
	return a.sendBlob(w, r, found, digest)
}
