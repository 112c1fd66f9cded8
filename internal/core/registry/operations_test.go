package registry_test

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// operation is what a client does in a world.
type operation struct {
	name string
	do   func(w *world, ctx context.Context) error
}

// operations are those that a collection runs against.
var operations = []operation{
	{"push", func(w *world, ctx context.Context) error { return w.push(ctx, w.app, "new") }},
	{"push in chunks", func(w *world, ctx context.Context) error { return w.pushBy(ctx, w.app, "new", w.putChunks) }},
	{"push again", func(w *world, ctx context.Context) error { return w.push(ctx, w.app, "old") }},
	{"push of an index", (*world).pushIndex},
	{"mount", func(w *world, ctx context.Context) error { return w.pushBy(ctx, w.app, "mounted", w.mount) }},
	{"tag moves", (*world).moveTag},
	{"copy", func(w *world, ctx context.Context) error { return w.copy(ctx, "src", meta.CopyOptions{}) }},
	{"copy of a replication", func(w *world, ctx context.Context) error {
		return w.copy(ctx, "src", meta.CopyOptions{AllTags: true, Last: true})
	}},
	{"pull-through", (*world).pullThrough},
	{"deletion and push", (*world).deleteAndPush},
	{"deletion of a blob", (*world).deleteBlobs},
	{"deletion of a repository", func(w *world, ctx context.Context) error { return w.removeRepository(ctx, w.source) }},
	{"restoration of an image", (*world).restore},
	{"restoration of a repository", (*world).restoreRepository},
	{"abandoned upload goes on", (*world).resume},
	{"cancelled upload", (*world).cancel},
	{"pull", (*world).pull},
}

// unless returns err if it has none of the codes.
func unless(err error, codes ...fault.Code) error {
	for _, c := range codes {
		if errors.Is(err, c) {
			return nil
		}
	}
	return err
}

// put pushes a blob in one request, as clients do that did not find it.
func (w *world) put(ctx context.Context, r meta.Repository, content string) error {
	_, err := w.PutBlob(ctx, r, registry.Chunk{Body: strings.NewReader(content), At: registry.AnyOffset, Length: int64(len(content))},
		digest(content))
	return err
}

// putChunks pushes a blob by an upload in two requests.
func (w *world) putChunks(ctx context.Context, r meta.Repository, content string) error {
	u, err := w.BeginUpload(ctx, alice, r, name.SHA256)
	if err != nil {
		return err
	}
	if u, err = w.Append(ctx, r, u, registry.Chunk{Body: strings.NewReader(content[:3]), At: 0, Length: 3}); err != nil {
		return err
	}
	rest := registry.Chunk{Body: strings.NewReader(content[3:]), At: 3, Length: int64(len(content) - 3)}
	_, err = w.Complete(ctx, r, u, rest, digest(content))
	return err
}

// mount mounts a blob of source, or pushes it if source does not have it.
func (w *world) mount(ctx context.Context, r meta.Repository, content string) error {
	err := w.Mount(ctx, w.source, r, digest(content))
	if errors.Is(err, fault.BlobNotFound) || errors.Is(err, fault.RepositoryNotFound) {
		return w.put(ctx, r, content)
	}
	return err
}

func (w *world) push(ctx context.Context, r meta.Repository, what string) error {
	return w.pushBy(ctx, r, what, w.put)
}

// pushBy pushes an image with its name as tag: the blobs that the repository does not have by put, and then the manifest.
func (w *world) pushBy(ctx context.Context, r meta.Repository, what string,
	put func(context.Context, meta.Repository, string) error) error {
	p := w.picture(what)
	for _, content := range p.blobs {
		_, err := w.Blob(ctx, r, digest(content))
		if errors.Is(err, fault.BlobNotFound) {
			err = put(ctx, r, content)
		}
		if err != nil {
			return unless(err, fault.RepositoryNotFound)
		}
	}
	return w.putManifest(ctx, r, p, what)
}

func (w *world) putManifest(ctx context.Context, r meta.Repository, p picture, tags ...string) error {
	in := registry.PutImage{Body: p.manifest()}
	for _, tag := range tags {
		in.Tags = append(in.Tags, tagged(tag))
	}
	acknowledged := w.storing(r, p)
	_, _, err := w.Put(ctx, alice, r, in)
	switch {
	case errors.Is(err, fault.LayersNotFound) && (!w.exact || w.deletesBlobs): // there is no time in which a blob is kept for the push
		w.refused++
		return nil
	case errors.Is(err, fault.RepositoryNotFound):
		return nil
	case err != nil:
		return err
	}
	return acknowledged()
}

func (w *world) pushIndex(ctx context.Context) error {
	if err := w.push(ctx, w.app, "old"); err != nil {
		return err
	}
	p := w.picture("index")
	acknowledged := w.storing(w.app, p)
	_, _, err := w.Put(ctx, alice, w.app, registry.PutImage{Body: p.manifest(), Tags: []name.Tag{tagged("index")}})
	if errors.Is(err, fault.ReferencedImagesNotFound) { // another client has deleted one, or its push was refused
		return nil
	}
	if err != nil {
		return err
	}
	return acknowledged()
}

// moveTag moves the tag of an image to another one, and back.
func (w *world) moveTag(ctx context.Context) error {
	if err := w.pushTagged(ctx, "old", "live"); err != nil {
		return err
	}
	return w.pushTagged(ctx, "live", "live")
}

func (w *world) pushTagged(ctx context.Context, what, tag string) error {
	p := w.picture(what)
	for _, content := range p.blobs {
		_, err := w.Blob(ctx, w.app, digest(content))
		if errors.Is(err, fault.BlobNotFound) {
			err = w.put(ctx, w.app, content)
		}
		if err != nil {
			return err
		}
	}
	return w.putManifest(ctx, w.app, p, tag)
}

// copy copies an image of source, as package replication does.
func (w *world) copy(ctx context.Context, what string, o meta.CopyOptions) error {
	p := w.picture(what)
	body := p.manifest()
	m, err := manifest.Parse(body, "")
	if err != nil {
		return err
	}
	acknowledged := w.storing(w.app, p)
	_, err = w.store.CopyImage(ctx, w.source, w.app, meta.Put{Manifest: m, Body: body, Digest: p.digest(), Principal: alice.ARN, Sparse: true,
		Tags: []name.Tag{tagged("copied")}}, o)
	if err != nil {
		return unless(err, fault.RepositoryNotFound, fault.ImageNotFound)
	}
	return acknowledged()
}

// pullThrough stores an image of another registry, and then its blobs as they are asked for.
func (w *world) pullThrough(ctx context.Context) error {
	p := w.picture("cached")
	im := w.image(w.app, p)
	rule := &meta.CacheRule{}
	in := registry.PutImage{Body: p.manifest(), Cached: rule, Tags: []name.Tag{tagged("cached")}}
	if _, _, err := w.Put(ctx, alice, w.app, in); err != nil {
		return unless(err, fault.RepositoryNotFound)
	}
	im.live, im.cached = true, true
	for _, content := range p.blobs {
		_, err := w.Blob(ctx, w.app, digest(content))
		if errors.Is(err, fault.BlobNotFound) {
			err = w.Import(ctx, alice, w.app, digest(content), int64(len(content)), strings.NewReader(content),
				func(_ registry.Arriving, g registry.Growing) { _ = g.Close() })
		}
		if err != nil {
			return unless(err, fault.RepositoryNotFound)
		}
		im.required = append(im.required, content)
		if err := w.readable(im); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes an image.
func (w *world) remove(ctx context.Context, r meta.Repository, what string) error {
	im := w.image(r, w.picture(what))
	im.live, im.deleting, im.deletions = false, im.deleting+1, im.deletions+1
	defer func() { im.deleting-- }()
	d, err := w.DeletionOf(ctx, r, name.Reference{Digest: im.digest()}, registry.LastTagDeletesImage)
	if err == nil {
		_, err = w.Delete(ctx, alice, r, d)
	}
	if errors.Is(err, fault.TargetChanged) || errors.Is(err, fault.ImageReferenced) {
		return nil // and the model does not know any more whether it is there
	}
	return unless(err, fault.ImageNotFound, fault.RepositoryNotFound)
}

func (w *world) deleteAndPush(ctx context.Context) error {
	if err := w.remove(ctx, w.app, "live"); err != nil {
		return err
	}
	return w.push(ctx, w.app, "live")
}

func (w *world) deleteBlobs(ctx context.Context) error {
	w.deletesBlobs = true
	for _, what := range []string{"idle", "old layer", "dead"} {
		err := w.DeleteBlob(ctx, w.app, digest(w.text(what)))
		if err := unless(err, fault.BlobNotFound, fault.ImageReferenced, fault.RepositoryNotFound); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) removeRepository(ctx context.Context, r meta.Repository) error {
	for _, im := range w.known {
		if im.repository.ID == r.ID {
			im.live, im.deleting, im.deletions = false, im.deleting+1, im.deletions+1
			defer func() { im.deleting-- }()
		}
	}
	return unless(w.store.DeleteRepository(ctx, r, true), fault.RepositoryNotFound)
}

func (w *world) restore(ctx context.Context) error {
	p := w.picture("old")
	acknowledged := w.storing(w.app, p)
	err := w.store.RestoreImage(ctx, w.app, p.digest(), []name.Tag{tagged("restored")}, alice.ARN, false)
	if err != nil {
		return unless(err, fault.ImageNotFound, fault.LayersNotFound, fault.RepositoryNotFound)
	}
	return acknowledged()
}

func (w *world) restoreRepository(ctx context.Context) error {
	acknowledged := w.storing(w.gone, w.picture("lost"))
	d, err := w.store.DeletedRepository(ctx, home, w.gone.ID)
	if err == nil {
		err = w.store.RestoreRepository(ctx, d.Repository, d.Name)
	}
	if err != nil {
		return unless(err, fault.RepositoryNotFound, fault.RepositoryAlreadyExists)
	}
	return acknowledged()
}

// resume continues the upload that was abandoned. It succeeds or finds that the upload was removed.
func (w *world) resume(ctx context.Context) error {
	u, err := w.Upload(ctx, alice, w.app, w.upload.ID)
	if err == nil {
		u, err = w.Append(ctx, w.app, u, registry.Chunk{Body: strings.NewReader(" upload"), At: u.Blob.Size, Length: 7})
	}
	if err != nil {
		return unless(err, fault.UploadNotFound, fault.UploadConflict)
	}
	_, err = w.Complete(ctx, w.app, u, registry.Chunk{At: registry.AnyOffset, Length: registry.UnknownCount}, digest("abandoned upload"))
	return unless(err, fault.UploadNotFound, fault.UploadConflict, fault.RepositoryNotFound)
}

func (w *world) cancel(ctx context.Context) error {
	u, err := w.BeginUpload(ctx, alice, w.app, name.SHA256)
	if err == nil {
		u, err = w.Append(ctx, w.app, u, registry.Chunk{Body: strings.NewReader("cancelled"), At: 0, Length: 9})
	}
	if err == nil {
		err = w.Cancel(ctx, u)
	}
	return unless(err, fault.RepositoryNotFound, fault.UploadNotFound)
}

// pull pulls an image that nobody deletes, step by step.
func (w *world) pull(ctx context.Context) error {
	p := w.picture("src")
	im := w.image(w.source, p)
	if !im.live {
		return nil
	}
	h, err := w.Head(ctx, w.source, name.Reference{Tag: tagged("src")})
	if err == nil {
		_, err = w.Pull(ctx, alice, w.source, h)
	}
	for _, content := range p.blobs {
		if err != nil {
			break
		}
		var f io.ReadSeekCloser
		if f, _, err = w.OpenBlob(ctx, w.source, digest(content)); err == nil {
			err = f.Close()
		}
	}
	if !im.live { // it was deleted meanwhile
		return nil
	}
	return err
}
