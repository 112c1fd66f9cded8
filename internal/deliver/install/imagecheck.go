package install

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The limits of a check of images.
const (
	maxChecked     = 500 // images of a version
	checkedAtOnce  = 8
	maxImageConfig = 4 << 20 // bytes of the configuration of an image
	maxChildren    = 100     // images of an index whose platforms are listed
	maxChecksFile  = 4 << 20
	checkWait      = time.Minute // for one image
)

// checksDir has the results of checks, in the folder of an installation.
const checksDir = "checks"

// ImageCheck is what a registry answers about an image.
type ImageCheck struct {
	Image     string   `json:"image"`     // as the cluster pulls it
	In        []string `json:"in"`        // the objects that run it
	With      string   `json:"with"`      // whose credentials: "pull secret", "own registry" or "none"
	Pull      string   `json:"pull"`      // MayPull if its manifest and configuration were read
	Digest    string   `json:"digest"`    // "" if it is not known
	Platforms []string `json:"platforms"` // OS/ARCH[/VARIANT]; none if the image does not state them
	Size      int64    `json:"sizeInBytes"`
	Problem   string   `json:"problem,omitempty"` // why it cannot be pulled
}

// The answers of ImageCheck.Pull.
const (
	MayPull     = "yes"
	MayNotPull  = "no"
	PullUnknown = "unknown" // the registry was not reached from this machine
)

// ImageChecks are the results of a check of the images of a version.
type ImageChecks struct {
	Sequence int64        `json:"sequence"`
	At       time.Time    `json:"at"`
	Images   []ImageCheck `json:"images"`
	Notes    []string     `json:"notes,omitempty"` // what was not looked at

	// Objects is the hash of the objects that were read. They change with the changes of the customer.
	Objects string `json:"objects"`
}

// Count returns how many images have an answer.
func (c ImageChecks) Count(pull string) (n int) {
	for _, i := range c.Images {
		if i.Pull == pull {
			n++
		}
	}
	return n
}

// Checks returns the results of the last check of the images of a version. There are none if the objects of the version have changed since.
func (h *History) Checks(sequence int64) (c ImageChecks, ok bool) {
	f, err := os.Open(h.checksFile(sequence))
	if err != nil {
		return c, false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxChecksFile))
	if err != nil || json.Unmarshal(text, &c) != nil {
		return ImageChecks{}, false
	}
	objects, err := h.Read(sequence, renderedFile)
	return c, err == nil && c.Sequence == sequence && c.Objects == hashOf(objects)
}

func (h *History) checksFile(sequence int64) string {
	return filepath.Join(h.dir, checksDir, fmt.Sprintf("%d.json", sequence))
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// CheckImages asks for each image of a version whether a cluster can pull it: with the credentials of the pull secrets of the version, or
// those for the registry of the customer. It reads manifest and configuration, which counts as a pull, and no layers. The results are
// stored.
//
// Errors: the version has no files; more than 500 images; that of ctx.
func (i *Installation) CheckImages(ctx context.Context, sequence int64) (ImageChecks, error) {
	objects, err := i.Read(sequence, renderedFile)
	if err != nil {
		return ImageChecks{}, err
	}
	c := ImageChecks{Sequence: sequence, At: i.o.Now().UTC(), Images: []ImageCheck{}, Objects: hashOf(objects)}
	found := rule.Find([]rule.File{{Path: renderedFile, Data: objects}})
	if len(found.Images) > maxChecked {
		return c, fmt.Errorf("the version %d has %d images, and at most %d are checked", sequence, len(found.Images), maxChecked)
	}
	for _, u := range found.Unseen {
		why := "it is no container of a pod"
		if u.Err != nil {
			why = u.Why()
		}
		c.Notes = append(c.Notes, printable(fmt.Sprintf("%s: %s at %s is not checked: %s", u.Object, u.Text, u.Path, why)))
	}
	for _, s := range found.Skipped {
		c.Notes = append(c.Notes, printable(s.Error()))
	}
	asker, closed, err := i.asker(ctx, sequence)
	if err != nil {
		return c, err
	}
	defer closed()
	c.Images = make([]ImageCheck, len(found.Images))
	places := make(chan struct{}, checkedAtOnce)
	var wait sync.WaitGroup
	for n, image := range found.Images {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			c.Images[n] = asker.check(ctx, image)
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return c, context.Cause(ctx)
	}
	return c, i.keepChecks(c)
}

// keepChecks stores the results of a check.
func (i *Installation) keepChecks(c ImageChecks) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Join(i.dir, checksDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.WriteFile(i.checksFile(c.Sequence), append(text, '\n'), 0o600)
}

// imageAsker asks registries for images.
type imageAsker struct {
	client  *upstream.Client
	ownHost string
	own     *upstream.Registry
	auths   map[string]dockerAuth // of the pull secrets, by host

	mu   sync.Mutex
	from map[string]*upstream.Registry
}

// asker returns what asks for the images of a version, and a function that ends it.
func (i *Installation) asker(ctx context.Context, sequence int64) (*imageAsker, func(), error) {
	all, err := i.rendered(sequence)
	if err != nil {
		return nil, nil, err
	}
	a := &imageAsker{auths: pullSecrets(all), from: map[string]*upstream.Registry{}}
	if a.client, err = i.registries(1); err != nil {
		return nil, nil, err
	}
	closed := a.client.Close
	if r := i.state.Registry; r != nil {
		to, closeOwn, err := i.own(ctx, *r)
		if err != nil {
			closed()
			return nil, nil, err
		}
		a.ownHost, a.own = r.Host, to
		closed = func() { closeOwn(); a.client.Close() }
	}
	return a, closed, nil
}

// dockerAuth is what a docker configuration has about a host.
type dockerAuth struct {
	Auth     string `json:"auth"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// credentials returns the name and the password.
func (d dockerAuth) credentials() (user, password string) {
	if text, err := base64.StdEncoding.DecodeString(d.Auth); err == nil && d.Auth != "" {
		user, password, _ = strings.Cut(string(text), ":")
		return user, password
	}
	return d.Username, d.Password
}

// pullSecrets returns what the pull secrets among objects have, by host.
func pullSecrets(all []map[string]any) map[string]dockerAuth {
	auths := map[string]dockerAuth{}
	for _, o := range all {
		if o["kind"] != "Secret" || o["type"] != "kubernetes.io/dockerconfigjson" {
			continue
		}
		data, _ := o["data"].(map[string]any)
		encoded, _ := data[".dockerconfigjson"].(string)
		text, err := base64.StdEncoding.DecodeString(encoded)
		if plain, _ := o["stringData"].(map[string]any); err != nil || encoded == "" {
			one, _ := plain[".dockerconfigjson"].(string)
			text = []byte(one)
		}
		var config struct {
			Auths map[string]dockerAuth `json:"auths"`
		}
		if json.Unmarshal(text, &config) != nil {
			continue
		}
		for host, auth := range config.Auths {
			host = strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://")
			host, _, _ = strings.Cut(host, "/")
			auths[host] = auth
		}
	}
	return auths
}

// registry returns the registry of an image with the credentials for it, and whose they are.
func (a *imageAsker) registry(r rule.Reference) (reg *upstream.Registry, with string, err error) {
	host := r.Registry()
	if a.own != nil && host == a.ownHost {
		return a.own, "own registry", nil
	}
	e := upstream.Endpoint{Host: host}
	if host == rule.Hub {
		e.Host = "registry-1.docker.io"
	}
	with = "none"
	if auth, ok := a.auths[host]; ok {
		user, password := auth.credentials()
		e.Username, e.Password, with = user, secret.New(password), "pull secret"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if reg = a.from[e.Host]; reg == nil {
		if reg, err = a.client.Registry(e); err == nil {
			a.from[e.Host] = reg
		}
	}
	return reg, with, err
}

// check asks for one image.
func (a *imageAsker) check(ctx context.Context, image rule.Image) ImageCheck {
	c := ImageCheck{Image: image.String(), In: []string{}, Platforms: []string{}}
	for _, o := range image.Objects {
		c.In = append(c.In, o.Kind+" "+o.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	reg, with, err := a.registry(image.Reference)
	c.With = with
	if err == nil {
		err = describe(ctx, reg, image.Reference, &c)
	}
	c.Pull = MayPull
	if err != nil {
		c.Pull, c.Problem = problemOf(err, with)
	}
	return c
}

// problemOf returns whether an image cannot be pulled after an error, why, and what to do where that is known.
func problemOf(err error, with string) (pull, text string) {
	text = err.Error()
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		text = e.Public
		if e.Host != "" {
			text = e.Host + ": " + text
		}
	}
	pull = PullUnknown
	switch {
	case errors.Is(err, upstream.NotFound):
		pull, text = MayNotPull, text+"; the image does not exist there, or its name is wrong"
	case errors.Is(err, upstream.Denied), errors.Is(err, upstream.Unauthorized):
		pull = MayNotPull
		switch with {
		case "pull secret":
			text += "; ask the vendor whether your licence is entitled to it"
		case "none":
			text += "; the registry wants credentials, and no pull secret of the version has some for it"
		}
	case errors.Is(err, upstream.Rejected):
		pull = MayNotPull
	case errors.Is(err, upstream.Refused):
		text += "; addresses of private networks are asked if --egress-allow names them"
	}
	return pull, printable(text)
}

// imageDocument is a manifest or an index.
type imageDocument struct {
	Manifests []struct {
		Digest   string
		Platform imagePlatform
	}
	Config struct {
		Digest string
		Size   int64
	}
	Layers []struct{ Size int64 }
}

type imagePlatform struct{ OS, Architecture, Variant string }

func (p imagePlatform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// describe reads an image: its digest, its platforms, and its size for this machine, or else for its first platform.
func describe(ctx context.Context, reg *upstream.Registry, r rule.Reference, c *ImageCheck) error {
	ref := r.Digest
	if ref == "" {
		if ref = r.Tag; ref == "" {
			ref = "latest"
		}
	}
	d, digest, err := readImage(ctx, reg, r.Repository(), ref)
	if err != nil {
		return err
	}
	c.Digest = digest
	if len(d.Manifests) > 0 {
		child := ""
		for _, m := range d.Manifests[:min(len(d.Manifests), maxChildren)] {
			if m.Platform.OS == "" || m.Platform.OS == "unknown" {
				continue
			}
			c.Platforms = append(c.Platforms, printable(m.Platform.String()))
			if child == "" || m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH {
				child = m.Digest
			}
		}
		if child == "" {
			child = d.Manifests[0].Digest
		}
		if d, _, err = readImage(ctx, reg, r.Repository(), child); err != nil {
			return err
		}
	}
	c.Size = d.Config.Size
	for _, l := range d.Layers {
		c.Size += l.Size
	}
	p, err := readConfig(ctx, reg, r.Repository(), d)
	if err == nil && p.OS != "" && len(c.Platforms) == 0 {
		c.Platforms = append(c.Platforms, printable(p.String()))
	}
	return err
}

// readImage reads a manifest, and its digest.
func readImage(ctx context.Context, reg *upstream.Registry, repo, ref string) (d imageDocument, digest string, err error) {
	m, err := reg.Manifest(ctx, repo, ref, upstream.ManifestOptions{})
	if err != nil {
		return d, "", err
	}
	return d, m.Digest.String(), json.Unmarshal(m.Body, &d)
}

// readConfig reads the configuration of an image, which says whether its blobs can be read too. What is no configuration has no platform.
func readConfig(ctx context.Context, reg *upstream.Registry, repo string, d imageDocument) (p imagePlatform, err error) {
	digest, err := name.ParseDigest(d.Config.Digest)
	if err != nil || d.Config.Size <= 0 || d.Config.Size > maxImageConfig {
		return p, nil
	}
	b, err := reg.Blob(ctx, repo, digest, upstream.BlobOptions{Size: d.Config.Size})
	if err != nil {
		return p, err
	}
	defer b.Close()
	text, err := io.ReadAll(b)
	if err == nil && json.Unmarshal(text, &p) != nil {
		return imagePlatform{}, nil
	}
	return p, err
}
