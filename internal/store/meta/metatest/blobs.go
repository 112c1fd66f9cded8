package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// holds checks how a repository holds a blob.
func (w *World) holds(r meta.Repository, d name.Digest, size int64, mediaType string, referenced bool) {
	w.Helper()
	got, err := w.Holding(w.Ctx, r.ID, d)
	w.Must(err)
	w.Equal(got, meta.Holding{Digest: d, Size: size, MediaType: mediaType, Referenced: referenced}, "Holding in %s", r.Name)
}

func testBlobs(w *World) {
	r, to := w.Repo("team/app"), w.Repo("team/copy")
	info := blob.Info{Digest: Digest("layer"), Size: 5}
	_, err := w.Holding(w.Ctx, r.ID, info.Digest)
	w.Want(err, fault.BlobNotFound, "a blob that nobody holds")
	for _, want := range []bool{true, false} {
		added, err := w.AddBlob(w.Ctx, r, info, "")
		w.Must(err)
		w.Equal(added, want, "AddBlob: added")
	}
	w.holds(r, info.Digest, 5, "", false)
	_, err = w.Holding(w.Ctx, to.ID, info.Digest)
	w.Want(err, fault.BlobNotFound, "a blob that another repository holds")
	w.Want(w.MountBlob(w.Ctx, to, r, info.Digest), fault.BlobNotFound, "mounting from who does not hold it")

	w.Blob(r, "config")
	p := ImageOf("config", "layer")
	w.Push(r, p)
	w.holds(r, info.Digest, 5, layerType, true)
	w.Must(w.MountBlob(w.Ctx, r, to, info.Digest))
	w.Must(w.MountBlob(w.Ctx, r, to, info.Digest))
	w.holds(to, info.Digest, 5, layerType, false)
	w.Want(w.RemoveBlob(w.Ctx, r, info.Digest), fault.ImageReferenced, "removing a blob of an image")
	w.Must(w.RemoveBlob(w.Ctx, to, info.Digest))
	_, err = w.Holding(w.Ctx, to.ID, info.Digest)
	w.Want(err, fault.BlobNotFound, "a blob that was removed")
	w.Want(w.RemoveBlob(w.Ctx, to, info.Digest), fault.BlobNotFound, "removing it again")

	_, err = w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal)
	w.Must(err)
	w.holds(r, info.Digest, 5, layerType, false)
	w.Push(r, p)
	w.holds(r, info.Digest, 5, layerType, true)
	_, err = w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal)
	w.Must(err)
	w.Must(w.RemoveBlob(w.Ctx, r, info.Digest))
	w.Want(w.PutImage(w.Ctx, r, p), fault.LayersNotFound, "the image again without its layer")
	w.Want(w.RestoreImage(w.Ctx, r, p.Digest, nil, Principal), fault.LayersNotFound, "taking back its deletion")
}

func testHolders(w *World) {
	account(w, other)
	var want []meta.Repository
	d := Digest("layer")
	for i := range 6 {
		r := w.Repo(fmt.Sprint("team/app", i))
		if i%3 != 1 {
			w.Blob(r, "layer")
		}
		switch {
		case i == 0:
			w.Must(w.DeleteRepository(w.Ctx, r, false))
		case i%3 != 1:
			want = append(want, r)
		}
	}
	elsewhere, err := w.CreateRepository(w.Ctx, meta.Repository{Registry: name.Registry{Account: other, Region: Registry.Region}, Name: name.MustRepo("team/app"), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	w.Must(err)
	w.Blob(elsewhere, "layer")
	for limit := range len(want) + 2 {
		got, err := w.Holders(w.Ctx, Registry, d, limit)
		w.Must(err)
		w.Equal(got, want[:min(limit, len(want))], "Holders, at most %d", limit)
	}
	got, err := w.Holders(w.Ctx, Registry, Digest("nobody's"), 10)
	w.Must(err)
	w.Equal(len(got), 0, "Holders of a blob that nobody holds")
}

func testUploads(w *World) {
	r, beside := w.Repo("team/app"), w.Repo("team/beside")
	u := meta.Upload{ID: "11111111-1111-1111-1111-111111111111", Repository: r.ID, Principal: Principal, Blob: blob.Upload{ID: "b1", State: []byte("state")}, StartedAt: monday}
	w.Must(w.PutUpload(w.Ctx, r, u))
	bare := meta.Upload{ID: "2", Blob: blob.Upload{ID: "b2"}, StartedAt: monday.Add(time.Second)} // a store that needs no state
	w.Must(w.PutUpload(w.Ctx, r, bare))
	got, err := w.Upload(w.Ctx, r.ID, u.ID)
	w.Must(err)
	w.Equal(got, u, "Upload")
	_, err = w.Upload(w.Ctx, beside.ID, u.ID)
	w.Want(err, fault.UploadNotFound, "an upload of another repository")

	u.Blob.Size, u.Blob.State, u.Parts, u.SmallPart = 10, []byte("state 10"), 1, 10
	w.Must(w.AdvanceUpload(w.Ctx, u, 0))
	w.Want(w.AdvanceUpload(w.Ctx, u, 0), fault.UploadConflict, "an advance from where the upload stands no more")
	got, err = w.Upload(w.Ctx, r.ID, u.ID)
	w.Must(err)
	w.Equal(got, u, "Upload after an advance")
	w.Want(w.AdvanceUpload(w.Ctx, meta.Upload{ID: "nosuch"}, 0), fault.UploadNotFound, "an advance of an upload that is not there")

	idle, err := w.IdleUploads(w.Ctx, time.Now().Add(time.Hour), 10)
	w.Must(err)
	w.Equal(idle, []meta.Upload{
		{ID: bare.ID, Repository: r.ID, Blob: blob.Upload{ID: "b2", State: []byte{}}},
		{ID: u.ID, Repository: r.ID, Principal: u.Principal, Blob: u.Blob},
	}, "IdleUploads")
	idle, err = w.IdleUploads(w.Ctx, time.Now().Add(time.Hour), 1)
	w.Must(err)
	w.Equal(len(idle), 1, "IdleUploads, one of them")
	idle, err = w.IdleUploads(w.Ctx, monday.Add(time.Second), 10)
	w.Must(err)
	w.Equal(len(idle), 0, "IdleUploads before the first became idle")

	_, err = w.AddBlob(w.Ctx, r, blob.Info{Digest: Digest("layer"), Size: 10}, u.ID)
	w.Must(err)
	_, err = w.Upload(w.Ctx, r.ID, u.ID)
	w.Want(err, fault.UploadNotFound, "an upload that became a blob")
	for range 2 {
		w.Must(w.DeleteUpload(w.Ctx, bare.ID))
	}
}

func testUploadRace(w *World) {
	r := w.Repo("team/app")
	w.Must(w.PutUpload(w.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte{}}, StartedAt: monday}))
	won := race(w, 20, fault.UploadConflict, func(i int) error {
		return w.AdvanceUpload(w.Ctx, meta.Upload{ID: "u", Blob: blob.Upload{Size: int64(i + 1), State: []byte(fmt.Sprint(i + 1))}, Parts: 1}, 0)
	})
	w.Equal(won, 1, "advances from the same place that were acknowledged")
	u, err := w.Upload(w.Ctx, r.ID, "u")
	w.Must(err)
	w.Equal(string(u.Blob.State), fmt.Sprint(u.Blob.Size), "the state, which belongs to the size")
}

// A blob that is mounted while it is removed from where it comes from is either there in the target, or was not found.
func testMountBesideDelete(w *World) {
	from := w.Repo("team/from")
	for round := range 10 {
		to := w.Repo(fmt.Sprint("team/to", round))
		d := w.Blob(from, "layer")
		mounted := false
		race(w, 2, fault.BlobNotFound, func(i int) error {
			if i == 0 {
				return w.RemoveBlob(w.Ctx, from, d)
			}
			err := w.MountBlob(w.Ctx, from, to, d)
			mounted = err == nil
			return err
		})
		_, err := w.Holding(w.Ctx, to.ID, d)
		w.Equal(err == nil, mounted, "round %d: the target holds what was mounted", round)
		_, err = w.Holding(w.Ctx, from.ID, d)
		w.Want(err, fault.BlobNotFound, "round %d: the source after the removal", round)
	}
}
