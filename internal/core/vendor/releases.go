package vendor

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of releases.
const (
	MaxFiles  = 1_000
	MaxBytes  = 32 << 20 // of the contents of all files
	maxPath   = 512      // characters
	maxLabel  = 255      // characters of a version label
	maxNotes  = 64 << 10 // bytes of release notes
	maxPacked = MaxBytes*2 + MaxFiles*(maxPath*6+64)
)

// Spec is the form of the files of a release that were given one by one.
const Spec = "json"

// packedFile is a file as it is stored: text as text, so that it compresses well.
type packedFile struct {
	Path string `json:"path"`
	Text string `json:"text,omitempty"`
	Data []byte `json:"data,omitempty"` // of a file that is no text
}

// checkFiles checks the files of a release, and returns them by path.
//
// Errors: fault.InvalidParameter.
func checkFiles(files []rewrite.File) ([]rewrite.File, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b rewrite.File) int { return strings.Compare(a.Path, b.Path) })
	total := 0
	for i, f := range files {
		total += len(f.Data)
		switch {
		case f.Path == "" || len(f.Path) > maxPath || !utf8.ValidString(f.Path) || strings.ContainsFunc(f.Path, unicode.IsControl):
			return nil, invalid("files", "a path has 1 to %d characters, and no control characters", maxPath)
		case path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "." || f.Path == ".." || strings.HasPrefix(f.Path, "../") ||
			strings.ContainsAny(f.Path, `\:`):
			return nil, invalid("files", "%q is no path below the folder of the release", name.Clip(f.Path))
		case i > 0 && files[i-1].Path == f.Path:
			return nil, invalid("files", "the path %q is there twice", name.Clip(f.Path))
		}
	}
	switch {
	case len(files) == 0 || len(files) > MaxFiles:
		return nil, invalid("files", "1 to %d files", MaxFiles)
	case total > MaxBytes:
		return nil, invalid("files", "at most %d bytes in all files", MaxBytes)
	}
	return files, nil
}

// pack returns files in the form in which they are stored.
func pack(files []rewrite.File) ([]byte, error) {
	all := make([]packedFile, 0, len(files))
	for _, f := range files {
		p := packedFile{Path: f.Path}
		if utf8.Valid(f.Data) {
			p.Text = string(f.Data)
		} else {
			p.Data = f.Data
		}
		all = append(all, p)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := json.NewEncoder(w).Encode(all); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Files returns the files of a stored release, by path.
func Files(r meta.Release) ([]rewrite.File, error) {
	bad := func(err error) error { return fmt.Errorf("reading the files of the release %d: %w", r.Sequence, err) }
	z, err := gzip.NewReader(bytes.NewReader(r.Files))
	if err != nil {
		return nil, bad(err)
	}
	var all []packedFile
	if err := json.NewDecoder(io.LimitReader(z, maxPacked)).Decode(&all); err != nil {
		return nil, bad(err)
	}
	files := make([]rewrite.File, 0, len(all))
	for _, p := range all {
		f := rewrite.File{Path: p.Path, Data: p.Data}
		if p.Data == nil {
			f.Data = []byte(p.Text)
		}
		files = append(files, f)
	}
	return files, nil
}

// NewRelease is a release to be stored.
type NewRelease struct {
	Sequence int64 // of a release whose files are replaced; 0 for a new release
	Files    []rewrite.File
	Spec     string        // form in which the files were given; "" for Spec
	Host     endpoint.Host // at which the vendor reaches the installation
	By       string        // ARN
}

// PutRelease stores a release with the images that its files name. It also returns what was found in the files: images at places where no
// installer looks, and files that are not YAML.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutRelease.
func (s *Service) PutRelease(ctx context.Context, a meta.Application, n NewRelease) (meta.Release, rewrite.Found, error) {
	files, err := checkFiles(n.Files)
	if err != nil {
		return meta.Release{}, rewrite.Found{}, err
	}
	packed, err := pack(files)
	if err != nil {
		return meta.Release{}, rewrite.Found{}, err
	}
	if n.Spec == "" {
		n.Spec = Spec
	}
	found := rewrite.Find(files)
	r := meta.Release{Application: a.ID, Sequence: n.Sequence, Files: packed, Spec: n.Spec, CreatedBy: n.By}
	r.Charts = chartsOf(files)
	for _, i := range found.Images {
		names, err := s.known(ctx, a, n.Host, i.Reference)
		if err != nil {
			return meta.Release{}, rewrite.Found{}, err
		}
		for _, known := range names {
			r.Images = append(r.Images, meta.ReleaseImage{Repository: known, Tag: i.Tag, Digest: i.Digest})
		}
	}
	r, err = s.meta.PutRelease(ctx, r)
	return r, found, err
}

// Repository returns the name by which an image of an application is known in decisions: for a repository of the vendor its name, however
// the image is written; else HOST/PATH. host is where the vendor reaches the installation.
//
// A repository of the vendor is written with the host name of a registry of its account, or with a host of the installation: one that is in
// its own domains, one of an application of the account, or the host of the request. What follows proxy/SLUG/ is an image of its own.
func (s *Service) Repository(ctx context.Context, a meta.Application, host endpoint.Host, r rewrite.Reference) (string, error) {
	foreign := r.Registry() + "/" + r.Repository()
	if r.OnHub() {
		return foreign, nil
	}
	h, err := s.hosts.Parse(r.Host)
	switch {
	case err != nil:
		return foreign, nil
	case h.Kind == endpoint.Registry:
		if h.Registry.Account != a.Account {
			return foreign, nil
		}
		return r.Path, nil
	case h.Kind != endpoint.Any:
		return foreign, nil
	}
	if ours, err := s.ours(ctx, a.Account, host, h); err != nil || !ours {
		return foreign, err
	}
	if upstream, ok := strings.CutPrefix(r.Path, "proxy/"+a.Slug+"/"); ok {
		if of, err := rewrite.ParseReference(upstream); err == nil {
			return s.Repository(ctx, a, host, of)
		}
	}
	reg, p, err := name.CutRegistry(r.Path)
	switch {
	case err != nil, reg != name.Registry{} && reg.Account != a.Account:
		return foreign, nil
	}
	return p, nil
}

// known returns the names by which an image of a release may be known when it is pulled: that of Repository and, for a name of AWS with the
// number of the vendor's account, HOST/PATH too, since an integration may have the registry then, which comes before the vendor's own.
func (s *Service) known(ctx context.Context, a meta.Application, host endpoint.Host, r rewrite.Reference) ([]string, error) {
	known, err := s.Repository(ctx, a, host, r)
	if err != nil {
		return nil, err
	}
	if upstream, ok := strings.CutPrefix(r.Path, "proxy/"+a.Slug+"/"); ok {
		if of, err := rewrite.ParseReference(upstream); err == nil {
			r = of
		}
	}
	h, err := s.hosts.Parse(r.Host)
	if err != nil || h.Kind != endpoint.Registry || h.Registry.Account != a.Account || s.hosts.Own(r.Host) || known != r.Path {
		return []string{known}, nil
	}
	return []string{known, r.Registry() + "/" + r.Repository()}, nil
}

// ReleaseImage is an image that a release names.
type ReleaseImage = meta.ReleaseImage

// RecentImages returns the images of the newest releases of an application that a channel offers.
func (s *Service) RecentImages(ctx context.Context, application string, releases int) ([]ReleaseImage, error) {
	return s.meta.RecentImages(ctx, application, releases)
}

// OwnRepository is a repository of a vendor in this installation.
type OwnRepository struct {
	Registry name.Registry
	Repo     name.Repo
}

// Own returns the repository of a vendor that a name of an image means, if its host is one of the installation: that of a registry of the
// vendor's account, or one in its own domains, or one of an application of the account, or the host of the request. ok is false for other
// hosts, and for names without one. def is the registry of names that have neither account nor region.
//
// Errors: fault.AccessDenied (a registry of another account), fault.NameInvalid.
func (s *Service) Own(ctx context.Context, account name.Account, def name.Registry, host endpoint.Host, image string) (
	o OwnRepository, ok bool, err error) {
	r, err := rewrite.ParseReference(image)
	if err != nil || r.OnHub() {
		return o, false, nil // what follows says what is wrong with it
	}
	h, err := s.hosts.Parse(r.Host)
	if err != nil {
		return o, false, nil
	}
	switch {
	case h.Kind == endpoint.Registry:
		if h.Registry.Account != account {
			return o, false, nil
		}
		o.Registry = h.Registry
		o.Repo, err = name.ParseRepo(r.Path)
	case h.Kind != endpoint.Any:
		return o, false, nil
	default:
		if ours, err := s.ours(ctx, account, host, h); err != nil || !ours {
			return o, false, err
		}
		var path string
		if o.Registry, path, err = name.CutRegistry(r.Path); err != nil {
			return o, true, err
		}
		if o.Registry == (name.Registry{}) {
			o.Registry = def
		}
		o.Repo, err = name.ParseRepo(path)
	}
	if err == nil && (o.Registry.Account != account || strings.HasPrefix(o.Repo.String(), "proxy/")) {
		err = fault.AccessDenied.New("the image %s is not one of the vendor", name.Clip(image))
	}
	return o, true, err
}

// ours reports whether a host that is not that of one registry is one of the installation for an account. The names of this
// machine are one host, at one port: a registry at another port is another one.
func (s *Service) ours(ctx context.Context, account name.Account, request, h endpoint.Host) (bool, error) {
	of, ok, err := s.HostOf(ctx, h.String())
	if err != nil || ok {
		return of.Account == account, err
	}
	if text := h.String(); text == request.String() {
		return true, nil
	}
	bare, port := split(h.String())
	if slices.ContainsFunc(s.own, func(d string) bool { return bare == d || strings.HasSuffix(bare, "."+d) }) {
		return true, nil
	}
	from, at := split(request.String())
	return loopback(bare) && loopback(from) && port == at, nil
}

// split returns a host without its port, and the port; "" for none.
func split(hostport string) (host, port string) {
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		return host, port
	}
	return hostport, ""
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Promotion is what a release is promoted with.
type Promotion struct {
	Release  int64
	Channels []meta.Channel
	Label    string // of the version; "" is that of the sequence
	Notes    string
	Required bool
	By       string // ARN
	// Tell returns the event of a promotion, which is stored with it; nil for none.
	Tell func(meta.Promotion, meta.Channel) event.Event
}

// Promote offers a release on channels, and returns the promotions and the channels in their order.
//
// Errors: fault.InvalidParameter, fault.ObjectNotFound (a channel), and those of meta.Store.Promote.
func (s *Service) Promote(ctx context.Context, a meta.Application, p Promotion) ([]meta.Promotion, []meta.Channel, error) {
	switch {
	case len(p.Channels) == 0 || len(p.Channels) > meta.MaxChannels:
		return nil, nil, invalid("channels", "1 to %d channels", meta.MaxChannels)
	case len(p.Label) > maxLabel:
		return nil, nil, invalid("versionLabel", "at most %d characters", maxLabel)
	case len(p.Notes) > maxNotes:
		return nil, nil, invalid("releaseNotes", "at most %d bytes", maxNotes)
	}
	if p.Label == "" {
		p.Label = fmt.Sprint(p.Release)
	}
	var channels []meta.Channel
	for _, c := range p.Channels {
		if slices.ContainsFunc(channels, func(o meta.Channel) bool { return o.ID == c.ID }) {
			continue
		}
		if _, ok := semver.Parse(p.Label); c.SemverRequired && !ok {
			return nil, nil, invalid("versionLabel", "the channel %s has semantic versions, such as 1.4.0, and %q is none", c.Slug,
				name.Clip(p.Label))
		}
		channels = append(channels, c)
	}
	all, err := s.meta.Promote(ctx, meta.Promotion{Application: a.ID, Release: p.Release, Label: p.Label, Notes: p.Notes,
		Required: p.Required, PromotedBy: p.By, ProxyDomain: s.places.Proxy, RegistryDomain: s.places.Registry}, channels, p.Tell)
	return all, channels, err
}

// CreateChannel makes a channel. Its id and slug are set here.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutChannel.
func (s *Service) CreateChannel(ctx context.Context, a meta.Application, c meta.Channel) (meta.Channel, error) {
	c.ID, c.Application, c.Slug = NewID(s.now()), a.ID, Slug(c.Name)
	if err := checkChannel(c); err != nil {
		return c, err
	}
	return s.meta.PutChannel(ctx, c)
}

// ChangeChannel changes a channel, and returns it. Its slug stays.
//
// Errors: fault.InvalidParameter, and those of meta.Store.UpdateChannel.
func (s *Service) ChangeChannel(ctx context.Context, c meta.Channel, change meta.ChannelChange) (meta.Channel, error) {
	if err := checkChannel(change.Apply(c)); err != nil { // each of its values alone
		return meta.Channel{}, err
	}
	return s.meta.UpdateChannel(ctx, c.ID, change)
}

func checkChannel(c meta.Channel) error {
	switch {
	case len(c.Name) > maxName || c.Slug == "":
		return invalid("channelName", "1 to %d characters, some of them letters or digits", maxName)
	case len(c.Description) > maxName:
		return invalid("description", "at most %d characters", maxName)
	case c.Slug == checkPath:
		return invalid("channelName", "%s has a meaning in the paths of updates: take another one", checkPath)
	}
	for _, d := range []string{c.ProxyDomain, c.RegistryDomain} {
		if d != "" && !IsDomain(d) {
			return invalid("proxyDomain", "a host without scheme and path, such as proxy.example.com")
		}
	}
	return nil
}
