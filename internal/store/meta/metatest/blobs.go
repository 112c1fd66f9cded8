package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// holds checks the Holding of a blob in a repository.
func (fx *Fixture) holds(r meta.Repository, d name.Digest, size int64, mediaType string, referenced bool) {
	fx.Helper()
	got, err := fx.Holding(fx.Ctx, r.ID, d)
	fx.Must(err)
	fx.Equal(got, meta.Holding{Digest: d, Size: size, MediaType: mediaType, Referenced: referenced}, "Holding in %s", r.Name)
}

func testBlobs(fx *Fixture) {
	r, to := fx.Repo("team/app"), fx.Repo("team/copy")
	info := blob.Info{Digest: Digest("layer"), Size: 5}
	_, err := fx.Holding(fx.Ctx, r.ID, info.Digest)
	fx.Want(err, fault.BlobNotFound, "a blob that no repository holds")
	for _, want := range []bool{true, false} {
		added, err := fx.AddBlob(fx.Ctx, r, info, "")
		fx.Must(err)
		fx.Equal(added, want, "AddBlob: added")
	}
	fx.holds(r, info.Digest, 5, "", false)
	_, err = fx.Holding(fx.Ctx, to.ID, info.Digest)
	fx.Want(err, fault.BlobNotFound, "a blob that another repository holds")
	fx.Want(fx.MountBlob(fx.Ctx, to, r, info.Digest), fault.BlobNotFound, "mounting from a repository that does not hold it")

	fx.Blob(r, "config")
	p := ImageOf("config", "layer")
	fx.Push(r, p)
	fx.holds(r, info.Digest, 5, layerType, true)
	fx.Must(fx.MountBlob(fx.Ctx, r, to, info.Digest))
	fx.Must(fx.MountBlob(fx.Ctx, r, to, info.Digest))
	fx.holds(to, info.Digest, 5, layerType, false)
	fx.Want(fx.RemoveBlob(fx.Ctx, r, info.Digest), fault.ImageReferenced, "removing a blob of an image")
	fx.Must(fx.RemoveBlob(fx.Ctx, to, info.Digest))
	_, err = fx.Holding(fx.Ctx, to.ID, info.Digest)
	fx.Want(err, fault.BlobNotFound, "a blob that was removed")
	fx.Want(fx.RemoveBlob(fx.Ctx, to, info.Digest), fault.BlobNotFound, "removing it again")

	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.holds(r, info.Digest, 5, layerType, false)
	fx.Push(r, p)
	fx.holds(r, info.Digest, 5, layerType, true)
	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Must(fx.RemoveBlob(fx.Ctx, r, info.Digest)) // the deleted image can be restored all the same
	fx.lacks(r, "layer")
	fx.Want(fx.PutImage(fx.Ctx, r, p), fault.LayersNotFound, "the image again without its layer")
	fx.Want(fx.RemoveBlob(fx.Ctx, r, info.Digest), fault.BlobNotFound, "removing it again")
	fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, nil, Principal, false))
	fx.holds(r, info.Digest, 5, layerType, true)
	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Must(fx.RemoveBlob(fx.Ctx, r, info.Digest))
	fx.Equal(fx.collectImages(always()).Images, 1, "images collected")
	fx.Equal(fx.collectHoldings(never, always()).Holdings, 2, "blobs of the image removed, of which one was removed before")
	fx.Want(fx.PutImage(fx.Ctx, r, p), fault.LayersNotFound, "the image again without its layers")
}

func testHolders(fx *Fixture) {
	account(fx, other)
	var want []meta.Repository
	d := Digest("layer")
	for i := range 6 {
		r := fx.Repo(fmt.Sprint("team/app", i))
		if i%3 != 1 {
			fx.Blob(r, "layer")
		}
		switch {
		case i == 0:
			fx.Must(fx.DeleteRepository(fx.Ctx, r, false))
		case i%3 != 1:
			want = append(want, r)
		}
	}
	elsewhere, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: name.Registry{Account: other,
		Region: Registry.Region}, Name: name.MustRepo("team/app"), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	fx.Must(err)
	fx.Blob(elsewhere, "layer")
	for limit := range len(want) + 2 {
		ids, err := fx.Holders(fx.Ctx, Registry, d, limit)
		fx.Must(err)
		var got []meta.Repository
		for _, id := range ids {
			r, err := fx.RepositoryByID(fx.Ctx, id)
			fx.Must(err)
			got = append(got, r)
		}
		fx.Equal(got, want[:min(limit, len(want))], "Holders, at most %d", limit)
	}
	got, err := fx.Holders(fx.Ctx, Registry, Digest("not stored"), 10)
	fx.Must(err)
	fx.Equal(len(got), 0, "Holders of a blob that no repository holds")
}

func testUploads(fx *Fixture) {
	r, second := fx.Repo("team/app"), fx.Repo("team/second")
	u := meta.Upload{ID: "11111111-1111-1111-1111-111111111111", Repository: r.ID, Principal: Principal,
		Blob: blob.Upload{ID: "b1", State: []byte("state")}, StartedAt: monday}
	fx.Must(fx.PutUpload(fx.Ctx, r, u, meta.Quota{}, 0))
	bare := meta.Upload{ID: "2", Blob: blob.Upload{ID: "b2"}, StartedAt: monday.Add(time.Second)} // a blob store without state
	fx.Must(fx.PutUpload(fx.Ctx, r, bare, meta.Quota{}, 0))
	got, err := fx.Upload(fx.Ctx, r.ID, u.ID)
	fx.Must(err)
	fx.Equal(got, u, "Upload")
	_, err = fx.Upload(fx.Ctx, second.ID, u.ID)
	fx.Want(err, fault.UploadNotFound, "an upload of another repository")

	u.Blob.Size, u.Blob.State, u.Parts, u.SmallPart = 10, []byte("state 10"), 1, 10
	fx.Must(fx.AdvanceUpload(fx.Ctx, u, 0))
	fx.Want(fx.AdvanceUpload(fx.Ctx, u, 0), fault.UploadConflict, "an advance from an earlier size")
	got, err = fx.Upload(fx.Ctx, r.ID, u.ID)
	fx.Must(err)
	fx.Equal(got, u, "Upload after an advance")
	fx.Want(fx.AdvanceUpload(fx.Ctx, meta.Upload{ID: "nosuch"}, 0), fault.UploadNotFound, "an advance of an unknown upload")

	wantIdle := []meta.Upload{
		{ID: bare.ID, Repository: r.ID, Blob: blob.Upload{ID: "b2", State: []byte{}}},
		{ID: u.ID, Repository: r.ID, Principal: u.Principal, Blob: u.Blob},
	}
	idle, _, err := fx.IdleUploads(fx.Ctx, time.Now().Add(time.Hour), meta.IdlePosition{}, 10)
	fx.Must(err)
	fx.Equal(idle, wantIdle, "IdleUploads")
	var after meta.IdlePosition
	for i := range 3 {
		idle, after, err = fx.IdleUploads(fx.Ctx, time.Now().Add(time.Hour), after, 1)
		fx.Must(err)
		fx.Equal(idle, wantIdle[min(i, 2):min(i+1, 2)], "IdleUploads, one by one, call %d", i)
	}
	idle, _, err = fx.IdleUploads(fx.Ctx, monday.Add(time.Second), meta.IdlePosition{}, 10)
	fx.Must(err)
	fx.Equal(len(idle), 0, "IdleUploads before the first became idle")

	_, err = fx.AddBlob(fx.Ctx, r, blob.Info{Digest: Digest("layer"), Size: 10}, u.ID)
	fx.Must(err)
	_, err = fx.Upload(fx.Ctx, r.ID, u.ID)
	fx.Want(err, fault.UploadNotFound, "an upload that became a blob")
	for range 2 {
		fx.Must(fx.DeleteUpload(fx.Ctx, bare.ID))
	}
}

func testUploadRace(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.Must(fx.PutUpload(fx.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte{}}, StartedAt: monday}, meta.Quota{}, 0))
	won := race(fx, 20, fault.UploadConflict, func(i int) error {
		return fx.AdvanceUpload(fx.Ctx, meta.Upload{ID: "u",
			Blob: blob.Upload{Size: int64(i + 1), State: []byte(fmt.Sprint(i + 1))}, Parts: 1}, 0)
	})
	fx.Equal(won, 1, "acknowledged advances from the same size")
	u, err := fx.Upload(fx.Ctx, r.ID, "u")
	fx.Must(err)
	fx.Equal(string(u.Blob.State), fmt.Sprint(u.Blob.Size), "the state, which belongs to the size")
}

// If a blob is mounted while it is removed from the source, either the target holds it or the mount returns an error.
func testMountDuringDelete(fx *Fixture) {
	from := fx.Repo("team/from")
	for round := range 10 {
		to := fx.Repo(fmt.Sprint("team/to", round))
		d := fx.Blob(from, "layer")
		mounted := false
		race(fx, 2, fault.BlobNotFound, func(i int) error {
			if i == 0 {
				return fx.RemoveBlob(fx.Ctx, from, d)
			}
			err := fx.MountBlob(fx.Ctx, from, to, d)
			mounted = err == nil
			return err
		})
		_, err := fx.Holding(fx.Ctx, to.ID, d)
		fx.Equal(err == nil, mounted, "round %d: the target holds the blob after a successful mount", round)
		_, err = fx.Holding(fx.Ctx, from.ID, d)
		fx.Want(err, fault.BlobNotFound, "round %d: the source after the removal", round)
	}
}
