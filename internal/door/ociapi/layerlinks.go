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

// LinkPath is the prefix of the paths of signed links to layers.
const LinkPath = "/layers/"

// linkLife is the time for which a signed link is valid.
const linkLife = 15 * time.Minute

// LayerLinks makes and checks signed links to layers, which GetDownloadUrlForLayer returns. A link is valid for one
// digest in one repository, for the access key that requested it, and until it expires. Whether the caller has the
// permission is decided again when the link is used.
type LayerLinks struct {
	mac      func(data []byte) []byte
	identity *identity.Service
	now      func() time.Time
}

// NewLayerLinks returns a LayerLinks. mac returns a message authentication code with a key of this installation.
func NewLayerLinks(mac func([]byte) []byte, id *identity.Service, now func() time.Time) *LayerLinks {
	return &LayerLinks{mac, id, now}
}

// Make returns path and query of a signed link.
func (l *LayerLinks) Make(c identity.Caller, reg name.Registry, repo name.Repo, d name.Digest) string {
	path := LinkPath + reg.String() + "/" + repo.String() + "/" + d.String()
	expires := strconv.FormatInt(l.now().Add(linkLife).Unix(), 10)
	return path + "?" + url.Values{"expires": {expires}, "key": {c.AccessKey}, "mac": {l.sign(path, expires, c.AccessKey)}}.Encode()
}

func (l *LayerLinks) sign(path, expires, key string) string {
	return hex.EncodeToString(l.mac([]byte(path + "\n" + expires + "\n" + key)))
}

// check returns the caller that requested a link, and the repository and digest for which it is valid.
//
// Errors: fault.AccessDenied (this installation has not made the link), fault.ExpiredCredentials, and those of
// identity.Service.KeyCaller.
func (l *LayerLinks) check(r *http.Request) (identity.Caller, name.Registry, name.Repo, name.Digest, error) {
	refused := fault.AccessDenied.New("the link was not made by this registry")
	q := r.URL.Query()
	if !hmac.Equal([]byte(q.Get("mac")), []byte(l.sign(r.URL.Path, q.Get("expires"), q.Get("key")))) {
		return identity.Caller{}, name.Registry{}, name.Repo{}, name.Digest{}, refused
	}
	expires, ok := decimal(q.Get("expires"))
	if !ok || l.now().Unix() >= expires {
		return identity.Caller{}, name.Registry{}, name.Repo{}, name.Digest{},
			fault.ExpiredCredentials.New("the link has expired: request a new one")
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

// parseLink parses a signed link. The caller is the one that requested the link.
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
