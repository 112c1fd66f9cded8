package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Taken is an inventory with what is wrong at the receiver.
type Taken struct {
	Inventory *bundle.Inventory
	Bytes     int64    // that were hashed
	Images    int      // tags, and images that neither a tag nor another image names
	Damaged   []string // digests whose bytes are wrong or cannot be read, each with its repository
}

// Taker makes inventories.
type Taker struct {
	From *upstream.Registry
	Now  func() time.Time
	Came func(digest string) string // the bundle in which a blob came, for messages; nil knows none
	Each func(Progress)             // nil for none
}

// listed is a blob that manifests name.
type listed struct {
	digest name.Digest
	size   int64
	repos  []string
}

// Take reads and hashes all blobs of the images in some repositories; with none, in all that the registry lists. Images without a tag are
// among them only if the registry lists them, which those of the kind ECR do.
//
// Errors: those of the registry, but for blobs that are missing or damaged; that of ctx.
func (t *Taker) Take(ctx context.Context, repos []string) (*Taken, error) {
	if len(repos) == 0 {
		var err error
		if repos, err = t.From.Repositories(ctx); err != nil {
			return nil, fmt.Errorf("listing the repositories: %w", err)
		}
	}
	out := &Taken{Inventory: &bundle.Inventory{Format: bundle.InventoryFormat, Receiver: t.From.Host(),
		CreatedAt: t.Now().UTC().Truncate(time.Second), Blobs: []bundle.Held{}}}
	all := map[name.Digest]*listed{}
	for n, repo := range repos {
		if err := t.repository(ctx, repo, all, out); err != nil {
			return nil, fmt.Errorf("%s: %w", repo, err)
		}
		t.show(Progress{What: "reading manifests", Done: n + 1, Of: len(repos)})
	}
	return out, t.hash(ctx, all, out)
}

func (t *Taker) show(p Progress) {
	if t.Each != nil {
		t.Each(p)
	}
}

// repository lists the blobs of the images of a repository.
func (t *Taker) repository(ctx context.Context, repo string, all map[name.Digest]*listed, out *Taken) error {
	var tags []string
	err := t.From.Tags(ctx, repo, "", func(some []string) error {
		tags = append(tags, some...)
		return nil
	})
	if err != nil && !errors.Is(err, upstream.NotFound) {
		return err
	}
	untagged, err := t.From.Untagged(ctx, repo)
	if err != nil && !errors.Is(err, upstream.Invalid) && !errors.Is(err, upstream.NotFound) && !errors.Is(err, upstream.Denied) {
		return err
	}
	seen, named := map[string]bool{}, map[string]bool{} // by another image
	queue := slices.Clone(tags)
	for _, d := range untagged {
		queue = append(queue, d.String())
	}
	for n := 0; n < len(queue); n++ {
		m, err := t.From.Manifest(ctx, repo, queue[n], upstream.ManifestOptions{})
		if errors.Is(err, upstream.NotFound) {
			continue // it has been deleted, or an index names an image that was never there
		}
		if err != nil {
			return err
		}
		if seen[m.Digest.String()] {
			continue
		}
		seen[m.Digest.String()] = true
		parsed, err := manifest.Parse(m.Body, m.MediaType)
		if err != nil {
			return err
		}
		for _, child := range parsed.Manifests {
			d := child.Digest.String()
			if named[d] = true; !seen[d] {
				queue = append(queue, d)
			}
		}
		more, err := t.From.Referrers(ctx, repo, m.Digest, "")
		if err != nil && !errors.Is(err, upstream.NotFound) {
			return err
		}
		for _, one := range more {
			d := one.Digest.String()
			if named[d] = true; !seen[d] {
				queue = append(queue, d)
			}
		}
		for _, b := range append(parsed.Blobs(), layersOf(parsed)...) {
			if b.Size < 0 {
				continue
			}
			have := all[b.Digest]
			if have == nil {
				if len(all) >= bundle.MaxBlobs {
					return fmt.Errorf("the registry has more than %d blobs: name repositories", bundle.MaxBlobs)
				}
				have = &listed{digest: b.Digest, size: b.Size}
				all[b.Digest] = have
			}
			if len(have.repos) < bundle.MaxAt && !slices.Contains(have.repos, repo) {
				have.repos = append(have.repos, repo)
			}
		}
	}
	out.Images += len(tags)
	for _, d := range untagged {
		if !named[d.String()] {
			out.Images++
		}
	}
	return nil
}

// layersOf returns the layers that a repository may have although no manifest requires it.
func layersOf(m *manifest.Manifest) (all []manifest.Descriptor) {
	elsewhere := m.Elsewhere()
	for _, l := range m.Layers {
		if slices.Contains(elsewhere, l.Digest) {
			l.URLs = []string{""}
			all = append(all, l)
		}
	}
	return all
}

// hash reads all blobs, some at once.
func (t *Taker) hash(ctx context.Context, all map[name.Digest]*listed, out *Taken) error {
	digests := slices.SortedFunc(maps.Keys(all), func(a, b name.Digest) int {
		switch {
		case a.String() < b.String():
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	p := Progress{What: "hashing", Of: len(digests)}
	for _, b := range all {
		p.Size += b.size
	}
	right := make([]bool, len(digests))
	var mu sync.Mutex
	var first error
	places := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for n, d := range digests {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			b := all[d]
			var err error
			for _, repo := range b.repos {
				if right[n], err = hashed(ctx, t.From, repo, d, b.size); right[n] {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			p.Done++
			p.Bytes += b.size
			t.show(p)
			switch {
			case right[n]:
				out.Bytes += b.size
			case errors.Is(err, upstream.NotFound):
			case errors.Is(err, upstream.Lied), errors.Is(err, upstream.Unavailable) && ctx.Err() == nil:
				out.Damaged = append(out.Damaged, d.String()+" of "+b.repos[0])
			default:
				first = cmpErr(first, err)
			}
		})
	}
	wait.Wait()
	slices.Sort(out.Damaged)
	for n, d := range digests {
		if right[n] {
			held := bundle.Held{Digest: d.String(), Size: all[d].size, At: all[d].repos}
			if t.Came != nil {
				held.From = t.Came(held.Digest)
			}
			out.Inventory.Blobs = append(out.Inventory.Blobs, held)
		}
	}
	return first
}
