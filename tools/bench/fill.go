package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// fill stores the images first to first+n-1, each with its own tag, directly in the metadata of a server that
// is not running. The repository must hold the blobs of the images.
func fill(ctx context.Context, data, account, region, repo string, first, n int) error {
	store, err := meta.OpenSQLite(ctx, data, time.Now)
	if err != nil {
		return err
	}
	defer store.Close()
	id, err := name.ParseAccount(account)
	if err != nil {
		return err
	}
	place, err := name.ParseRegion(region)
	if err != nil {
		return err
	}
	parsed, err := name.ParseRepo(repo)
	if err != nil {
		return err
	}
	r, err := store.Repository(ctx, name.Registry{Account: id, Region: place}, parsed)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	next := first
	g, ctx := errgroup.WithContext(ctx)
	for range 128 { // the maximum number of transactions in one commit
		g.Go(func() error {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= first+n {
					return nil
				}
				if err := put(ctx, store, r, i); err != nil {
					return fmt.Errorf("storing image %d: %w", i, err)
				}
			}
		})
	}
	return g.Wait()
}

func put(ctx context.Context, store *meta.Store, r meta.Repository, i int) error {
	body := imageManifest(i)
	m, err := manifest.Parse(body, manifestType)
	if err != nil {
		return err
	}
	digest, err := name.ParseDigest(digestOf(body))
	if err != nil {
		return err
	}
	tag, err := name.ParseTag(tagOf(i))
	if err != nil {
		return err
	}
	return store.PutImage(ctx, r, meta.Put{Manifest: m, Body: body, Digest: digest, Tags: []name.Tag{tag}, Principal: "bench"})
}
