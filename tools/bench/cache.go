package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
)

// The names of the measured pulls. All are of one large layer by one client.
const (
	throughCache = "first, through the cache"
	direct       = "direct, from the other registry"
	cachedPull   = "cached"
	localPull    = "local"
	cacheRules   = 40 // each has the layer once for a first pull
)

// caches are ecrin as a cache and the ecrin from which it fetches.
type caches struct {
	cache, far *door
	key        account
	used       int // rules whose layer was fetched
}

// cacheRows compare pulls through a cache with others.
func (b *bench) cacheRows() []row {
	size := fmt.Sprintf("%d MB", b.bigBytes>>20)
	c := &b.caches
	return []row{
		{name: "first pull of " + size + " through a cache", unit: "MB/s", prepare: b.openCaches, contenders: []contender{
			{name: throughCache, run: func(context.Context) (measure, error) { return b.firstPull() }},
			{name: direct, run: func(context.Context) (measure, error) { return b.pullBig(c.far, few) }},
		}, targets: []target{{who: throughCache, peer: direct, of: value, goal: 0.8}}},
		{name: "pull of " + size + " that is cached", unit: "MB/s", prepare: b.openCaches, contenders: []contender{
			{name: cachedPull, run: func(context.Context) (measure, error) { return b.pullBig(c.cache, "c0/"+few) }},
			{name: localPull, run: func(context.Context) (measure, error) { return b.pullBig(c.cache, few) }},
		}, targets: []target{{who: cachedPull, peer: localPull, of: value, goal: 0.9}}},
	}
}

// openCaches starts both servers, unless they are running.
func (b *bench) openCaches(ctx context.Context) error {
	c := &b.caches
	if c.cache != nil {
		return nil
	}
	pair, err := b.pair()
	if err != nil {
		return err
	}
	open := func(called string, pair *certificate, env ...string) (*door, error) {
		data := filepath.Join(b.dir, called)
		p, err := b.startEcrinEnv(ctx, data, pair, env...)
		if err != nil {
			return nil, err
		}
		d := &door{process: p}
		if c.key, err = b.readAccount(ctx, data); err != nil {
			return d, err
		}
		err = d.login(ctx, c.key)
		if err == nil {
			err = d.api(ctx, c.key, "CreateRepository", map[string]string{"repositoryName": few}, &struct{}{})
		}
		if err == nil {
			err = b.putBig(d)
		}
		return d, err
	}
	if c.far, err = open("far-data", pair, "ECRIN_ANONYMOUS=true"); err != nil {
		return err
	}
	policy := map[string]string{"repositoryName": few, "policyText": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*",` +
		`"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}}`}
	if err := c.far.api(ctx, c.key, "SetRepositoryPolicy", policy, &struct{}{}); err != nil {
		return err
	}
	if c.cache, err = open("cache-data", nil, "ECRIN_EGRESS_ALLOW=127.0.0.1", "ECRIN_EGRESS_CA="+pair.cert); err != nil {
		return err
	}
	for i := range cacheRules {
		in := map[string]string{"ecrRepositoryPrefix": fmt.Sprint("c", i), "upstreamRegistryUrl": c.far.address}
		if err := c.cache.api(ctx, c.key, "CreatePullThroughCacheRule", in, &struct{}{}); err != nil {
			return err
		}
	}
	_, err = b.firstPull() // that of the row of cached pulls
	return err
}

// putBig pushes an image whose layer is the large blob, as the tag big.
func (b *bench) putBig(d *door) error {
	c, err := d.dial()
	if err != nil {
		return err
	}
	defer c.close()
	for _, blob := range [][]byte{imageConfig, b.big} {
		if err := d.putBlob(c, few, blob, digestOf(blob)); err != nil {
			return err
		}
	}
	return b.putBigManifest(d, c, few)
}

// putBigManifest pushes the manifest of the large layer, which the repository has, as the tag big.
func (b *bench) putBigManifest(d *door, c *client, repo string) error {
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[`+
		`{"mediaType":%q,"digest":%q,"size":%d}]}`, manifestType, configType, digestOf(imageConfig), len(imageConfig), layerType,
		digestOf(b.big), len(b.big))
	_, err := d.callOn(c, http.MethodPut, "/v2/"+repo+"/manifests/big", body, http.StatusCreated, "Content-Type: "+manifestType)
	return err
}

// next returns a repository of the cache whose layer was not fetched yet.
func (c *caches) next() (string, error) {
	if c.used == cacheRules {
		return "", errors.New("every rule of the cache was used: run fewer rounds")
	}
	c.used++
	return fmt.Sprintf("c%d/%s", c.used-1, few), nil
}

// firstPull pulls an image that the cache does not hold.
func (b *bench) firstPull() (measure, error) {
	repo, err := b.caches.next()
	if err != nil {
		return measure{}, err
	}
	return b.pullBig(b.caches.cache, repo)
}

// pullBig pulls manifest and layer by one connection.
func (b *bench) pullBig(d *door, repo string) (measure, error) {
	c, err := d.dial()
	if err != nil {
		return measure{}, err
	}
	defer c.close()
	m, err := timed(func() error {
		if _, err := d.callOn(c, http.MethodGet, "/v2/"+repo+"/manifests/big", nil, http.StatusOK); err != nil {
			return err
		}
		a, err := d.callOn(c, http.MethodGet, "/v2/"+repo+"/blobs/"+digestOf(b.big), nil, http.StatusOK)
		if err == nil && a.body != int64(len(b.big)) {
			err = fmt.Errorf("the layer has %d bytes, want %d", a.body, len(b.big))
		}
		return err
	})
	m.Value = float64(len(b.big)) / 1e6 / m.Value
	return m, err
}
