package metatest

import (
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// quota sets the limits of a prefix of the account of the fixture.
func (fx *Fixture) quota(prefix string, repositories, images, bytes int64) {
	fx.Helper()
	_, err := fx.PutStorageQuota(fx.Ctx, meta.StorageQuota{Account: Account, Prefix: prefix,
		Max: meta.Amounts{Repositories: repositories, Images: images, Bytes: bytes}})
	fx.Must(err)
}

// recount checks that what the quotas say that repositories have is what they have.
func (fx *Fixture) recount(what string) {
	fx.Helper()
	quotas, err := fx.StorageQuotas(fx.Ctx, Account)
	fx.Must(err)
	want := map[string]meta.Amounts{}
	add := func(r meta.Repository, live bool) {
		var u meta.Usage
		_, err := fx.AddUsage(fx.Ctx, r, "", 1000, &u)
		fx.Must(err)
		more := meta.Amounts{Bytes: u.Own + u.Shared + u.Kept + u.Unused}
		if live {
			n, err := fx.CountImages(fx.Ctx, r.ID)
			fx.Must(err)
			more.Repositories, more.Images = 1, int64(n)
		}
		for _, q := range quotas {
			if n := r.Name.String(); q.Prefix == "" || n == q.Prefix || len(n) > len(q.Prefix) && n[:len(q.Prefix)+1] == q.Prefix+"/" {
				sum := want[q.Prefix]
				want[q.Prefix] = meta.Amounts{Repositories: sum.Repositories + more.Repositories, Images: sum.Images + more.Images,
					Bytes: sum.Bytes + more.Bytes}
			}
		}
	}
	live, err := fx.Repositories(fx.Ctx, Registry, "", 1000)
	fx.Must(err)
	for _, r := range live {
		add(r, true)
	}
	gone, err := fx.DeletedRepositories(fx.Ctx, Registry, 0, 1000)
	fx.Must(err)
	for _, r := range gone {
		add(r.Repository, false)
	}
	for _, q := range quotas {
		fx.Equal(q.Used, want[q.Prefix], "%s: what the repositories '%s' have", what, q.Prefix)
	}
}

// Each change keeps the numbers of every quota that applies, and a change that none has room for changes nothing.
func testStorageQuotas(fx *Fixture) {
	fx.quota("", meta.NoLimit, meta.NoLimit, meta.NoLimit)
	fx.quota("team", 2, 3, 100)
	fx.quota("team/app", meta.NoLimit, 2, meta.NoLimit)
	app, other, teamed := fx.Repo("team/app"), fx.Repo("other"), fx.Repo("teamed/app")
	second := fx.Repo("team")
	_, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: Registry, Name: name.MustRepo("team/third"), CreatedAt: time.Now(),
		Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}, nil)
	fx.Want(err, fault.StorageQuotaExceeded, "a third repository of two")
	fx.recount("after the repositories")

	fx.Image(app, "one", "v1")
	fx.Image(app, "two")
	fx.Blob(app, "three")
	fx.Want(fx.PutImage(fx.Ctx, app, ImageOf("three")), fault.StorageQuotaExceeded, "a third image of two of the repository")
	fx.Push(app, As(ImageOf("one"), "v2")) // another tag of an image is no image
	fx.Blob(app, "one")                    // a blob that it holds is no byte
	fx.recount("after pushes")
	fx.Image(second, "four")
	fx.Blob(second, "five")
	fx.Want(fx.PutImage(fx.Ctx, second, ImageOf("five")), fault.StorageQuotaExceeded, "a fourth image of three of the prefix")
	fx.Image(teamed, "six")
	fx.Image(other, "seven")

	content := strings.Repeat("b", 90)
	big := blob.Info{Digest: Digest(content), Size: 90}
	_, err = fx.AddBlob(fx.Ctx, app, big, "")
	fx.Want(err, fault.StorageQuotaExceeded, "bytes beyond the quota")
	_, err = fx.Holding(fx.Ctx, app.ID, big.Digest)
	fx.Want(err, fault.BlobNotFound, "the blob that was refused")
	_, err = fx.AddBlob(fx.Ctx, other, big, "")
	fx.Must(err)
	fx.Want(fx.MountBlob(fx.Ctx, other, app, big.Digest), fault.StorageQuotaExceeded, "a mount of bytes beyond the quota")
	fx.Must(fx.MountBlob(fx.Ctx, other, app, Digest("seven")))
	copied := As(ImageOf(content, "seven"), "v1")
	fx.Push(other, copied)
	_, err = fx.CopyImage(fx.Ctx, other, second, copied, meta.CopyOptions{})
	fx.Want(err, fault.StorageQuotaExceeded, "a copy of bytes beyond the quota")
	fx.recount("after refusals, mounts and copies")

	room := fx.CheckRoom(fx.Ctx, Registry, app.Name, meta.Amounts{Bytes: 90})
	fx.Want(room, fault.StorageQuotaExceeded, "room for 90 bytes")
	fx.Must(fx.CheckRoom(fx.Ctx, Registry, other.Name, meta.Amounts{Bytes: 1 << 50}))

	one := ImageOf("one")
	_, err = fx.DeleteImage(fx.Ctx, app, one.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.recount("after a deletion")
	fx.Push(app, ImageOf("three"))
	fx.Want(fx.RestoreImage(fx.Ctx, app, one.Digest, nil, Principal, false), fault.StorageQuotaExceeded, "a restoration without room")
	_, err = fx.DeleteImage(fx.Ctx, app, ImageOf("three").Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Must(fx.RestoreImage(fx.Ctx, app, one.Digest, nil, Principal, false))
	fx.recount("after a restoration")

	fx.Must(fx.DeleteRepository(fx.Ctx, second, true))
	fx.recount("after the deletion of a repository")
	third := fx.Repo("team/third")
	fx.Want(fx.RestoreRepository(fx.Ctx, second, second.Name), fault.StorageQuotaExceeded, "a restored third repository of two")
	fx.Must(fx.RestoreRepository(fx.Ctx, second, name.MustRepo("elsewhere")))
	fx.recount("after a restoration under another name")
	fx.Must(fx.RemoveBlob(fx.Ctx, second, Digest("five")))
	fx.Must(fx.DeleteRepository(fx.Ctx, third, false))
	fx.recount("after blobs were removed")
	fx.collectAll()
	fx.recount("after a collection")

	q, err := fx.StorageQuota(fx.Ctx, Account, "team")
	fx.Must(err)
	fx.Must(fx.DeleteStorageQuota(fx.Ctx, Account, "team"))
	fx.Want(fx.DeleteStorageQuota(fx.Ctx, Account, "team"), fault.StorageQuotaNotFound, "the second deletion of a quota")
	again, err := fx.PutStorageQuota(fx.Ctx, q)
	fx.Must(err)
	fx.Equal(again.Used, q.Used, "what the repositories of a quota have that was set again")
	for i := range meta.MaxStorageQuotas - 3 {
		fx.quota(fmt.Sprint("p", i), 1, 1, 1)
	}
	_, err = fx.PutStorageQuota(fx.Ctx, meta.StorageQuota{Account: Account, Prefix: "more"})
	fx.Want(err, fault.LimitExceeded, "a quota beyond the limit")
}

// collectAll collects all that is deleted or unused.
func (fx *Fixture) collectAll() {
	fx.Helper()
	end := time.Now().Add(time.Hour)
	for _, step := range []func() (bool, error){
		func() (bool, error) { _, more, err := fx.CollectRepositories(fx.Ctx, end); return more, err },
		func() (bool, error) { _, more, err := fx.CollectImage(fx.Ctx, end); return more, err },
		func() (bool, error) { _, more, err := fx.CollectHoldings(fx.Ctx, end, end); return more, err },
	} {
		for {
			more, err := step()
			fx.Must(err)
			if !more {
				break
			}
		}
	}
}

// Concurrent changes do not exceed a quota together.
func testStorageQuotaRace(fx *Fixture) {
	r := fx.Repo("team/app")
	fx.quota("", 4, 5, 100)
	won := race(fx, 20, fault.StorageQuotaExceeded, func(i int) error {
		_, err := fx.AddBlob(fx.Ctx, r, blob.Info{Digest: Digest(fmt.Sprint(i)), Size: 30}, "")
		return err
	})
	fx.Equal(won, 3, "acknowledged blobs of 30 bytes within 100")
	fx.quota("", 4, 5, 1000)
	fx.Blob(r, "config")
	won = race(fx, 20, fault.StorageQuotaExceeded, func(i int) error { return fx.PutImage(fx.Ctx, r, Variant(i, "config")) })
	fx.Equal(won, 5, "acknowledged images")
	won = race(fx, 20, fault.StorageQuotaExceeded, func(i int) error {
		n, err := name.ParseRepo(fmt.Sprint("r", i))
		fx.Must(err)
		_, err = fx.CreateRepository(fx.Ctx, meta.Repository{Registry: Registry, Name: n, CreatedAt: time.Now(),
			Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}, nil)
		return err
	})
	fx.Equal(won, 3, "acknowledged repositories")
	fx.recount("after the races")
}
