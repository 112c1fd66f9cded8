package metatest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Times of collections: everything that was deleted before the collection, and nothing.
func always() time.Time { return time.Now().Add(time.Hour) }

var never = time.UnixMicro(1)

// collect runs a step until nothing is left, and returns what it removed.
func (fx *Fixture) collect(step func() (meta.Collected, bool, error)) (all meta.Collected) {
	fx.Helper()
	for range 10_000 {
		c, more, err := step()
		fx.Must(err)
		if !more {
			return all
		}
		all.Add(c)
	}
	fx.Fatal("the collection does not end")
	return all
}

func (fx *Fixture) collectImages(before time.Time) meta.Collected {
	fx.Helper()
	return fx.collect(func() (meta.Collected, bool, error) { return fx.CollectImage(fx.Ctx, before) })
}

func (fx *Fixture) collectHoldings(unused, condemned time.Time) meta.Collected {
	fx.Helper()
	return fx.collect(func() (meta.Collected, bool, error) { return fx.CollectHoldings(fx.Ctx, unused, condemned) })
}

func (fx *Fixture) collectRepositories(before time.Time) meta.Collected {
	fx.Helper()
	return fx.collect(func() (meta.Collected, bool, error) { return fx.CollectRepositories(fx.Ctx, before) })
}

// layered stores an image of blobs with these contents, and the blobs.
func (fx *Fixture) layered(r meta.Repository, tag string, contents ...string) meta.Put {
	fx.Helper()
	for _, c := range contents {
		fx.Blob(r, c)
	}
	p := As(ImageOf(contents...), tag)
	fx.Push(r, p)
	return p
}

// lacks checks that the repository cannot read the blob.
func (fx *Fixture) lacks(r meta.Repository, content string) {
	fx.Helper()
	_, err := fx.Holding(fx.Ctx, r.ID, Digest(content))
	fx.Want(err, fault.BlobNotFound, "the blob %q of %s", content, r.Name)
}

// candidates checks of which blobs no repository holds the bytes.
func (fx *Fixture) candidates(contents ...string) {
	fx.Helper()
	got, err := fx.BlobCandidates(fx.Ctx, "", 1000)
	fx.Must(err)
	want := map[name.Digest]bool{}
	for _, c := range contents {
		want[Digest(c)] = true
	}
	have := map[name.Digest]bool{}
	for _, d := range got {
		have[d] = true
	}
	fx.Equal(have, want, "candidates")
}

// A deleted image goes after its grace period, with its manifest and the blobs that no other image uses.
func testCollectImage(fx *Fixture) {
	r, other := fx.Repo("team/app"), fx.Repo("team/other")
	old := fx.layered(r, "v1", "config 1", "shared", "only old", "in both")
	fx.layered(r, "v2", "config 2", "shared", "only new")
	fx.layered(other, "v1", "config 3", "in both")
	d := old.Digest
	if _, err := fx.DeleteImage(fx.Ctx, r, d, meta.AnyTags, Principal); err != nil {
		fx.Fatal(err)
	}
	fx.Equal(fx.collectImages(never), meta.Collected{}, "collected within the grace period")
	_, _, err := fx.DeletedImage(fx.Ctx, r.ID, d)
	fx.Must(err)
	fx.Equal(fx.collectImages(always()), meta.Collected{Images: 1, Manifests: 1}, "collected")
	_, _, err = fx.DeletedImage(fx.Ctx, r.ID, d)
	fx.Want(err, fault.ImageNotFound, "the deleted image after the collection")
	fx.Want(fx.RestoreImage(fx.Ctx, r, d, nil, Principal, false), fault.ImageNotFound, "restoring it")

	fx.lacks(r, "only old") // condemned
	fx.lacks(r, "config 1")
	for _, c := range []string{"shared", "only new"} {
		fx.holds(r, Digest(c), int64(len(c)), layerType, true)
	}
	fx.Equal(fx.collectHoldings(never, never), meta.Collected{}, "holdings removed before their time")
	fx.Equal(fx.collectHoldings(never, always()), meta.Collected{Holdings: 3}, "holdings removed")
	fx.candidates("only old", "config 1")
	fx.holds(other, Digest("in both"), int64(len("in both")), layerType, true)
	held, err := fx.Held(fx.Ctx, Digest("in both"))
	fx.Equal(held, true, "held by the other repository (%v)", err)
	held, err = fx.Held(fx.Ctx, Digest("only old"))
	fx.Equal(held, false, "held by nobody (%v)", err)

	fx.Blob(r, "config 1") // pushed again meanwhile
	fx.Must(fx.SettleBlobCandidates(fx.Ctx, []name.Digest{Digest("only old")}, []name.Digest{Digest("config 1"), Digest("never seen")}))
	fx.candidates()
}

// A restored image stays, and so does one that was deleted again since.
func testCollectRestored(fx *Fixture) {
	r := fx.Repo("team/app")
	p := fx.layered(r, "v1", "config", "layer")
	for range 2 {
		if _, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal); err != nil {
			fx.Fatal(err)
		}
		fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, []name.Tag{name.MustTag("v1")}, Principal, false))
		fx.Equal(fx.collectImages(always()), meta.Collected{}, "collected after the restoration")
	}
	if _, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal); err != nil {
		fx.Fatal(err)
	}
	deleted, err := fx.DeletedImages(fx.Ctx, r.ID, 1)
	if err != nil || len(deleted) != 1 {
		fx.Fatalf("deleted images: got %v, %v, want one", deleted, err)
	}
	between := deleted[0].DeletedAt.Add(-time.Microsecond) // after the first deletion, unless the clock is frozen
	fx.Equal(fx.collectImages(between), meta.Collected{}, "collected by the time of the first deletion")
	fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, []name.Tag{name.MustTag("v1")}, Principal, false))
	fx.collectHoldings(always(), always())
	fx.holds(r, Digest("layer"), 5, layerType, true)
}

// A blob to which no image refers goes after its grace period. A push of the blob or of an image takes its condemnation back.
func testCollectUnused(fx *Fixture) {
	r := fx.Repo("team/app")
	for _, c := range []string{"config", "layer", "unused", "again"} {
		fx.Blob(r, c)
	}
	fx.Equal(fx.collectHoldings(never, never), meta.Collected{}, "collected within the grace period")
	fx.holds(r, Digest("unused"), 6, "", false)
	fx.Equal(fx.collectHoldings(always(), never), meta.Collected{}, "condemned") // and not removed
	for _, c := range []string{"config", "layer", "unused", "again"} {
		fx.lacks(r, c)
	}
	fx.Must(fx.PutImage(fx.Ctx, r, ImageOf("config", "layer"))) // its client saw the blobs before they were condemned
	fx.holds(r, Digest("layer"), 5, layerType, true)
	fx.Blob(r, "again")
	fx.holds(r, Digest("again"), 5, "", false)
	fx.Equal(fx.collectHoldings(never, always()), meta.Collected{Holdings: 1}, "removed")
	fx.candidates("unused")
	fx.holds(r, Digest("layer"), 5, layerType, true)
	fx.holds(r, Digest("config"), 6, configType, true)
	fx.holds(r, Digest("again"), 5, "", false)
	fx.Equal(fx.collectHoldings(always(), always()), meta.Collected{Holdings: 1}, "the blob that was pushed again and is unused")
	fx.candidates("unused", "again")
}

// A deleted repository goes whole, step by step; from the first step on it cannot be restored. One of the same name is not touched.
func testCollectRepository(fx *Fixture) {
	r, other := fx.Repo("team/app"), fx.Repo("team/other")
	for i := range 120 { // more than one step
		fx.layered(r, "v"+strconv.Itoa(i), "config", "shared", fmt.Sprint("layer ", i))
	}
	fx.layered(other, "v1", "config", "shared")
	fx.Must(fx.PutResourceTags(fx.Ctx, r, map[string]string{"team": "a"}))
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	again := fx.Repo("team/app")
	fx.layered(again, "v1", "config", "layer 7")

	fx.Equal(fx.collectRepositories(never), meta.Collected{}, "collected within the grace period")
	deleted, err := fx.DeletedRepository(fx.Ctx, Registry, r.ID)
	fx.Must(err)
	if _, more, err := fx.CollectRepositories(fx.Ctx, always()); !more || err != nil {
		fx.Fatalf("the first step: got %t, %v", more, err)
	}
	fx.Want(fx.RestoreRepository(fx.Ctx, deleted.Repository, name.MustRepo("team/back")), fault.RepositoryNotFound,
		"restoring it in the middle of the collection")
	_, err = fx.DeletedRepository(fx.Ctx, Registry, r.ID)
	fx.Want(err, fault.RepositoryNotFound, "finding it in the middle of the collection")
	all, err := fx.DeletedRepositories(fx.Ctx, Registry, 0, 10)
	fx.Equal(len(all), 0, "deleted repositories in the middle of the collection (%v)", err)

	fx.Equal(fx.collectRepositories(always()), meta.Collected{Repositories: 1, Images: 120, Manifests: 120, Holdings: 122}, "collected")
	got, err := fx.BlobCandidates(fx.Ctx, "", 1000)
	fx.Equal(len(got), 119, "candidates: all but the shared ones (%v)", err)
	fx.holds(other, Digest("shared"), 6, layerType, true)
	fx.holds(again, Digest("layer 7"), 7, layerType, true)
	tags, err := fx.Tags(fx.Ctx, again.ID, "", -1)
	fx.Equal(tags, []string{"v1"}, "tags of the new repository (%v)", err)
}

// An image with more references than one transaction removes goes in several, and can be pushed again between them.
func testCollectLargeImage(fx *Fixture) {
	r := fx.Repo("team/app")
	contents := []string{"config"}
	for i := range 1200 {
		contents = append(contents, fmt.Sprint("layer ", i))
	}
	for _, c := range contents {
		fx.Blob(r, c)
	}
	p := ImageOf(contents...)
	fx.Must(fx.PutImage(fx.Ctx, r, p))
	remove := func() {
		fx.Helper()
		if _, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal); err != nil {
			fx.Fatal(err)
		}
		c, more, err := fx.CollectImage(fx.Ctx, always())
		fx.Equal(c, meta.Collected{}, "the first step (%t, %v)", more, err)
	}
	remove()
	fx.Must(fx.PutImage(fx.Ctx, r, p))
	fx.Equal(fx.collectImages(always()), meta.Collected{}, "collected after the push")
	fx.collectHoldings(always(), always())
	for _, c := range contents {
		fx.holds(r, Digest(c), int64(len(c)), map[bool]string{true: configType, false: layerType}[c == "config"], true)
	}
	remove()
	fx.Equal(fx.collectImages(always()), meta.Collected{Images: 1, Manifests: 1}, "collected")
	fx.Equal(fx.collectHoldings(always(), always()), meta.Collected{Holdings: 1201}, "holdings removed")
}

// A push of an image while its blobs are removed either fails or finds them all.
func testCollectDuringPush(fx *Fixture) {
	r := fx.Repo("team/app")
	for round := range 20 {
		config, layer := fmt.Sprint("config ", round), fmt.Sprint("layer ", round)
		fx.Blob(r, config)
		fx.Blob(r, layer)
		fx.collectHoldings(always(), never)
		p := ImageOf(config, layer)
		pushed := false
		race(fx, 2, fault.LayersNotFound, func(i int) error {
			if i == 0 {
				_, _, err := fx.CollectHoldings(fx.Ctx, always(), always())
				return err
			}
			err := fx.PutImage(fx.Ctx, r, p)
			pushed = err == nil
			return err
		})
		fx.collectHoldings(always(), always())
		if pushed {
			fx.holds(r, Digest(layer), int64(len(layer)), layerType, true)
			fx.holds(r, Digest(config), int64(len(config)), configType, true)
		} else {
			fx.lacks(r, layer)
		}
	}
}

// What a collection would free is what it frees.
func testCollectable(fx *Fixture) {
	r, gone := fx.Repo("team/app"), fx.Repo("team/gone")
	old := fx.layered(r, "v1", "config 1", "shared", "only old")
	fx.layered(r, "v2", "config 2", "shared")
	fx.layered(gone, "v1", "config 3", "shared", "only gone")
	fx.Blob(r, "unused")
	if _, err := fx.DeleteImage(fx.Ctx, r, old.Digest, meta.AnyTags, Principal); err != nil {
		fx.Fatal(err)
	}
	fx.Must(fx.DeleteRepository(fx.Ctx, gone, true))
	count := func(before time.Time) (all meta.Collectable) {
		fx.Helper()
		all, err := fx.CollectableRecords(fx.Ctx, before)
		fx.Must(err)
		for after := ""; ; {
			c, next, err := fx.CollectableBlobs(fx.Ctx, after, before, 2)
			fx.Must(err)
			all.Blobs, all.Bytes = all.Blobs+c.Blobs, all.Bytes+c.Bytes
			if after = next; after == "" {
				return all
			}
		}
	}
	fx.Equal(count(never), meta.Collectable{}, "collectable within the grace period")
	want := 0
	for _, c := range []string{"config 1", "only old", "config 3", "only gone", "unused"} {
		want += len(c)
	}
	fx.Equal(count(always()), meta.Collectable{Repositories: 1, Images: 2, Blobs: 5, Bytes: int64(want)}, "collectable")
	fx.collectRepositories(always())
	fx.collectImages(always())
	fx.collectHoldings(always(), always())
	fx.candidates("config 1", "only old", "config 3", "only gone", "unused")
	fx.Equal(count(always()), meta.Collectable{}, "collectable after the collection")
}

// The repositories of a deleted account are collected.
func testCollectAccount(fx *Fixture) {
	other := name.MustAccount("444455556666")
	fx.Must(fx.CreateAccount(fx.Ctx, meta.Account{ID: other, CreatedAt: time.Now()}, Key(other, "AKIAEXAMPLEEXAMPLE02")))
	r, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: name.Registry{Account: other, Region: Registry.Region},
		Name: name.MustRepo("a/b"), CreatedAt: time.Now(), Mutability: meta.Mutability{Mode: meta.Mutable},
		Encryption: meta.EncryptionAES256}, nil)
	fx.Must(err)
	fx.layered(r, "v1", "config", "layer")
	fx.Must(fx.DeleteAccount(fx.Ctx, other, true))
	fx.Equal(fx.collectRepositories(always()), meta.Collected{Repositories: 1, Images: 1, Manifests: 1, Holdings: 2}, "collected")
	fx.candidates("config", "layer")
}

// A layer that may be elsewhere, and that the repository holds, is kept with its image.
func testCollectKeepsExternalLayers(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
	fx.Blob(r, "base")
	p := ExternalOf("config", "base")
	fx.Push(r, p)
	fx.Equal(fx.collectHoldings(always(), always()), meta.Collected{}, "collected")
	fx.holds(r, Digest("base"), 4, "", true)
	_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Equal(fx.collectImages(always()), meta.Collected{Images: 1, Manifests: 1}, "the deleted image")
	fx.lacks(r, "base")
	fx.Push(r, As(p, "again"))
	fx.Equal(fx.collectHoldings(always(), always()), meta.Collected{}, "collected after it was pushed again")
	fx.holds(r, Digest("base"), 4, "", true)
}

// What a program before the collection has stored gets candidates and whole references once.
func testPrepareCollection(fx *Fixture) {
	state, err := fx.CollectionState(fx.Ctx)
	fx.Must(err)
	fx.Equal(state, meta.CollectionState{}, "the state of a new database")
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
	fx.Blob(r, "base")
	p := fx.layered(r, "v1", "config")
	fx.Must(fx.ReferToExternal(fx.Ctx, []meta.External{{Digest: p.Digest.String(), Layers: []name.Digest{Digest("base")}}}))
	fx.holds(r, Digest("base"), 4, "", true)
	hold := time.UnixMicro(time.Now().Add(time.Hour).UnixMicro()).UTC()
	fx.Must(fx.FinishPreparation(fx.Ctx, hold))
	fx.Must(fx.CollectionRan(fx.Ctx, hold.Add(-time.Minute)))
	state, err = fx.CollectionState(fx.Ctx)
	if err != nil || !state.Prepared || state.RanAt.IsZero() || !state.HoldUntil.Equal(hold) {
		fx.Errorf("the state after the preparation: got %+v, %v, want it prepared, with the later hold", state, err)
	}
	fx.Must(fx.CollectionRan(fx.Ctx, hold.Add(time.Minute)))
	state, err = fx.CollectionState(fx.Ctx)
	fx.Equal(state.HoldUntil.Equal(hold.Add(time.Minute)), true, "a later hold (%v)", err)
	fx.collectHoldings(always(), always())
	fx.holds(r, Digest("base"), 4, "", true)
}
