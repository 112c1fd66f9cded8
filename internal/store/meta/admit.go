package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
)

// admit refuses a manifest that names many blobs or images that the repository does not have, before the write is
// queued: there is one writer, and it would look for each of them while all other changes wait. It reads the digests in
// sets of 32. A manifest with fewer of them is checked by the write alone, and the write checks each manifest again.
//
// Errors: fault.LayersNotFound, fault.ReferencedImagesNotFound, and those of the database.
func (s *Store) admit(ctx context.Context, r Repository, m *manifest.Manifest, children []child) error {
	blobs := m.Blobs()
	if len(blobs) > digestsPerSet {
		digests := make([]string, len(blobs))
		for i, b := range blobs {
			digests[i] = b.Digest.String()
		}
		missing, err := s.missing(ctx, heldBlobs, 4, r.ID, digests)
		if err != nil {
			return err
		}
		if missing != nil {
			return layersNotFound(r, missing)
		}
	}
	if len(children) > digestsPerSet {
		var needed []string
		for _, c := range children {
			if c.needed {
				needed = append(needed, c.digest)
			}
		}
		missing, err := s.missing(ctx, livingImages, 3, r.ID, needed)
		if err != nil {
			return err
		}
		if missing != nil {
			return imagesNotFound(r, missing)
		}
	}
	return nil
}

// missing returns the digests that the statement does not find in the repository, in their order. columns is the number of its columns.
func (s *Store) missing(ctx context.Context, statement string, columns int, repository int64, digests []string) ([]string, error) {
	var missing []string
	found := make(map[string]bool, digestsPerSet)
	for len(digests) > 0 {
		set := digests[:min(digestsPerSet, len(digests))]
		digests = digests[len(set):]
		in := args{repository}
		for i := range digestsPerSet {
			in = append(in, set[min(i, len(set)-1)]) // a short set repeats its last digest
		}
		clear(found)
		err := s.read.rows(ctx, statement, in, func(scan func(...any) error) error {
			var d string
			dest := []any{&d}
			for len(dest) < columns { // the write reads them
				dest = append(dest, new(any))
			}
			err := scan(dest...)
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
