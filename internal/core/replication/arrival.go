package replication

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// arrivalPage is how many images that refer to a blob are read at once.
const arrivalPage = 100

// arrival is the work of the job for an image or a blob that a pull-through cache has stored: it replicates the images that are complete
// now, and the indexes that contain them. An image is complete if all of its blobs are here, an index if one of its images is: the cache
// fetches those that are asked for.
func (s *Service) arrival(ctx context.Context, j *jobs.Job) error {
	var in meta.Arrival
	if err := j.Input(&in); err != nil {
		return err
	}
	from, err := s.meta.RepositoryByID(ctx, in.Repository)
	if errors.Is(err, fault.RepositoryNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	a := &arriving{Service: s, from: from, whole: map[name.Digest]bool{}, sent: map[name.Digest]bool{}}
	if !in.Blob {
		return a.image(ctx, in.Digest)
	}
	var after string
	if err := j.Place(&after); err != nil {
		return err
	}
	for {
		page, err := s.meta.Referring(ctx, from.ID, in.Digest, true, after, arrivalPage)
		if err != nil {
			return err
		}
		for _, d := range page {
			if err := a.image(ctx, d); err != nil {
				return err
			}
			after = d
		}
		if len(page) < arrivalPage {
			return nil
		}
		if err := j.Save(ctx, after, 0, 0); err != nil {
			return err
		}
	}
}

// arriving is an attempt of such a job. Indexes may contain each other's images in many ways: each image is looked at once.
type arriving struct {
	*Service
	from  meta.Repository
	whole map[name.Digest]bool // what is known of images
	sent  map[name.Digest]bool // images that were replicated
}

// image replicates an image, and the indexes that contain it, if it is complete.
func (a *arriving) image(ctx context.Context, text string) error {
	d, err := name.ParseDigest(text)
	if err != nil {
		return jobs.Permanent(err)
	}
	if a.sent[d] {
		return nil
	}
	whole, err := a.complete(ctx, d)
	if err != nil || !whole {
		return err
	}
	a.sent[d] = true
	if err := a.meta.Replicate(ctx, a.from, d); err != nil {
		return err
	}
	for after := ""; ; {
		page, err := a.meta.Referring(ctx, a.from.ID, text, false, after, arrivalPage)
		if err != nil {
			return err
		}
		for _, index := range page { // indexes nest at most meta.MaxDepth deep
			if err := a.image(ctx, index); err != nil {
				return err
			}
			after = index
		}
		if len(page) < arrivalPage {
			return nil
		}
	}
}

// complete reports whether an image of the repository has all of its blobs here, or an index one such image.
func (a *arriving) complete(ctx context.Context, d name.Digest) (whole bool, err error) {
	if known, ok := a.whole[d]; ok {
		return known, nil
	}
	defer func() { a.whole[d] = whole }()
	head, err := a.meta.Head(ctx, a.from.ID, name.Reference{Digest: d})
	var body []byte
	if err == nil {
		body, err = a.meta.Body(ctx, d)
	}
	if errors.Is(err, fault.ImageNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m, err := manifest.Parse(body, head.MediaType)
	if err != nil {
		return false, err
	}
	for _, b := range m.Blobs() {
		switch _, err := a.meta.Holding(ctx, a.from.ID, b.Digest); {
		case errors.Is(err, fault.BlobNotFound):
			return false, nil
		case err != nil:
			return false, err
		}
	}
	for _, child := range m.Manifests {
		if whole, err := a.complete(ctx, child.Digest); err != nil || whole {
			return whole, err
		}
	}
	return len(m.Manifests) == 0, nil
}
