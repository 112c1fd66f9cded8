package install

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// The limits of what a server of updates may send.
const (
	maxArchive = 64 << 20 // bytes of a release, compressed and not
	maxFiles   = 1_000    // of a release
	maxCheck   = 8 << 20  // bytes of an answer to a check
	maxOffers  = 1_000
	maxLicense = 1 << 20
	maxText    = 2_000 // characters of an error
	maxPath    = 512
)

// Server is a server of updates, with the credentials of a licence.
type Server struct {
	endpoint *url.URL
	slug     string
	id       string // of the licence
	client   *http.Client
}

// ServerOptions say how a server of updates is reached.
type ServerOptions struct {
	Roots     *x509.CertPool // nil for those of the system
	PlainHTTP bool           // http is allowed for hosts other than this machine
}

// NewServer returns the server of updates at a URL.
//
// Errors: the URL is none, or would send the licence in clear text over a network.
func NewServer(endpoint, slug, id string, o ServerOptions) (*Server, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("the endpoint of the licence, %q, is no URL such as https://updates.example.com", printable(endpoint))
	}
	if u.Scheme == "http" && !o.PlainHTTP && !local(u.Hostname()) {
		return nil, fmt.Errorf("the endpoint of the licence is %s: over http the licence would cross the network in clear text (--plain-http "+
			"permits it)", printable(endpoint))
	}
	// The vendor has signed the endpoint, and who installs has chosen the vendor: any address may be reached, and proxies of the environment
	// are used.
	client := &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 20 * time.Second,
		ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("the server redirects, and the licence is sent to no other server")
	}
	return &Server{endpoint: u, slug: slug, id: id, client: client}, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// printable returns a text in one line without control characters, of at most maxText characters.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "…"
	}
	return strings.TrimSpace(text)
}

// RefusedError is an answer of the server of updates other than success.
type RefusedError struct {
	Status int
	Text   string // of the server, in one line
}

// Error has the text of the server.
func (e *RefusedError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("the server of updates answers %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the server of updates answers %d: %s", e.Status, e.Text)
}

// get sends a request and returns the answer with at most limit bytes of the body.
func (s *Server) get(ctx context.Context, p string, q url.Values, limit int64, headers ...string) (http.Header, []byte, error) {
	u := *s.endpoint
	u.Path, u.RawQuery = path.Join("/", u.Path, p), q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	r.SetBasicAuth(s.id, s.id)
	r.Header.Set("User-Agent", "ecrin-install")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the server of updates: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText*4)) // what there is of it
		return nil, nil, &RefusedError{resp.StatusCode, printable(string(text))}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading the answer of the server of updates: %w", err)
	case int64(len(body)) > limit:
		return nil, nil, fmt.Errorf("the answer of the server of updates is larger than %d bytes", limit)
	}
	return resp.Header, body, nil
}

// Offer is a version that the server offers.
type Offer struct {
	ChannelSequence int64     `json:"channelSequence"`
	ReleaseSequence int64     `json:"releaseSequence"`
	Label           string    `json:"versionLabel"`
	Required        bool      `json:"isRequired"`
	CreatedAt       time.Time `json:"createdAt"`
	Notes           string    `json:"releaseNotes"`
}

// Check asks which versions there are after one of a channel, and returns them in the order in which they are to be installed.
//
// Errors: *RefusedError; the server cannot be reached; its answer has another form.
func (s *Server) Check(ctx context.Context, channelID string, after, licenseSequence int64, last time.Time) ([]Offer, error) {
	q := url.Values{"isSemverSupported": {"true"}, "isEmbeddedCluster": {"false"}, "licenseSequence": {strconv.FormatInt(licenseSequence, 10)},
		"channelSequence": {""}, "selectedChannelId": {channelID}, "sortOrder": {"asc"}}
	if after > 0 {
		q.Set("channelSequence", strconv.FormatInt(after, 10))
	}
	if !last.IsZero() {
		q.Set("lastUpdateCheckAt", last.UTC().Format(time.RFC3339))
	}
	header, body, err := s.get(ctx, "/release/"+s.slug+"/pending", q, maxCheck)
	if err != nil {
		return nil, err
	}
	if _, err := time.Parse(time.RFC3339, header.Get("X-Replicated-UpdateCheckAt")); err != nil {
		return nil, errors.New("the answer is not that of a server of updates: it has no time of the check")
	}
	var answer struct {
		Releases []Offer `json:"channelReleases"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not that of a server of updates: %w", err)
	}
	if len(answer.Releases) > maxOffers {
		return nil, fmt.Errorf("the server offers %d versions, more than %d", len(answer.Releases), maxOffers)
	}
	for _, o := range answer.Releases {
		if o.ChannelSequence <= 0 {
			return nil, errors.New("the answer is not that of a server of updates: a version has no sequence")
		}
	}
	return answer.Releases, nil
}

// Release is a downloaded version.
type Release struct {
	Files                       []rule.File
	ChannelSequence             int64
	ChannelID, ChannelName      string
	Label                       string
	Required                    bool
	ReleasedAt                  string
	ProxyDomain, RegistryDomain string
	Names                       map[string]string // at the proxy, of registries with a port, by host
}

// Download returns a version of a channel; with 0 the newest.
//
// Errors: *RefusedError; the server cannot be reached; the archive is damaged, too large, or has something else than files below its
// folder.
func (s *Server) Download(ctx context.Context, channelID string, sequence int64, label string) (Release, error) {
	q := url.Values{"selectedChannelId": {channelID}}
	if sequence > 0 {
		q.Set("channelSequence", strconv.FormatInt(sequence, 10))
		q.Set("versionLabel", label)
	}
	header, body, err := s.get(ctx, "/release/"+s.slug, q, maxArchive)
	if err != nil {
		return Release{}, err
	}
	said := func(name string) string { return printable(header.Get("X-Replicated-" + name)) }
	r := Release{ChannelID: said("ChannelID"), ChannelName: said("ChannelName"), Label: said("VersionLabel"), ReleasedAt: said("ReleasedAt"),
		Required: said("IsRequired") == "true", ProxyDomain: said("ReplicatedProxyDomain"), RegistryDomain: said("ReplicatedRegistryDomain")}
	if r.Names, err = registryNames(header.Get("X-Ecrin-Registry-Names")); err != nil {
		return Release{}, err
	}
	r.ChannelSequence, err = strconv.ParseInt(said("ChannelSequence"), 10, 64)
	if err != nil || r.ChannelSequence <= 0 || sequence > 0 && r.ChannelSequence != sequence {
		return Release{}, fmt.Errorf("the server has sent the version with the sequence %q, not %d", said("ChannelSequence"), sequence)
	}
	if r.Files, err = unpack(body); err != nil {
		return Release{}, fmt.Errorf("the files of the version %s: %w", r.Label, err)
	}
	return r, nil
}

// registryName is the form of a name of a registry at the proxy: a part of the path of an image.
var registryName = lazyregexp.New(`^[a-z0-9]+([._-][a-z0-9]+)*$`)

// registryNames parses HOST:PORT=NAME, joined by commas.
func registryNames(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	all := map[string]string{}
	for one := range strings.SplitSeq(text, ",") {
		host, name, ok := strings.Cut(one, "=")
		if _, err := rule.ParseReference(host + "/a"); err != nil || !ok || !strings.Contains(host, ":") || len(name) > 128 ||
			!registryName.MatchString(name) || len(all) == maxRegistries {
			return nil, fmt.Errorf("the server of updates has sent %q as the name of a registry", printable(one))
		}
		all[host] = name
	}
	return all, nil
}

// maxRegistries is how many names of registries a server may send.
const maxRegistries = 100

// unpack returns the files of a compressed tar archive.
//
// Errors: the archive is damaged; a link or another thing that is no file; a path that leaves the folder, or is there twice; more than
// maxFiles or maxArchive.
func unpack(archive []byte) ([]rule.File, error) {
	z, err := gzip.NewReader(strings.NewReader(string(archive)))
	if err != nil {
		return nil, fmt.Errorf("the archive is damaged: %w", err)
	}
	var all []rule.File
	seen := map[string]bool{}
	left := int64(maxArchive)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		switch {
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is no file: an archive of a version has no links and no devices", printable(h.Name))
		case !safePath(name):
			return nil, fmt.Errorf("%q is no path below the folder of the version", printable(h.Name))
		case seen[name]:
			return nil, fmt.Errorf("%q is there twice", printable(h.Name))
		case len(all) == maxFiles:
			return nil, fmt.Errorf("there are more than %d files", maxFiles)
		}
		seen[name] = true
		data, err := io.ReadAll(io.LimitReader(t, left+1))
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		if left -= int64(len(data)); left < 0 {
			return nil, fmt.Errorf("there are more than %d bytes", maxArchive)
		}
		all = append(all, rule.File{Path: name, Data: data})
	}
}

// safePath reports whether a path of a file is below the folder that it is relative to, on all systems.
func safePath(name string) bool {
	return name != "" && name != "." && len(name) <= maxPath && utf8.ValidString(name) && !path.IsAbs(name) && path.Clean(name) == name &&
		name != ".." && !strings.HasPrefix(name, "../") && !strings.ContainsAny(name, `\:`) && !strings.ContainsFunc(name, unicode.IsControl)
}

// License returns the licence as it is at the vendor now, which is not verified.
//
// Errors: *RefusedError; the server cannot be reached.
func (s *Server) License(ctx context.Context, sequence int64, version string) ([]byte, error) {
	_, body, err := s.get(ctx, "/license/"+s.slug, url.Values{"licenseSequence": {strconv.FormatInt(sequence, 10)}}, maxLicense,
		"X-Replicated-License-Version", version)
	return body, err
}
