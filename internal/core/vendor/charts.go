package vendor

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/chart"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxCharts      = 100      // of a release
	maxVersions    = 100      // of a chart of a channel, the newest ones
	maxChartsBytes = 32 << 20 // of charts that are kept for their next requests
	// licenseUser is the user name in pull secrets. The password decides.
	licenseUser = "LICENSE_ID"
)

// chartsOf returns the packed charts among the files of a release.
func chartsOf(files []rewrite.File) (all []meta.ReleaseChart) {
	for _, f := range files {
		if path.Ext(f.Path) != ".tgz" || len(all) == maxCharts {
			continue
		}
		c, err := chart.Read(f.Data)
		if err != nil {
			continue // another archive
		}
		_, signed := slices.BinarySearchFunc(files, f.Path+".prov", func(f rewrite.File, p string) int { return strings.Compare(f.Path, p) })
		all = append(all, meta.ReleaseChart{Name: c.Name, Version: c.Version, Path: f.Path, Signed: signed})
	}
	return all
}

// ChartSource is a chart of a channel, in all versions that a customer is offered.
type ChartSource struct {
	application meta.Application
	customer    meta.Customer
	name        string
	offered     []meta.OfferedChart // the newest first
}

// FindChart returns the chart that a customer names by SLUG/CHANNEL/CHART, where CHANNEL is the slug of one of its channels, which offers a
// release with the chart.
//
// Errors: fault.ObjectNotFound (the path is that of no chart), and those of meta.Store.
func (s *Service) FindChart(ctx context.Context, by identity.Caller, at string) (ChartSource, error) {
	none := fault.ObjectNotFound.New("there is no chart %s", name.Clip(at))
	parts := strings.Split(at, "/")
	if len(parts) != 3 {
		return ChartSource{}, none
	}
	a, c, err := s.licensee(ctx, by, parts[0])
	if err == nil {
		var of meta.Channel
		var pinned int64
		if of, pinned, err = s.channelOf(ctx, a, c, parts[1]); err == nil {
			out := ChartSource{application: a, customer: c, name: parts[2]}
			out.offered, err = s.meta.OfferedCharts(ctx, of.ID, parts[2], pinned, maxVersions)
			if err != nil || len(out.offered) > 0 {
				return out, err
			}
		}
	}
	if err == nil || errors.Is(err, fault.AccessDenied) {
		err = none
	}
	return ChartSource{}, err
}

// Tags returns the versions of the chart as tags, sorted.
func (c ChartSource) Tags() []string {
	tags := []string{}
	for _, o := range c.offered {
		tags = append(tags, chart.Tag(o.Version))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// ARN returns the ARN of the application.
func (c ChartSource) ARN() string { return c.application.ARN() }

// Artifact is a chart as an artifact of a registry, for one customer.
type Artifact struct {
	Digest   string // of Manifest
	Manifest []byte
	Blobs    map[string][]byte // by digest: configuration, content and provenance
}

// bytes returns what an artifact needs in memory.
func (a *Artifact) bytes() int {
	n := len(a.Manifest)
	for _, b := range a.Blobs {
		n += len(b)
	}
	return n
}

// Chart returns a version of a chart for the customer, by its tag or its digest. Its values have a pull secret with the licence of the
// customer for the hosts of the version, or for those of at. Equal requests have equal answers.
//
// Errors: fault.ImageNotFound, and those of meta.Store.
func (s *Service) Chart(ctx context.Context, c ChartSource, reference string, at Places) (*Artifact, error) {
	_, err := name.ParseDigest(reference)
	byDigest := err == nil
	for _, o := range c.offered {
		if !byDigest && chart.Tag(o.Version) != reference {
			continue
		}
		one, err := s.artifact(ctx, c, o, at)
		if err != nil || !byDigest || one.Digest == reference {
			return one, err
		}
	}
	return nil, fault.ImageNotFound.New("the chart %s has no version %s", c.name, name.Clip(reference))
}

// ChartBlob returns a blob of a version of a chart for the customer.
//
// Errors: fault.BlobNotFound, and those of meta.Store.
func (s *Service) ChartBlob(ctx context.Context, c ChartSource, digest string, at Places) ([]byte, error) {
	for _, o := range c.offered {
		one, err := s.artifact(ctx, c, o, at)
		if err != nil {
			return nil, err
		}
		if b, ok := one.Blobs[digest]; ok {
			return b, nil
		}
	}
	return nil, fault.BlobNotFound.New("the chart %s has no blob %s", c.name, name.Clip(digest))
}

// artifact returns a version of a chart for a customer, from the cache if it is there. What it contains follows from its key: a promoted
// release, a customer's licence and the domains of a promotion do not change.
func (s *Service) artifact(ctx context.Context, c ChartSource, o meta.OfferedChart, at Places) (*Artifact, error) {
	hosts := []string{cmp.Or(o.ProxyDomain, at.Proxy), cmp.Or(o.RegistryDomain, at.Registry)}
	key := strings.Join(append(hosts, c.customer.ID, o.Application, fmt.Sprint(o.Release), o.Path), " ")
	if have := s.charts.get(key); have != nil {
		return have, nil
	}
	r, err := s.meta.Release(ctx, o.Application, o.Release)
	if err != nil {
		return nil, err
	}
	files, err := Files(r)
	if err != nil {
		return nil, err
	}
	id, err := s.LicenseID(c.customer)
	if err != nil {
		return nil, err
	}
	fileAt := func(p string) []byte {
		if i := slices.IndexFunc(files, func(f rewrite.File) bool { return f.Path == p }); i >= 0 {
			return files[i].Data
		}
		return nil
	}
	var auths []rewrite.Auth
	for _, h := range hosts {
		auths = append(auths, rewrite.Auth{Host: h, Username: licenseUser, Password: id.Reveal()})
	}
	var provenance []byte
	if o.Signed {
		provenance = fileAt(o.Path + ".prov")
	}
	made, err := newArtifact(fileAt(o.Path), provenance, base64.StdEncoding.EncodeToString(rewrite.DockerConfig(auths)))
	if err != nil {
		return nil, fmt.Errorf("the chart %s of the release %d: %w", o.Path, o.Release, err)
	}
	s.charts.put(key, made)
	return made, nil
}

// newArtifact returns a packed chart as an artifact. secret is set in its values, unless the chart says otherwise or is signed; a chart
// whose values cannot be set stays as it is.
func newArtifact(packed, provenance []byte, secret string) (*Artifact, error) {
	info, err := chart.Read(packed)
	if err != nil {
		return nil, err
	}
	if info.PullSecret == "always" || info.PullSecret != "never" && provenance == nil {
		values := []chart.Value{{Path: []string{"global", "replicated", "dockerconfigjson"}, Text: secret},
			{Path: []string{"global", "ecrin", "dockerconfigjson"}, Text: secret}}
		if changed, err := chart.Set(packed, values); err == nil {
			packed, provenance = changed, nil
		}
	}
	config, err := json.Marshal(info.Metadata)
	if err != nil { // keys that are no text, which JSON does not have
		if config, err = json.Marshal(map[string]string{"name": info.Name, "version": info.Version}); err != nil {
			return nil, err
		}
	}
	out := &Artifact{Blobs: map[string][]byte{}}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	blob := func(mediaType string, b []byte) descriptor {
		d := digestOf(b)
		out.Blobs[d] = b
		return descriptor{mediaType, d, len(b)}
	}
	annotations := map[string]string{"org.opencontainers.image.title": info.Name, "org.opencontainers.image.version": info.Version}
	if info.Description != "" {
		annotations["org.opencontainers.image.description"] = info.Description
	}
	layers := []descriptor{blob(chart.ContentType, packed)}
	if provenance != nil {
		layers = append(layers, blob(chart.ProvenanceType, provenance))
	}
	out.Manifest, err = json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Annotations   map[string]string `json:"annotations"`
	}{2, ManifestType, blob(chart.ConfigType, config), layers, annotations})
	out.Digest = digestOf(out.Manifest)
	return out, err
}

// ManifestType is the media type of the manifests of charts.
const ManifestType = "application/vnd.oci.image.manifest.v1+json"

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// chartCache keeps the charts that were used last, up to maxChartsBytes. It is safe for concurrent use.
type chartCache struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List // of *keptChart, the one that was used last first
	size  int
}

type keptChart struct {
	key string
	*Artifact
}

func newChartCache() *chartCache {
	return &chartCache{byKey: map[string]*list.Element{}, order: list.New()}
}

func (c *chartCache) get(key string) *Artifact {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*keptChart).Artifact
}

func (c *chartCache) put(key string, a *Artifact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.bytes() > maxChartsBytes/4 || c.byKey[key] != nil {
		return
	}
	c.byKey[key] = c.order.PushFront(&keptChart{key, a})
	for c.size += a.bytes(); c.size > maxChartsBytes; {
		last := c.order.Back()
		k := c.order.Remove(last).(*keptChart)
		c.size -= k.bytes()
		delete(c.byKey, k.key)
	}
}
