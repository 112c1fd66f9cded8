package faultmeta_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

func open(t *testing.T) (*meta.Store, *faultmeta.Injector) {
	t.Helper()
	dir := t.TempDir()
	s, err := meta.OpenSQLite(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		faultmeta.In(dir).Disarm()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, faultmeta.In(dir)
}

// Without a fault the store behaves as with the driver of SQLite.
func TestPassesOn(t *testing.T) {
	slowtest.Only(t, "TestContract of meta runs the same through the driver")
	t.Parallel()
	metatest.Run(t, func(t *testing.T) *meta.Store { s, _ := open(t); return s })
}

// The chosen statement fails, once, with its kind of fault.
func TestFaults(t *testing.T) {
	t.Parallel()
	s, faults := open(t)
	fx := metatest.NewFixture(t, s)
	fx.Repo("team/a")
	fx.Repo("team/b")
	reg := metatest.Registry
	list := func() (int, error) {
		all, err := s.Repositories(t.Context(), reg, "", 100)
		return len(all), err
	}
	if n, err := list(); n != 2 || err != nil {
		t.Fatalf("without a fault: got %d repositories, %v, want 2", n, err)
	}
	for f := range faultmeta.Faults {
		faults.Arm(1, f)
		if _, err := list(); !errors.Is(err, faultmeta.ErrInjected) {
			t.Errorf("a query with the fault %s: got %v, want ErrInjected", f, err)
		}
		if n, err := list(); n != 2 || err != nil {
			t.Errorf("the query after the fault %s: got %d, %v, want 2", f, n, err)
		}
		if failed, n := faults.Disarm(); len(failed) != 1 || n < 2 {
			t.Errorf("fault %s: got %d failed of %d statements, want 1 of 2 or more", f, len(failed), n)
		}
	}
	// A statement that has taken effect although it failed: the outcome of a commit is unknown.
	for f, there := range map[faultmeta.Fault]bool{faultmeta.Before: false, faultmeta.After: true} {
		repo, err := name.ParseRepo("commit/" + f.String())
		if err != nil {
			t.Fatal(err)
		}
		faults.ArmText("COMMIT", 1, f)
		_, err = s.CreateRepository(t.Context(), meta.Repository{Registry: reg, Name: repo, CreatedAt: time.Now(),
			Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}, nil)
		if failed, _ := faults.Disarm(); !errors.Is(err, faultmeta.ErrInjected) || !slices.Equal(failed, []string{"COMMIT"}) {
			t.Errorf("COMMIT with the fault %s: got %v, failed %q", f, err, failed)
		}
		if _, err := s.Repository(t.Context(), reg, repo); (err == nil) != there {
			t.Errorf("after COMMIT with the fault %s: reading the repository gives %v, want it there: %t", f, err, there)
		}
	}
	faults.ArmAll("", faultmeta.Before)
	for range 3 {
		if _, err := list(); !errors.Is(err, faultmeta.ErrInjected) {
			t.Errorf("with all statements failing: got %v", err)
		}
	}
}
