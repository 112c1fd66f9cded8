package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// sparse returns p as a push with the setting for sparse indexes.
func sparse(p meta.Put, tags ...string) meta.Put {
	p = As(p, tags...)
	p.Sparse = true
	return p
}

// With Sparse, an index of images that the repository does not have is stored. The images can follow; indexes in it cannot.
func testSparseIndex(fx *Fixture) {
	r := fx.Repo("team/app")
	there, later := fx.Image(r, "there"), ImageOf("later")
	index := IndexOf(there, later)
	fx.Want(fx.PutImage(fx.Ctx, r, As(index, "v1")), fault.ReferencedImagesNotFound, "an index of a missing image without Sparse")
	fx.Must(fx.PutImage(fx.Ctx, r, sparse(index, "v1")))
	fx.leading(r, later, "v1")
	_, err := fx.DeleteImage(fx.Ctx, r, there.Digest, meta.AnyTags, Principal)
	fx.Want(err, fault.ImageReferenced, "deleting an image of a sparse index")
	fx.Blob(r, "later")
	fx.Push(r, later)
	fx.leading(r, later, "v1")
	_, err = fx.DeleteImage(fx.Ctx, r, later.Digest, meta.AnyTags, Principal)
	fx.Want(err, fault.ImageReferenced, "deleting the image that followed")

	// More images than one statement looks for, all of them missing.
	var many []meta.Put
	for i := range 40 {
		many = append(many, ImageOf(fmt.Sprint("many", i)))
	}
	wide := IndexOf(many...)
	fx.Want(fx.PutImage(fx.Ctx, r, wide), fault.ReferencedImagesNotFound, "a wide index without Sparse")
	fx.Must(fx.PutImage(fx.Ctx, r, sparse(wide)))

	// An index in it must exist, because the depth of nested indexes is limited. Digests do not tell what they name, so an
	// index that was named as an image cannot follow.
	inner := IndexOf(there)
	fx.Want(fx.PutImage(fx.Ctx, r, sparse(IndexOf(inner))), fault.ReferencedImagesNotFound, "an index of a missing index")
	fx.Want(fx.PutImage(fx.Ctx, r, sparse(IndexOf(append(many, inner)...))), fault.ReferencedImagesNotFound, "a wide index of a missing index")
	as := inner
	as.Manifest = there.Manifest // only its media type is used
	fx.Must(fx.PutImage(fx.Ctx, r, sparse(IndexOf(as), "liar")))
	fx.Want(fx.PutImage(fx.Ctx, r, inner), fault.ManifestInvalid, "an index that another one names as an image")
	fx.Want(fx.PutImage(fx.Ctx, r, sparse(inner)), fault.ManifestInvalid, "the same with Sparse")
	_, err = fx.DeleteImage(fx.Ctx, r, IndexOf(as).Digest, []string{"liar"}, Principal)
	fx.Must(err)
	fx.Push(r, inner)
	fx.Must(fx.PutImage(fx.Ctx, r, sparse(IndexOf(inner))))

	// A deleted one is restored as it could be pushed.
	_, err = fx.DeleteImage(fx.Ctx, r, wide.Digest, nil, Principal)
	fx.Must(err)
	fx.Want(fx.RestoreImage(fx.Ctx, r, wide.Digest, nil, Principal, false), fault.ReferencedImagesNotFound, "restoring it without Sparse")
	fx.Must(fx.RestoreImage(fx.Ctx, r, wide.Digest, nil, Principal, true))
}
