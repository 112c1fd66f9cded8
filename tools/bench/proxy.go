package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	byProxy     = "first, by the proxy"
	cachedProxy = "by the proxy, cached"
	proxied     = 30 // repositories of the other registry that have the layer, each for one first pull
)

// proxy is the licence proxy of the server that is a cache too.
type proxy struct {
	customer *door // the same server, with the licence of a customer
	used     int   // repositories whose layer was fetched
}

// proxyRows compare pulls by the licence proxy with others.
func (b *bench) proxyRows() []row {
	size := fmt.Sprintf("%d MB", b.bigBytes>>20)
	c := &b.caches
	return []row{
		{name: "first pull of " + size + " by the licence proxy", unit: "MB/s", prepare: b.openProxy, contenders: []contender{
			{name: byProxy, run: func(context.Context) (measure, error) { return b.proxyPull() }},
			{name: direct, run: func(context.Context) (measure, error) { return b.pullBig(c.far, few) }},
		}, targets: []target{{who: byProxy, peer: direct, of: value, goal: 0.8}}},
		{name: "pull of " + size + " by the licence proxy, cached", unit: "MB/s", prepare: b.openProxy, contenders: []contender{
			{name: cachedProxy, run: func(context.Context) (measure, error) { return b.pullBig(b.proxy.customer, proxyPath(0)) }},
			{name: localPull, run: func(context.Context) (measure, error) { return b.pullBig(c.cache, few) }},
		}, targets: []target{{who: cachedProxy, peer: localPull, of: value, goal: 0.9}}},
	}
}

// proxyPath is the repository at the proxy of one of the other registry.
func proxyPath(n int) string { return fmt.Sprint("proxy/bench/up/p", n) }

// openProxy makes an application, a customer and the repositories at the other registry, unless they are there.
func (b *bench) openProxy(ctx context.Context) error {
	if b.proxy.customer != nil {
		return nil
	}
	if err := b.openCaches(ctx); err != nil {
		return err
	}
	c := &b.caches
	key, err := b.readAccount(ctx, filepath.Join(b.dir, "far-data"))
	if err != nil {
		return err
	}
	for n := range proxied {
		if err := b.mountBig(ctx, c.far, key, fmt.Sprint("p", n)); err != nil {
			return err
		}
	}
	ecrin := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, b.ecrinPath, append(args, "--data", filepath.Join(b.dir, "cache-data"))...)
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		if err != nil {
			return nil, fmt.Errorf("ecrin %s: %w", strings.Join(args, " "), err)
		}
		return out, nil
	}
	var out []byte
	for _, line := range []string{
		"app create bench", "integration add up --kind oci --registry-host " + c.far.address, "app registry add up --app bench",
		"customer create bench Big --channel stable --json",
	} {
		var err error
		if out, err = ecrin(strings.Fields(line)...); err != nil {
			return err
		}
	}
	var made struct{ LicenseID string }
	if err := json.Unmarshal(out, &made); err != nil || made.LicenseID == "" {
		return fmt.Errorf("the customer %s: %w", out, err)
	}
	if _, err := ecrin("entitlement", "add", "bench", "--customer", "Big", "--repository", "*"); err != nil {
		return err
	}
	b.proxy.customer = &door{process: c.cache.process,
		auth: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+made.LicenseID)) + "\r\n"}
	_, err = b.proxyPull() // that of the row of cached pulls
	return err
}

// mountBig makes a repository with the image of the large layer, for everyone.
func (b *bench) mountBig(ctx context.Context, d *door, key account, repo string) error {
	if err := d.api(ctx, key, "CreateRepository", map[string]string{"repositoryName": repo}, &struct{}{}); err != nil {
		return err
	}
	policy := map[string]string{"repositoryName": repo, "policyText": `{"Version":"2012-10-17","Statement":` +
		`{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}}`}
	if err := d.api(ctx, key, "SetRepositoryPolicy", policy, &struct{}{}); err != nil {
		return err
	}
	c, err := d.dial()
	if err != nil {
		return err
	}
	defer c.close()
	for _, blob := range [][]byte{imageConfig, b.big} {
		path := "/v2/" + repo + "/blobs/uploads/?mount=" + digestOf(blob) + "&from=" + few
		if _, err := d.callOn(c, http.MethodPost, path, nil, http.StatusCreated); err != nil {
			return err
		}
	}
	return b.putBigManifest(d, c, repo)
}

// proxyPull pulls an image that the proxy does not hold.
func (b *bench) proxyPull() (measure, error) {
	if b.proxy.used == proxied {
		return measure{}, errors.New("every repository was pulled by the proxy: run fewer rounds")
	}
	b.proxy.used++
	return b.pullBig(b.proxy.customer, proxyPath(b.proxy.used-1))
}
