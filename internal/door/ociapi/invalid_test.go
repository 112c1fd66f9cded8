package ociapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// An upload that is completed with what is no digest is refused with a text that has it, and goes on.
func TestCompletionWithAnInvalidDigest(t *testing.T) {
	t.Parallel()
	repo := apptest.Start(t, apptest.Options{}).Root(t).CreateRepository(t, "app")
	upload, data := repo.Begin(t), []byte("some bytes")
	for _, digest := range []string{"", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", strings.ToUpper(ocitest.SHA256(data))} {
		a := repo.Do(t, http.MethodPut, upload+"?digest="+digest, data).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
		if !strings.Contains(string(a.Body), `got \"`+digest+`\"`) {
			t.Errorf("digest %q: got %s, want a text with it", digest, a.Body)
		}
	}
	repo.Do(t, http.MethodPut, upload+"?digest="+ocitest.SHA256(data), data).Want(t, http.StatusCreated)
}
