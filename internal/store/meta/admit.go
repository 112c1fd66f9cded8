package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
)

// digestsPerRead is the number of digests that one statement of admit looks for.
const digestsPerRead = 32

// The statements that find which blobs a repository holds, and which images it has.
const (
	heldBlobs = `SELECT digest FROM repository_blobs WHERE repository = $1 AND digest IN (
		$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`
	livingImages = `SELECT digest FROM images WHERE repository = $1 AND deleted_at <= 0 AND digest IN (
		$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`
)

// admit refuses a manifest that names many blobs or images that the repository does not have, before the write is
// queued: there is one writer, and it would look for each of them while all other changes wait. It reads the digests in
// sets of 32. A manifest with fewer of them is checked by the write alone, and the write checks each manifest again.
//
// Errors: fault.LayersNotFound, fault.ReferencedImagesNotFound, and those of the database.
func (s *Store) admit(ctx context.Context, r Repository, m *manifest.Manifest, children []child) error {
	blobs := m.Blobs()
	if len(blobs) > digestsPerRead {
		digests := make([]string, len(blobs))
		for i, b := range blobs {
			digests[i] = b.Digest.String()
		}
		missing, err := s.missing(ctx, heldBlobs, r.ID, digests)
		if err != nil {
			return err
		}
		if missing != nil {
			return layersNotFound(r, missing)
		}
	}
	if len(children) > digestsPerRead {
		var needed []string
		for _, c := range children {
			if c.needed {
				needed = append(needed, c.digest)
			}
		}
		missing, err := s.missing(ctx, livingImages, r.ID, needed)
		if err != nil {
			return err
		}
		if missing != nil {
			return imagesNotFound(r, missing)
		}
	}
	return nil
}

// missing returns the digests that the statement does not find in the repository, in their order.
func (s *Store) missing(ctx context.Context, statement string, repository int64, digests []string) ([]string, error) {
	var missing []string
	found := make(map[string]bool, digestsPerRead)
	for len(digests) > 0 {
		set := digests[:min(digestsPerRead, len(digests))]
		digests = digests[len(set):]
		in := args{repository}
		for i := range digestsPerRead {
			in = append(in, set[min(i, len(set)-1)]) // a short set repeats its last digest
		}
		clear(found)
		err := s.read.rows(ctx, statement, in, func(scan func(...any) error) error {
			var d string
			err := scan(&d)
			found[d] = true
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, d := range set {
			if !found[d] {
				missing = append(missing, d)
			}
		}
	}
	return missing, nil
}
