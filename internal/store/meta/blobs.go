package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Holding is a blob in one repository.
type Holding struct {
	Digest     name.Digest
	Size       int64  // bytes
	MediaType  string // from the first manifest that refers to it; "" before
	Referenced bool   // an image of the repository refers to it
}

func blobNotFound(d name.Digest) error {
	return fault.BlobNotFound.New("blob %s is unknown to this repository", d)
}

// Holding returns a blob of the repository. Errors: fault.BlobNotFound, also when only other repositories hold the
// digest.
func (s *Store) Holding(ctx context.Context, repository int64, d name.Digest) (Holding, error) {
	return cached(&s.cache.holdings, holdingKey{repository, d}, func() (Holding, error) {
		return holding(ctx, s.read, repository, d)
	})
}

func holding(ctx context.Context, q querier, repository int64, d name.Digest) (Holding, error) {
	h := Holding{Digest: d}
	err := q.row(ctx, `SELECT b.size, b.media_type, EXISTS (SELECT 1 FROM image_references r
			WHERE r.repository = b.repository AND r.target = b.digest AND r.kind = 1)
		FROM repository_blobs b WHERE b.repository = $1 AND b.digest = $2 AND b.condemned_at = 0`,
		args{repository, d.String()}, &h.Size, &h.MediaType, &h.Referenced)
	if errors.Is(err, sql.ErrNoRows) {
		return Holding{}, blobNotFound(d)
	}
	return h, err
}

// AddBlob records that the repository holds a stored blob, and deletes the row of the upload that stored it ("" for
// none). added is false if the repository held the blob already and it was not condemned. Errors: fault.RepositoryNotFound,
// fault.StorageQuotaExceeded.
func (s *Store) AddBlob(ctx context.Context, r Repository, info blob.Info, upload string) (added bool, err error) {
	return s.recordBlob(ctx, r, info, upload, func(*tx) error { return nil })
}

// recordBlob is AddBlob with a further change in its transaction.
func (s *Store) recordBlob(ctx context.Context, r Repository, info blob.Info, upload string, also func(*tx) error) (added bool, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		added, err = addBlob(t, r, info.Digest, info.Size, "", s.now())
		if err == nil {
			err = also(t)
		}
		if err != nil || upload == "" {
			return err
		}
		_, err = t.exec(`DELETE FROM uploads WHERE id = $1`, upload)
		return err
	})
	if upload != "" {
		s.full.clear()
	}
	return added, err
}

// addBlob adds a blob to a repository, or takes back its condemnation. added is false if the repository held it already. Errors:
// fault.StorageQuotaExceeded.
func addBlob(t *tx, r Repository, d name.Digest, size int64, mediaType string, at time.Time) (added bool, err error) {
	repository := r.ID
	n, err := t.exec(`INSERT INTO repository_blobs (repository, digest, size, media_type, added_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (repository, digest) DO NOTHING`, repository, d.String(), size, mediaType, micros(at))
	if err == nil && n > 0 {
		err = t.charge(r, Amounts{Bytes: size})
	} else if err == nil {
		n, err = t.exec(`UPDATE repository_blobs SET condemned_at = 0, added_at = $3 WHERE repository = $1 AND digest = $2 AND condemned_at <> 0`,
			repository, d.String(), micros(at))
	}
	if err != nil {
		return false, err
	}
	if n == 0 { // it has its grace period again, if no image refers to it
		_, err := t.exec(`UPDATE candidates SET since = $3 WHERE kind = 3 AND repository = $1 AND digest = $2`,
			repository, d.String(), micros(at))
		return false, err
	}
	t.touchHoldings(repository, []name.Digest{d})
	return true, candidate(t, candidateUnused, repository, d.String(), at)
}

// MountBlob adds a blob of one repository to another. Errors: fault.BlobNotFound (from does not hold it),
// fault.RepositoryNotFound, fault.StorageQuotaExceeded.
func (s *Store) MountBlob(ctx context.Context, from, to Repository, d name.Digest) error {
	return s.write.do(ctx, func(t *tx) error {
		for _, r := range []Repository{from, to} {
			if err := checkRepository(t, r); err != nil {
				return err
			}
		}
		h, err := holding(t.ctx, t, from.ID, d)
		if err != nil {
			return err
		}
		_, err = addBlob(t, to, d, h.Size, h.MediaType, s.now())
		return err
	})
}

// Holders returns the ids of repositories of a registry that hold the digest, oldest first, at most limit.
func (s *Store) Holders(ctx context.Context, reg name.Registry, d name.Digest, limit int) ([]int64, error) {
	var all []int64
	err := s.read.rows(ctx, `SELECT b.repository FROM repository_blobs b
		JOIN repositories r ON r.id = b.repository AND r.account = $2 AND r.region = $3 AND r.deleted_at <= 0
		WHERE b.digest = $1 AND b.condemned_at = 0 ORDER BY b.repository LIMIT $4`, args{d.String(), reg.Account.String(), reg.Region.String(),
		limit}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		all = append(all, id)
		return err
	})
	return all, err
}

// ImagesWithBlob returns the number of images of a repository that refer to a blob and are not deleted, at most limit.
func (s *Store) ImagesWithBlob(ctx context.Context, repository int64, d name.Digest, limit int) (n int, err error) {
	err = s.read.row(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM image_references
		WHERE repository = $1 AND target = $2 AND kind = 1 LIMIT $3) counted`, args{repository, d.String(), limit}, &n)
	return n, err
}

// RemoveBlob removes a blob from the repository. Errors: fault.BlobNotFound, fault.ImageReferenced (an image refers
// to it), fault.RepositoryNotFound.
func (s *Store) RemoveBlob(ctx context.Context, r Repository, d name.Digest) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		h, err := holding(t.ctx, t, r.ID, d)
		if err != nil {
			return err
		}
		if h.Referenced {
			return fault.ImageReferenced.New("blob %s is used by an image of the repository: delete the image first", d)
		}
		if kept, err := used(t, r.ID, d.String()); err != nil {
			return err
		} else if kept { // by a deleted image: it is absent for all but a restoration
			t.touchHoldings(r.ID, []name.Digest{d})
			_, err := t.exec(`UPDATE repository_blobs SET condemned_at = -1 WHERE repository = $1 AND digest = $2`, r.ID, d.String())
			return err
		}
		t.touchHoldings(r.ID, []name.Digest{d})
		size, err := s.removeHolding(t, r.ID, d.String())
		if err != nil {
			return err
		}
		return t.addReleased(s.now(), map[int64]int64{r.ID: size})
	})
}

// Upload is an unfinished blob upload.
type Upload struct {
	ID         string // UUID, 36 characters
	Repository int64
	Principal  string // the id of the principal that began it, with its session; no other may continue it
	Blob       blob.Upload
	Parts      int   // number of accepted parts
	SmallPart  int64 // size in bytes of a part below 5 MiB, which must be the last part; 0 for none
	StartedAt  time.Time
}

func uploadNotFound(id string) error {
	return fault.UploadNotFound.New("the upload with id '%s' does not exist", name.Clip(id))
}

// PutUpload stores a new upload. q limits the uploads of its principal, and maxOfRepository those of the repository; 0 is
// no limit.
//
// Errors: fault.RepositoryNotFound, fault.QuotaExceeded.
func (s *Store) PutUpload(ctx context.Context, r Repository, u Upload, q Quota, maxOfRepository int) error {
	limits := []limit{
		{counted: counted{uploadsOfPrincipal, q.Key}, max: q.Max, full: tooMany("The caller has %d open layer uploads, which is its quota: complete or cancel some of them, or wait until they expire", q.Max)},
		{counted: counted{uploadsOfRepository, r.ID}, max: maxOfRepository, full: tooMany("The repository with name '%s' has %d open layer uploads, which is its quota: some of them must be completed, be cancelled or expire", r.Name, maxOfRepository)},
	}
	return s.doWithin(ctx, limits, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO uploads (id, repository, principal, limit_key, blob_id, size, state, started_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)`,
			u.ID, r.ID, u.Principal, q.Key, u.Blob.ID, u.Blob.Size, notNull(u.Blob.State), micros(u.StartedAt))
		return err
	})
}

// notNull returns b, or an empty slice if b is nil: the database stores nil as NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Upload returns an upload of a repository. Errors: fault.UploadNotFound.
func (s *Store) Upload(ctx context.Context, repository int64, id string) (Upload, error) {
	u := Upload{ID: id, Repository: repository}
	var started int64
	err := s.read.row(ctx,
		`SELECT principal, blob_id, size, state, parts, small_part, started_at FROM uploads WHERE id = $1 AND repository = $2`,
		args{id, repository}, &u.Principal, &u.Blob.ID, &u.Blob.Size, &u.Blob.State, &u.Parts, &u.SmallPart, &started)
	if errors.Is(err, sql.ErrNoRows) {
		return Upload{}, uploadNotFound(id)
	}
	u.StartedAt = fromMicros(started)
	return u, err
}

// AdvanceUpload stores the state after a part, if the stored size of the upload is still before. Errors:
// fault.UploadConflict (another request has written to the upload), fault.UploadNotFound.
func (s *Store) AdvanceUpload(ctx context.Context, u Upload, before int64) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE uploads SET size = $3, state = $4, parts = $5, small_part = $6, updated_at = $7 WHERE id = $1 AND size = $2`,
			u.ID, before, u.Blob.Size, notNull(u.Blob.State), u.Parts, u.SmallPart, micros(s.now()))
		if err != nil || n > 0 {
			return err
		}
		var one int
		found, err := t.one(`SELECT 1 FROM uploads WHERE id = $1`, args{u.ID}, &one)
		if err == nil && found {
			err = fault.UploadConflict.New("another request has written to the upload %s meanwhile", u.ID)
		} else if err == nil {
			err = uploadNotFound(u.ID)
		}
		return err
	})
}

// DeleteUpload deletes an upload; it returns nil if the upload does not exist.
func (s *Store) DeleteUpload(ctx context.Context, id string) error {
	return s.DeleteUploads(ctx, []string{id})
}

// DeleteUploads deletes uploads in one transaction. Uploads that do not exist are skipped.
func (s *Store) DeleteUploads(ctx context.Context, ids []string) error {
	err := s.write.doMany(ctx, len(ids), func(t *tx) error {
		for _, id := range ids {
			if _, err := t.exec(`DELETE FROM uploads WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
	s.full.clear()
	return err
}

// IdlePosition is a position in the list of idle uploads; the zero value is its beginning.
type IdlePosition struct {
	updated int64
	id      string
}

// IdleUploads returns uploads that were not written to since t, the longest idle first, at most limit, and the position of
// the last one. after is the position of the last one that was read before. Parts, SmallPart and StartedAt are not set.
func (s *Store) IdleUploads(ctx context.Context, t time.Time, after IdlePosition, limit int) ([]Upload, IdlePosition, error) {
	return s.idleUploads(ctx, `SELECT id, repository, principal, blob_id, size, state, updated_at FROM uploads
		WHERE updated_at < $1 AND (updated_at, id) > ($2, $3) ORDER BY updated_at, id LIMIT $4`, t, after, limit)
}

// EmptyUploads is IdleUploads for uploads without a byte.
func (s *Store) EmptyUploads(ctx context.Context, t time.Time, after IdlePosition, limit int) ([]Upload, IdlePosition, error) {
	return s.idleUploads(ctx, `SELECT id, repository, principal, blob_id, size, state, updated_at FROM uploads
		WHERE updated_at < $1 AND (updated_at, id) > ($2, $3) AND size = 0 ORDER BY updated_at, id LIMIT $4`, t, after, limit)
}

func (s *Store) idleUploads(ctx context.Context, text string, t time.Time, after IdlePosition, limit int) ([]Upload, IdlePosition, error) {
	var all []Upload
	err := s.read.rows(ctx, text, args{micros(t), after.updated, after.id, limit}, func(scan func(...any) error) error {
		var u Upload
		err := scan(&u.ID, &u.Repository, &u.Principal, &u.Blob.ID, &u.Blob.Size, &u.Blob.State, &after.updated)
		all, after.id = append(all, u), u.ID
		return err
	})
	return all, after, err
}
