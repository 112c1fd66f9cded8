package conformance

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// plain hides the length of a reader, so that the body is sent in chunked transfer encoding.
type plain struct{ io.Reader }

func stream(t *testing.T, r ocitest.Repo, method, path string, content []byte, header ...string) *ocitest.Answer {
	t.Helper()
	a, err := r.Try(t.Context(), method, path, plain{bytes.NewReader(content)}, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func monolithic(t *testing.T, x Target) {
	r := x.NewRepo(t)
	for i, send := range []func(content []byte, d string) *ocitest.Answer{
		func(content []byte, d string) *ocitest.Answer { // end-4a, end-6
			begun := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted).WantHeader(t, "Range", "0-0")
			if got := begun.Header.Get("Docker-Upload-Uuid"); (got == "") != x.Quirks.NoUploadUUID {
				t.Errorf("Docker-Upload-UUID is %q", got)
			}
			if len(begun.Body) > 0 {
				t.Errorf("the answer to a new upload has the body %q", begun.Body)
			}
			return r.Do(t, http.MethodPut, begun.Location(t, "digest", d), content)
		},
		func(content []byte, d string) *ocitest.Answer { // the same, without Content-Length
			return stream(t, r, http.MethodPut, r.Begin(t)+"?digest="+d, content)
		},
		func(content []byte, d string) *ocitest.Answer { // end-4b
			return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest="+d), content)
		},
		func(content []byte, d string) *ocitest.Answer { // some clients omit the last slash
			return r.Do(t, http.MethodPost, r.Path("/blobs/uploads?digest="+d), content)
		},
	} {
		for _, size := range []int{0, 1, 40_000, 300_000} {
			content := ocitest.Bytes(uint64(10+i), size)
			d := ocitest.SHA256(content)
			a := send(content, d).Want(t, http.StatusCreated).WantHeader(t, "Docker-Content-Digest", d)
			x.show(t, r, ocitest.Describe(ocitest.LayerType, content))
			if got := r.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusOK); !bytes.Equal(got.Body, content) {
				t.Errorf("method %d, %d bytes: the blob at Location has other bytes", i, size)
			}
		}
	}
}

func chunked(t *testing.T, x Target) {
	r := x.NewRepo(t)
	content := ocitest.Bytes(20, 9000)
	d := ocitest.SHA256(content)
	finish := func(a *ocitest.Answer) {
		t.Helper()
		a.Want(t, http.StatusCreated)
		x.show(t, r, ocitest.Describe(ocitest.LayerType, content))
		if got := r.Blob(t, d).Want(t, http.StatusOK); !bytes.Equal(got.Body, content) {
			t.Errorf("the blob has other bytes")
		}
		r.Do(t, http.MethodDelete, r.Path("/blobs/"+d), nil)
	}
	// Chunks with Content-Range, the last one by PUT.
	a := r.Do(t, http.MethodPatch, r.Begin(t), content[:4000], "Content-Range", "0-3999").Want(t, x.patched()).WantHeader(t, "Range", "0-3999")
	a = r.Do(t, http.MethodPatch, a.Location(t), content[4000:8000], "Content-Range", "bytes 4000-7999/*").Want(t,
		x.patched()).WantHeader(t, "Range", "0-7999")
	finish(r.Do(t, http.MethodPut, a.Location(t, "digest", d), content[8000:], "Content-Range", "8000-8999"))
	// Chunks without Content-Range are appended; one is streamed, an empty one changes nothing, and an empty PUT
	// completes.
	a = stream(t, r, http.MethodPatch, r.Begin(t), content[:5000]).Want(t, x.patched()).WantHeader(t, "Range", "0-4999")
	a = r.Do(t, http.MethodPatch, a.Location(t), []byte{}).Want(t, x.patched()).WantHeader(t, "Range", "0-4999")
	a = stream(t, r, http.MethodPatch, a.Location(t), content[5000:], "Content-Range", "5000-8999").Want(t, x.patched())
	finish(r.Do(t, http.MethodPut, a.Location(t, "digest", d), nil))
	// A chunk out of order is refused, the response has the offset at which to continue, and the upload is
	// unchanged.
	location := r.Begin(t)
	r.Do(t, http.MethodPatch, location, content[:10], "Content-Range", "5-14").WantError(t,
		http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID").WantHeader(t, "Range", "0-0")
	r.Do(t, http.MethodPatch, location, content[:4000], "Content-Range", "0-3999").Want(t, x.patched())
	for _, c := range []struct {
		method, value string
		from, to      int
	}{
		{http.MethodPatch, "0-3999", 0, 4000}, {http.MethodPatch, "3999-4008", 3999, 4009}, {http.MethodPatch, "8000-8999", 8000, 9000},
		{http.MethodPut, "8000-8999", 8000, 9000}, {http.MethodPut, "0-8999", 0, 9000},
	} {
		a = r.Do(t, c.method, location+"?digest="+d, content[c.from:c.to], "Content-Range", c.value)
		a.WantError(t, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID").WantHeader(t, "Range", "0-3999")
		if e, _ := a.Errors(); !strings.Contains(e[0].Message, "instead of 4000") {
			t.Errorf("%s with Content-Range %s: got message %q, want one that names byte 4000", c.method, c.value, e[0].Message)
		}
		r.Do(t, http.MethodGet, a.Location(t), nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-3999")
	}
	for _, value := range []string{"abc", "1-", "-5", "10-5", "0x0-0xf", "99999999999999999999-99999999999999999999", "4000-4009, 1-2"} {
		r.Do(t, http.MethodPatch, location, content[4000:4010], "Content-Range", value).WantError(t,
			http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID").
			WantHeader(t, "Range", "0-3999")
	}
	finish(r.Do(t, http.MethodPut, location+"?digest="+d, content[4000:]))
}

func uploadRefusals(t *testing.T, x Target) {
	r := x.NewRepo(t)
	content := ocitest.Bytes(21, 3000)
	d := ocitest.SHA256(content)
	location := r.Begin(t)
	r.Do(t, http.MethodPatch, location, content[:1000]).Want(t, x.patched())
	rest := content[1000:]
	// If the digest is wrong, missing or of another kind, the upload is unchanged.
	r.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256(nil), rest).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	for _, bad := range []string{"", "?digest=", "?digest=sha256:1", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e"} {
		r.Do(t, http.MethodPut, location+bad, rest).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	}
	// The length of the body differs from Content-Range, by its Content-Length or by the bytes sent.
	r.Do(t, http.MethodPatch, location, rest[:5], "Content-Range", "1000-1009").WantError(t, http.StatusBadRequest, "SIZE_INVALID")
	stream(t, r, http.MethodPatch, location, rest[:5], "Content-Range", "1000-1009").WantError(t, http.StatusBadRequest, "SIZE_INVALID")
	stream(t, r, http.MethodPatch, location, rest[:20], "Content-Range", "1000-1009").WantError(t, http.StatusBadRequest, "SIZE_INVALID")
	r.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-999")
	r.Do(t, http.MethodPut, location+"?digest="+d, rest).Want(t, http.StatusCreated)
	// The upload does not exist any more.
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		r.Do(t, method, location, nil).WantError(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	r.Do(t, http.MethodPut, location+"?digest="+d, rest).WantError(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	for _, bad := range []string{"1", "..", "%2e%2e", "00000000-0000-0000-0000-000000000000",
		"00000000000000000000000000000000", strings.Repeat("a", 4000)} {
		r.Do(t, http.MethodPatch, r.Path("/blobs/uploads/"+bad), rest).WantError(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	// A whole blob in one request leaves nothing behind either.
	r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest="+ocitest.SHA256([]byte("other"))), content).WantError(t,
		http.StatusBadRequest, "DIGEST_INVALID")
	r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?digest=latest"), content).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
}

func statusAndCancel(t *testing.T, x Target) {
	r := x.NewRepo(t)
	location := r.Begin(t)
	r.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-0")
	a := r.Do(t, http.MethodPatch, location, ocitest.Bytes(22, 500)).Want(t, x.patched())
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		s := r.Do(t, method, a.Location(t), nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-499")
		if s.Location(t) != a.Location(t) {
			t.Errorf("%s: got Location %s, want %s", s.Asked, s.Location(t), a.Location(t))
		}
	}
	r.Do(t, http.MethodDelete, location, nil).Want(t, http.StatusNoContent)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		r.Do(t, method, location, nil).WantError(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
}
