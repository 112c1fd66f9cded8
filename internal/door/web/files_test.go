package web_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Want of file descriptors is no fault of the program: the client may try again.
func TestNoFileDescriptorIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{&os.PathError{Op: "open", Path: "blob", Err: syscall.EMFILE}, fault.Unavailable},
		{&os.PathError{Op: "open", Path: "blob", Err: syscall.ENFILE}, fault.Unavailable},
		{&os.PathError{Op: "open", Path: "blob", Err: syscall.EIO}, fault.Internal},
		{fault.ImageNotFound.New("no such image").Because(syscall.EMFILE), fault.ImageNotFound},
	} {
		if got := web.FaultOf(fmt.Errorf("reading a blob: %w", c.err)); got.Code != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got.Code, c.want)
		}
	}
	if got := web.FaultOf(nil); got != nil {
		t.Errorf("no error: got %v, want none", got)
	}
}
