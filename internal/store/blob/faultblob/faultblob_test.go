package faultblob_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func under(t *testing.T) blob.Store {
	t.Helper()
	s, err := fsblob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Without faults, the wrapper passes the contract suite.
func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return faultblob.New(under(t), func(faultblob.Op) faultblob.Fault { return faultblob.None })
	})
}

func TestCommitFaults(t *testing.T) {
	t.Parallel()
	data := blobtest.Bytes(1, 1000)
	for kind, stored := range map[faultblob.Fault]bool{faultblob.Before: false, faultblob.After: true} {
		s := under(t)
		faulty := faultblob.New(s, only(faultblob.Commit, kind))
		u, err := faulty.Begin(t.Context(), name.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := faulty.Commit(t.Context(), u, bytes.NewReader(data), -1, blobtest.SHA256(data)); !errors.Is(err, faultblob.ErrInjected) {
			t.Errorf("Commit with fault %d: got %v, want ErrInjected", kind, err)
		}
		_, err = s.Stat(t.Context(), blobtest.SHA256(data))
		if (err == nil) != stored || err != nil && !errors.Is(err, fault.BlobNotFound) {
			t.Errorf("Stat after a commit with fault %d: got %v, want stored: %t", kind, err, stored)
		}
	}
}

// A fault for an operation affects this operation only.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	ctx, d := t.Context(), blobtest.SHA256(nil)
	for op, call := range map[faultblob.Op]func(blob.Store) error{
		faultblob.Open:   func(s blob.Store) error { _, _, err := s.Open(ctx, d); return err },
		faultblob.Stat:   func(s blob.Store) error { _, err := s.Stat(ctx, d); return err },
		faultblob.Delete: func(s blob.Store) error { return s.Delete(ctx, d) },
		faultblob.Quarantine: func(s blob.Store) error {
			_, err := s.Quarantine(ctx, blob.Info{})
			return err
		},
		faultblob.Begin: func(s blob.Store) error { _, err := s.Begin(ctx, name.SHA256); return err },
		faultblob.Append: func(s blob.Store) error {
			_, err := s.Append(ctx, blob.Upload{}, bytes.NewReader(nil), -1)
			return err
		},
		faultblob.Commit: func(s blob.Store) error { _, err := s.Commit(ctx, blob.Upload{}, nil, -1, d); return err },
		faultblob.Abort:  func(s blob.Store) error { return s.Abort(ctx, blob.Upload{}) },
		faultblob.List: func(s blob.Store) error {
			for _, err := range s.List(ctx, name.Digest{}) {
				return err
			}
			return nil
		},
		faultblob.Stale: func(s blob.Store) error {
			for _, err := range s.Stale(ctx, time.Now()) {
				return err
			}
			return nil
		},
	} {
		if err := call(faultblob.New(under(t), only(op, faultblob.Before))); !errors.Is(err, faultblob.ErrInjected) {
			t.Errorf("%s with a fault: got %v, want ErrInjected", op, err)
		}
		if err := call(faultblob.New(under(t), only("other", faultblob.Before))); errors.Is(err, faultblob.ErrInjected) {
			t.Errorf("%s with another's fault: got %v", op, err)
		}
	}
}

func only(op faultblob.Op, kind faultblob.Fault) func(faultblob.Op) faultblob.Fault {
	return func(got faultblob.Op) faultblob.Fault {
		if got == op {
			return kind
		}
		return faultblob.None
	}
}
