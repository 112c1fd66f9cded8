package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Placed returns a Store that changes nothing while check returns an error, because the directory of the store was moved, deleted
// or replaced. Then it returns the error of check, also in place of the errors of reads: a blob is not absent because its
// directory is elsewhere.
func Placed(s Store, check func() error) Store { return &placed{s, check} }

type placed struct {
	Store
	check func() error
}

// why returns the error of check in place of an error that the directory can have caused.
func (p *placed) why(err error) error {
	if err == nil {
		return nil
	}
	if elsewhere := p.check(); elsewhere != nil {
		return elsewhere // without err: a caller may look for fault.BlobNotFound
	}
	return err
}

func (p *placed) Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, Info, error) {
	r, info, err := p.Store.Open(ctx, d)
	return r, info, p.why(err)
}

func (p *placed) Stat(ctx context.Context, d name.Digest) (Info, error) {
	info, err := p.Store.Stat(ctx, d)
	return info, p.why(err)
}

func (p *placed) Delete(ctx context.Context, d name.Digest) error {
	if err := p.check(); err != nil {
		return err
	}
	return p.why(p.Store.Delete(ctx, d))
}

func (p *placed) Quarantine(ctx context.Context, was Info) (moved bool, err error) {
	if err := p.check(); err != nil {
		return false, err
	}
	moved, err = p.Store.Quarantine(ctx, was)
	return moved, p.why(err)
}

func (p *placed) Append(ctx context.Context, u Upload, r io.Reader, limit int64) (Upload, error) {
	if err := p.check(); err != nil {
		return u, err
	}
	u, err := p.Store.Append(ctx, u, r, limit)
	return u, p.why(err)
}

func (p *placed) Commit(ctx context.Context, u Upload, last io.Reader, limit int64, want name.Digest) (Info, error) {
	if err := p.check(); err != nil {
		return Info{}, err
	}
	info, err := p.Store.Commit(ctx, u, last, limit, want)
	return info, p.why(err)
}

func (p *placed) Abort(ctx context.Context, u Upload) error {
	if err := p.check(); err != nil {
		return err
	}
	return p.why(p.Store.Abort(ctx, u))
}

func (p *placed) List(ctx context.Context, after name.Digest) iter.Seq2[Info, error] {
	return eachPlaced(p, p.Store.List(ctx, after))
}

func (p *placed) Stale(ctx context.Context, t time.Time) iter.Seq2[string, error] {
	return eachPlaced(p, p.Store.Stale(ctx, t))
}

// eachPlaced yields nothing of another directory.
func eachPlaced[T any](p *placed, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for one, err := range all {
			if elsewhere := p.check(); elsewhere != nil {
				yield(one, elsewhere)
				return
			}
			if !yield(one, err) {
				return
			}
		}
	}
}
