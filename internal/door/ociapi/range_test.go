package ociapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A header Range that RFC 9110 does not define is ignored: the answer is the whole blob. HEAD has no ranges.
func TestBlobRangesFollowTheStandard(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "app")
	content := ocitest.Bytes(1, 1000)
	path := repo.Path("/blobs/" + repo.PutBlob(t, content))
	for _, value := range []string{
		"items=0-1", "items=5-2", "bytes=5-2", "bytes=0-1,5-2", "bytes=", "bytes=,", "bytes", "=0-1", "bytes=a-b", "bytes=-",
		"bytes=1", "bytes=--5", "bytes=+1-5", "bytes=0x1-5", "bytes=1 - 5", "bytes 0-1", "bytes=" + strings.Repeat("0-0,", 101),
	} {
		a := repo.Do(t, http.MethodGet, path, nil, "Range", value).Want(t, http.StatusOK).WantHeader(t, "Content-Range", "").
			WantHeader(t, "Content-Length", "1000")
		if string(a.Body) != string(content) {
			t.Errorf("Range %s: got %d bytes, want all of the blob", value, len(a.Body))
		}
	}
	for value, want := range map[string]string{
		"bytes=0-1": "0-1", "Bytes=0-1": "0-1", "bytes= 0-1": "0-1", "bytes=,0-1,": "0-1", "bytes=998-99999999999999999999": "998-999",
		"bytes=-99999999999999999999": "0-999", "bytes=0-1,1000-": "0-1", "bytes=0-1,-0": "0-1", "bytes=000-001": "0-1",
	} {
		a := repo.Do(t, http.MethodGet, path, nil, "Range", value).Want(t, http.StatusPartialContent).
			WantHeader(t, "Content-Range", "bytes "+want+"/1000")
		var from, to int
		if _, err := fmt.Sscanf(want, "%d-%d", &from, &to); err != nil || string(a.Body) != string(content[from:to+1]) {
			t.Errorf("Range %s: got %d bytes, want those of %s (%v)", value, len(a.Body), want, err)
		}
	}
	for _, value := range []string{"bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999-", "bytes=5000-,-0"} {
		repo.Do(t, http.MethodGet, path, nil, "Range", value).WantError(t, http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID").
			WantHeader(t, "Content-Range", "bytes */1000")
	}
	for _, value := range []string{"bytes=0-1", "bytes=1000-", "bytes=5-2", "items=0-1"} {
		repo.Do(t, http.MethodHead, path, nil, "Range", value).Want(t, http.StatusOK).WantHeader(t, "Content-Length", "1000").
			WantHeader(t, "Content-Range", "").WantHeader(t, "Accept-Ranges", "bytes")
	}
	// A range of an empty blob is ignored as package http does: some clients send 0- with every request.
	empty := repo.Path("/blobs/" + repo.PutBlob(t, nil))
	repo.Do(t, http.MethodGet, empty, nil, "Range", "bytes=0-").Want(t, http.StatusOK).WantHeader(t, "Content-Length", "0")
}

// The result for any header is ignored, or has ranges within the content in the form of package http.
func FuzzByteRanges(f *testing.F) {
	f.Add("bytes=0-1, 5-", int64(10))
	f.Add("bytes=-3", int64(2))
	f.Add("items=0-1", int64(2))
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return
		}
		got := ociapi.ByteRanges(value, size)
		if got == "" || got == fmt.Sprintf("bytes=%d-", size) {
			return
		}
		for _, one := range strings.Split(strings.TrimPrefix(got, "bytes="), ",") {
			var from, to int64
			if _, err := fmt.Sscanf(one, "%d-%d", &from, &to); err != nil || from < 0 || from > to || to >= size {
				t.Errorf("ByteRanges(%q, %d) = %q", value, size, got)
			}
		}
	})
}
