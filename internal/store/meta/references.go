package meta

import (
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
)

// digestsPerSet is the number of digests that one statement for a set of digests takes. Manifests with fewer blobs and
// images, which almost all are, take one statement for each.
const digestsPerSet = 32

// The statements for one digest, and for a set of them.
const (
	heldBlob  = `SELECT digest, size, media_type, condemned_at FROM repository_blobs WHERE repository = $1 AND digest = $2`
	heldBlobs = `SELECT digest, size, media_type, condemned_at FROM repository_blobs WHERE repository = $1 AND digest IN (
		$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`
	livingImage  = `SELECT digest, size, depth FROM images WHERE repository = $1 AND deleted_at <= 0 AND digest = $2`
	livingImages = `SELECT digest, size, depth FROM images WHERE repository = $1 AND deleted_at <= 0 AND digest IN (
		$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`

	// An image refers to a blob with the kind 1, and an index to an image with the kind 2.
	referToBlob  = `INSERT INTO image_references (repository, digest, target, kind) VALUES ($1, $2, $3, 1) ON CONFLICT (repository, digest, target, kind) DO NOTHING`
	referToBlobs = `INSERT INTO image_references (repository, digest, target, kind) VALUES ($1, $2, $3, 1), ($1, $2, $4, 1), ($1, $2, $5, 1), ($1, $2, $6, 1),
		($1, $2, $7, 1), ($1, $2, $8, 1), ($1, $2, $9, 1), ($1, $2, $10, 1),
		($1, $2, $11, 1), ($1, $2, $12, 1), ($1, $2, $13, 1), ($1, $2, $14, 1),
		($1, $2, $15, 1), ($1, $2, $16, 1), ($1, $2, $17, 1), ($1, $2, $18, 1),
		($1, $2, $19, 1), ($1, $2, $20, 1), ($1, $2, $21, 1), ($1, $2, $22, 1),
		($1, $2, $23, 1), ($1, $2, $24, 1), ($1, $2, $25, 1), ($1, $2, $26, 1),
		($1, $2, $27, 1), ($1, $2, $28, 1), ($1, $2, $29, 1), ($1, $2, $30, 1),
		($1, $2, $31, 1), ($1, $2, $32, 1), ($1, $2, $33, 1), ($1, $2, $34, 1)
		ON CONFLICT (repository, digest, target, kind) DO NOTHING`
	referToImage  = `INSERT INTO image_references (repository, digest, target, kind) VALUES ($1, $2, $3, 2) ON CONFLICT (repository, digest, target, kind) DO NOTHING`
	referToImages = `INSERT INTO image_references (repository, digest, target, kind) VALUES ($1, $2, $3, 2), ($1, $2, $4, 2), ($1, $2, $5, 2), ($1, $2, $6, 2),
		($1, $2, $7, 2), ($1, $2, $8, 2), ($1, $2, $9, 2), ($1, $2, $10, 2),
		($1, $2, $11, 2), ($1, $2, $12, 2), ($1, $2, $13, 2), ($1, $2, $14, 2),
		($1, $2, $15, 2), ($1, $2, $16, 2), ($1, $2, $17, 2), ($1, $2, $18, 2),
		($1, $2, $19, 2), ($1, $2, $20, 2), ($1, $2, $21, 2), ($1, $2, $22, 2),
		($1, $2, $23, 2), ($1, $2, $24, 2), ($1, $2, $25, 2), ($1, $2, $26, 2),
		($1, $2, $27, 2), ($1, $2, $28, 2), ($1, $2, $29, 2), ($1, $2, $30, 2),
		($1, $2, $31, 2), ($1, $2, $32, 2), ($1, $2, $33, 2), ($1, $2, $34, 2)
		ON CONFLICT (repository, digest, target, kind) DO NOTHING`

	typeBlob  = `UPDATE repository_blobs SET media_type = $3 WHERE repository = $1 AND digest = $2 AND media_type = ''`
	typeBlobs = `UPDATE repository_blobs SET media_type = $2 WHERE repository = $1 AND media_type = '' AND digest IN (
		$3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
		$19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)`
)

// setsOf calls set with sets of digestsPerSet values, and one with each value that remains. It stops at an error.
func setsOf[T any](all []T, set func([]T) error, one func(T) error) error {
	for len(all) >= digestsPerSet {
		if err := set(all[:digestsPerSet]); err != nil {
			return err
		}
		all = all[digestsPerSet:]
	}
	return eachOf(all, one)
}

func eachOf[T any](all []T, one func(T) error) error {
	for _, v := range all {
		if err := one(v); err != nil {
			return err
		}
	}
	return nil
}

// changesOf is setsOf for changes. SQLite changes one row at a time: for a statement that changes several rows it keeps a
// journal, which makes 10,000 of them twice as slow. In PostgreSQL each statement costs a round trip.
func changesOf[T any](t *tx, all []T, set func([]T) error, one func(T) error) error {
	if !t.remote {
		return eachOf(all, one)
	}
	return setsOf(all, set, one)
}

// found calls each with every row that a repository has of the digests: the statement one is for one digest, and set for
// a set of them.
func found(t *tx, one, set string, repository int64, digests []string, each func(scan func(...any) error) error) error {
	return setsOf(digests, func(some []string) error {
		in := args{repository}
		for _, d := range some {
			in = append(in, d)
		}
		return t.rows(t.ctx, set, in, each)
	}, func(d string) error { return t.rows(t.ctx, one, args{repository, d}, each) })
}

// referTo inserts the references of an image: the statement one is for one target, and set for a set of them.
func referTo(t *tx, one, set string, repository int64, image string, targets []string) error {
	return changesOf(t, targets, func(some []string) error {
		in := args{repository, image}
		for _, d := range some {
			in = append(in, d)
		}
		_, err := t.exec(set, in...)
		return err
	}, func(d string) error {
		_, err := t.exec(one, repository, image, d)
		return err
	})
}

// retireReferences gives the references of an image the kinds of those of deleted images. In SQLite it changes them one at a
// time, as in changesOf.
func retireReferences(t *tx, repository int64, image string) error {
	if t.remote {
		_, err := t.exec(`UPDATE image_references SET kind = kind + 2 WHERE repository = $1 AND digest = $2 AND kind <= 2`,
			repository, image)
		return err
	}
	type reference struct {
		target string
		kind   int
	}
	var all []reference
	if err := t.rows(t.ctx, `SELECT target, kind FROM image_references WHERE repository = $1 AND digest = $2 AND kind <= 2`,
		args{repository, image}, func(scan func(...any) error) error {
			var one reference
			err := scan(&one.target, &one.kind)
			all = append(all, one)
			return err
		}); err != nil {
		return err
	}
	return eachOf(all, func(one reference) error {
		_, err := t.exec(`UPDATE image_references SET kind = $5 WHERE repository = $1 AND digest = $2 AND target = $3 AND kind = $4`,
			repository, image, one.target, one.kind, one.kind+2)
		return err
	})
}

// setTypes sets the media types of blobs that have none. A set has blobs of one type: almost all layers of an image have the
// same one.
func setTypes(t *tx, repository int64, blobs []manifest.Descriptor) error {
	byType := map[string][]string{}
	for _, b := range blobs {
		byType[b.MediaType] = append(byType[b.MediaType], b.Digest.String())
	}
	for mediaType, digests := range byType {
		err := changesOf(t, digests, func(some []string) error {
			in := args{repository, mediaType}
			for _, d := range some {
				in = append(in, d)
			}
			_, err := t.exec(typeBlobs, in...)
			return err
		}, func(d string) error {
			_, err := t.exec(typeBlob, repository, d, mediaType)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
