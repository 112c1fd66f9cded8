package ociapi

import (
	"crypto/hmac"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
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
	return caller.In(region.Partition()), name.Registry{Account: account, Region: region}, parsed, d, err
}

// parseLink reads a direct address of a layer: the caller is whoever asked for it.
func (a *API) parseLink(q *request) (*operation, error) {
	q.target.route, q.ev.Operation = routeLink, nameOf(http.MethodGet, routeLink)
	op, err := operationOf(q.r.Method, routeLink, q.w.Header())
	if err != nil {
		return nil, err
	}
	var digest name.Digest
	if q.caller, q.reg, q.repo, digest, err = a.links.check(q.r); err != nil {
		return nil, err
	}
	q.ev.Caller, q.ev.Digest, q.target.reference = q.caller, digest.String(), digest.String()
	return op, nil
}
