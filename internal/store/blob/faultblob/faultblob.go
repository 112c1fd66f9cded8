// Package faultblob wraps a blob store and injects errors, for the tests of the packages that use a store.
//
// There are two kinds of failure, which a correct caller must handle differently: the call has stored nothing,
// or the call has stored everything and its result was lost, as after a broken connection or a crash between
// two stores.
package faultblob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ErrInjected is in the chain of every injected error.
var ErrInjected = errors.New("injected fault")

// Op names a method of blob.Store.
type Op string

// The operations that can fail.
const (
	Open   Op = "Open"
	Stat   Op = "Stat"
	Delete Op = "Delete"
	List   Op = "List"
	Begin  Op = "Begin"
	Append Op = "Append"
	Hash   Op = "Hash"
	Commit Op = "Commit"
	Peek   Op = "Peek"
	Abort  Op = "Abort"
	Stale  Op = "Stale"

	Quarantine Op = "Quarantine"
)

// Fault says how one call fails.
type Fault int

// The faults.
const (
	None   Fault = iota
	Before       // the call fails without effect; its reader is not read
	After        // the call takes effect, then fails; same as Before for Open, List and Stale
)

// Store passes calls on to another store, or injects a fault. It is safe for concurrent use if decide is.
type Store struct {
	under  blob.Store
	decide func(Op) Fault
}

var _ blob.Store = (*Store)(nil)

// New wraps a store. decide is called once for each call and returns its fault.
func New(under blob.Store, decide func(Op) Fault) *Store { return &Store{under, decide} }

// guard runs f with the fault that decide returns for op.
func guard[T any](s *Store, op Op, f func() (T, error)) (T, error) {
	var none T
	switch s.decide(op) {
	case Before:
		return none, ErrInjected
	case After:
		if _, err := f(); err != nil {
			return none, err
		}
		return none, ErrInjected
	}
	return f()
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, blob.Info, error) {
	if s.decide(Open) != None {
		return nil, blob.Info{}, ErrInjected
	}
	return s.under.Open(ctx, d)
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, d name.Digest) (blob.Info, error) {
	return guard(s, Stat, func() (blob.Info, error) { return s.under.Stat(ctx, d) })
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, d name.Digest) error {
	_, err := guard(s, Delete, func() (struct{}, error) { return struct{}{}, s.under.Delete(ctx, d) })
	return err
}

// Quarantine implements blob.Store.
func (s *Store) Quarantine(ctx context.Context, was blob.Info) (bool, error) {
	return guard(s, Quarantine, func() (bool, error) { return s.under.Quarantine(ctx, was) })
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, after name.Digest) iter.Seq2[blob.Info, error] {
	if s.decide(List) != None {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, ErrInjected) }
	}
	return s.under.List(ctx, after)
}

// Begin implements blob.Store.
func (s *Store) Begin(ctx context.Context, a name.Algorithm) (blob.Upload, error) {
	return guard(s, Begin, func() (blob.Upload, error) { return s.under.Begin(ctx, a) })
}

// Append implements blob.Store.
func (s *Store) Append(ctx context.Context, u blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	return guard(s, Append, func() (blob.Upload, error) { return s.under.Append(ctx, u, r, limit) })
}

// Hash implements blob.Store.
func (s *Store) Hash(ctx context.Context, u blob.Upload, a name.Algorithm) (blob.Upload, name.Digest, error) {
	type result struct {
		after blob.Upload
		d     name.Digest
	}
	r, err := guard(s, Hash, func() (r result, err error) {
		r.after, r.d, err = s.under.Hash(ctx, u, a)
		return r, err
	})
	return r.after, r.d, err
}

// Commit implements blob.Store.
func (s *Store) Commit(ctx context.Context, u blob.Upload, last io.Reader, limit int64, want name.Digest) (blob.Info, error) {
	return guard(s, Commit, func() (blob.Info, error) { return s.under.Commit(ctx, u, last, limit, want) })
}

// Peek implements blob.Store.
func (s *Store) Peek(ctx context.Context, u blob.Upload) (blob.Peeked, error) {
	if s.decide(Peek) != None {
		return nil, ErrInjected
	}
	return s.under.Peek(ctx, u)
}

// Abort implements blob.Store.
func (s *Store) Abort(ctx context.Context, u blob.Upload) error {
	_, err := guard(s, Abort, func() (struct{}, error) { return struct{}{}, s.under.Abort(ctx, u) })
	return err
}

// Stale implements blob.Store.
func (s *Store) Stale(ctx context.Context, t time.Time) iter.Seq2[string, error] {
	if s.decide(Stale) != None {
		return func(yield func(string, error) bool) { yield("", ErrInjected) }
	}
	return s.under.Stale(ctx, t)
}
