package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("pushing: %w", fault.ImageNotFound.New("no image %s", "x").Because(io.ErrUnexpectedEOF).With("size", 3))
	if !errors.Is(err, fault.ImageNotFound) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fault.BlobNotFound) {
		t.Errorf("errors.Is of %v: want it to match ImageNotFound and the cause, and no other code", err)
	}
	e := fault.From(err)
	if e.Code != fault.ImageNotFound || e.Public != "no image x" || e.Fields["size"] != 3 {
		t.Errorf("From = %+v", e)
	}
	if got := fault.From(io.EOF); got.Code != fault.Internal || got.Public != "internal error" || !errors.Is(got, io.EOF) {
		t.Errorf("From(an error without a code) = %+v, want an internal error with the cause, which the public text does not show", got)
	}
	if fault.From(nil) != nil {
		t.Error("From(nil): got an error, want nil")
	}
	if got := fault.From(fault.Throttled); got.Code != fault.Throttled {
		t.Errorf("From(a bare code) = %+v", got)
	}
}

func TestEveryCodeHasAClass(t *testing.T) {
	t.Parallel()
	used := map[fault.Class]bool{}
	for _, c := range fault.Codes() {
		if class := c.Class(); class == 0 || class == fault.ClassInternal && c != fault.Internal {
			t.Errorf("%s has the class %s, want a class other than internal", c, class)
		}
		used[c.Class()] = true
	}
	names := map[string]bool{}
	for _, class := range fault.Classes() {
		if n := class.String(); n == "" || n == "Class(0)" || names[n] || !used[class] {
			t.Errorf("the class %d has the name %q and codes: %t; want a unique name and codes", class, n, used[class])
		}
		names[class.String()] = true
	}
	for _, unknown := range []fault.Code{0, 60000} {
		if got := unknown.Class(); got != fault.ClassInternal {
			t.Errorf("Code(%d).Class() = %s, want %s", uint16(unknown), got, fault.ClassInternal)
		}
	}
}

func TestEveryCodeHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range fault.Codes() {
		if n := c.String(); n == "" || n == "Code(0)" || seen[n] {
			t.Errorf("code %d has the name %q, want a unique name", c, n)
		} else {
			seen[n] = true
		}
	}
	if len(seen) < 50 {
		t.Errorf("Codes() has %d codes, want at least 50", len(seen))
	}
}
