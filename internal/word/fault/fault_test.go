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
		t.Errorf("%v is not what it was made of", err)
	}
	e := fault.From(err)
	if e.Code != fault.ImageNotFound || e.Public != "no image x" || e.Fields["size"] != 3 {
		t.Errorf("From = %+v", e)
	}
	if got := fault.From(io.EOF); got.Code != fault.Internal || got.Public != "internal error" || !errors.Is(got, io.EOF) {
		t.Errorf("From(an error without a code) = %+v, want an internal error that keeps its cause to itself", got)
	}
	if fault.From(nil) != nil {
		t.Error("From(nil) is an error")
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
			t.Errorf("%s has the class %s, want one that says what the caller can do", c, class)
		}
		used[c.Class()] = true
	}
	names := map[string]bool{}
	for _, class := range fault.Classes() {
		if n := class.String(); n == "" || n == "Class(0)" || names[n] || !used[class] {
			t.Errorf("the class %d has the name %q and codes: %t; want a name of its own and codes", class, n, used[class])
		}
		names[class.String()] = true
	}
	for _, none := range []fault.Code{0, 60000} {
		if got := none.Class(); got != fault.ClassInternal {
			t.Errorf("what is no code has the class %s, want %s", got, fault.ClassInternal)
		}
	}
}

func TestEveryCodeHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range fault.Codes() {
		if n := c.String(); n == "" || n == "Code(0)" || seen[n] {
			t.Errorf("code %d has the name %q, which is none or not its own", c, n)
		} else {
			seen[n] = true
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d codes, want all", len(seen))
	}
}
