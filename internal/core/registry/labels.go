package registry

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// LabelsWork reads the labels of images that came without their config: by a cache, a copy, or before labels were read. It looks every
// labelsLook, and reads labelsStep images in one step.
const (
	LabelsWork = "labels"
	labelsLook = 5 * time.Second
	labelsStep = 100
)

// newLabels returns the labels of an image that is put, before its transaction; nil if it is there, or its config is not.
//
// Errors: those of the database and of ctx.
func (s *Service) newLabels(ctx context.Context, r Repository, m *manifest.Manifest, d name.Digest, cached bool) ([]byte, error) {
	config, has := m.Labelled()
	if !has {
		return m.Labels(nil), nil
	}
	if cached {
		return nil, nil
	}
	if _, err := s.meta.Head(ctx, r.ID, name.Reference{Digest: d}); !errors.Is(err, fault.ImageNotFound) {
		return nil, err
	}
	labels, err := s.configLabels(ctx, r.ID, m, config)
	if errors.Is(err, errUnread) || errors.Is(err, fault.BlobNotFound) { // it is read later, or the transaction says that it is missing
		return nil, ctx.Err()
	}
	return labels, err
}

// configLabels returns the labels of an image of which a repository holds the config.
//
// Errors: fault.BlobNotFound (it does not), those of the store of blobs.
func (s *Service) configLabels(ctx context.Context, repository int64, m *manifest.Manifest, config manifest.Descriptor) ([]byte, error) {
	if _, err := s.meta.Holding(ctx, repository, config.Digest); err != nil {
		return nil, err
	}
	f, _, err := s.blobs.Open(ctx, config.Digest)
	if err != nil {
		return nil, errors.Join(errUnread, err)
	}
	body, err := io.ReadAll(io.LimitReader(f, manifest.MaxConfig))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(errUnread, err)
	}
	return m.Labels(body), nil
}

// errUnread says that a config is held but could not be read.
var errUnread = errors.New("the config could not be read")

// readDueLabels reads the labels of all images that are due, in steps between which other writes have their turn.
func (s *Service) readDueLabels(ctx context.Context) error {
	for {
		due, err := s.meta.DueLabels(ctx, labelsStep)
		if err != nil || len(due) == 0 {
			return err
		}
		labels := make([][]byte, len(due))
		for i, one := range due {
			if labels[i], err = s.dueLabels(ctx, one); err != nil {
				return err
			}
		}
		if err := s.meta.SetLabels(ctx, due, labels); err != nil {
			return err
		}
		if len(due) < labelsStep {
			return nil
		}
	}
}

// dueLabels returns the labels of an image as far as they can be known: without those of a config that the repository does not hold, which
// may arrive. They are nil if the config is to be read again.
//
// Errors: those of the database and of ctx.
func (s *Service) dueLabels(ctx context.Context, of meta.DueLabels) ([]byte, error) {
	body, err := s.meta.Body(ctx, of.Digest)
	if errors.Is(err, fault.ImageNotFound) {
		return []byte("{}"), nil
	}
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(body, "")
	if err != nil { // it was stored with a media type that it does not have itself
		return []byte("{}"), nil
	}
	config, has := m.Labelled()
	if !has {
		return m.Labels(nil), nil
	}
	labels, err := s.configLabels(ctx, of.Repository, m, config)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, errUnread):
		return nil, nil
	case errors.Is(err, fault.BlobNotFound):
		return m.Labels(nil), nil
	}
	return labels, err
}

func (s *Service) addLabelsWork(r *jobs.Runner) {
	r.AddTask(jobs.Task{Name: LabelsWork, What: "reading the labels of images", Every: labelsLook, First: true, Run: s.readDueLabels})
}
