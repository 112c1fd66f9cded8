package rewrite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// Asker asks a registry for the manifest of an image without credentials.
type Asker interface {
	// Ask returns what the registry answered, and for rule.Refused the reason. It may be called by several goroutines.
	Ask(ctx context.Context, image rule.Reference) (rule.Verdict, error)
}

// Registries asks registries through a client, whose guard decides which addresses may be asked. Limits.Attempts of the client is to be 1.
type Registries struct{ Client *upstream.Client }

// hubAt is the host that answers for Docker Hub.
const hubAt = "registry-1.docker.io"

// at returns the host of the registry of an image, and what names the image there.
func at(r rule.Reference) (host, ref string) {
	host = r.Registry()
	if host == rule.Hub {
		host = hubAt
	}
	switch {
	case r.Digest != "":
		return host, r.Digest
	case r.Tag != "":
		return host, r.Tag
	}
	return host, "latest"
}

// Ask implements Asker. It begins with a HEAD, which registries do not count as a pull.
func (a Registries) Ask(ctx context.Context, image rule.Reference) (rule.Verdict, error) {
	host, ref := at(image)
	reg, err := a.Client.Registry(upstream.Endpoint{Host: host})
	if err != nil {
		return rule.Refused, err
	}
	_, err = reg.Head(ctx, image.Repository(), ref, nil)
	if err == nil {
		return rule.Pulled, nil
	}
	if !errors.Is(err, upstream.Rejected) && !errors.Is(err, upstream.Lied) {
		return rule.Refused, err
	}
	m, err := reg.Manifest(ctx, image.Repository(), ref, upstream.ManifestOptions{}) // the registry has no HEAD
	if err != nil {
		return rule.Refused, err
	}
	if !forThisPlatform(m) {
		return rule.NoPlatform, nil
	}
	return rule.Pulled, nil
}

// forThisPlatform reports whether a manifest is that of an image, or a list with an image for this machine.
func forThisPlatform(m upstream.Manifest) bool {
	var list struct {
		Manifests []struct {
			Platform *struct{ OS, Architecture string }
		}
	}
	if json.Unmarshal(m.Body, &list) != nil || len(list.Manifests) == 0 {
		return true
	}
	for _, one := range list.Manifests {
		if p := one.Platform; p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH {
			return true
		}
	}
	return false
}

const (
	parallel  = 10 // images that are asked for at once
	tries     = 3  // for an image whose registry ends the connection without an answer
	pause     = time.Second
	whyBefore = "it was decided before"
	whyAll    = "all images count as private"
	whyNamed  = "it has the name of the proxy"
	whyHere   = "it is in the registry of the customer already"
	whyLocal  = "all images are pulled from the registry of the customer"
)

// decisions are those of one run, by reference as written.
type decisions struct {
	*Engine
	in    Input
	proxy rule.Proxy

	mu     sync.Mutex
	known  map[string]rule.Decision
	failed error // the first of an image that there is no decision on
}

func (e *Engine) decisions(in Input, proxy rule.Proxy) *decisions {
	d := &decisions{Engine: e, in: in, proxy: proxy, known: map[string]rule.Decision{}}
	for _, k := range in.Known {
		d.known[k.Image] = rule.Decision{Private: k.Private, Why: whyBefore}
	}
	return d
}

// of returns the decision on an image. Without one it asks the registry.
func (d *decisions) of(ctx context.Context, r rule.Reference) rule.Decision {
	d.mu.Lock()
	decision, ok := d.known[r.String()]
	d.mu.Unlock()
	if ok {
		return decision
	}
	decision, err := d.make(ctx, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && d.failed == nil {
		d.failed = err
	}
	d.known[r.String()] = decision
	return decision
}

// make decides on an image.
func (d *decisions) make(ctx context.Context, r rule.Reference) (rule.Decision, error) {
	switch {
	case d.in.Local != nil && d.in.Local.Has(r):
		return rule.Decision{Private: true, Why: whyHere}, nil
	case d.proxy.Host != "" && d.proxy.Serves(r):
		return rule.Decision{Private: true, Why: whyNamed}, nil
	case d.in.AllPrivate:
		return rule.Decision{Private: true, Why: whyAll}, nil
	case d.in.Local != nil && d.proxy.Host == "":
		return rule.Decision{Private: true, Why: whyLocal}, nil
	}
	for n := 1; ; n++ {
		verdict, err := d.Asker.Ask(ctx, r)
		switch {
		case ctx.Err() != nil:
			return rule.Decision{Private: true}, context.Cause(ctx)
		case verdict != rule.Refused || !ended(err):
			return rule.Decide(verdict, err), nil
		case n == tries:
			return rule.Decision{Private: true}, fmt.Errorf("asking for %s: no answer before the end of the connection, %d times: %w", r, n, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// ended reports whether a connection ended without an answer.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.HasSuffix(err.Error(), ": EOF")
}

// all decides on images.
func (d *decisions) all(ctx context.Context, images []rule.Image) error {
	places := make(chan struct{}, parallel)
	var wait sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for _, i := range images {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			decision := d.of(ctx, i.Reference)
			mu.Lock()
			defer mu.Unlock()
			if done++; d.Decided != nil {
				d.Decided(done, len(images), i.String(), decision)
			}
		})
	}
	wait.Wait()
	return d.failed
}
