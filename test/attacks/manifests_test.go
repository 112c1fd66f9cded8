package attacks_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Large manifests cost no memory while clients take their time: 200 that are pulled and not read, and 200 whose last byte does not come.
func TestLargeManifestsOfSlowClientsCostNoMemory(t *testing.T) {
	p := serve(t, "")
	root := p.Root(t)
	digest, _ := largestImage(t, root, "team/big")
	pushed(t, p)
	login := "Host: x\r\nAuthorization: Basic " + basic("AWS", root.Password(t)) + "\r\n"
	p.resetPeak(t)
	for range 200 {
		_, _ = io.WriteString(dial(t, p), "GET /v2/team/big/manifests/"+digest+" HTTP/1.1\r\n"+login+"\r\n")
	}
	body := strings.Repeat("x", 3_900_000)
	var all sync.WaitGroup
	for range 200 {
		conn := dial(t, p)
		all.Go(func() {
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = fmt.Fprintf(conn, "PUT /v2/team/big/manifests/x HTTP/1.1\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
				login, ocitest.ImageType, len(body), body[1:])
		})
	}
	all.Wait()
	wantPulls(t, p, 20)
	p.Root(t).Docker(t).Repo("team/big").Manifest(t, digest).Want(t, http.StatusOK)
	got := p.peak(t)
	t.Logf("400 large manifests of slow clients: %d MB", got)
	if got > maxMB {
		t.Errorf("400 large manifests of slow clients: got %d MB resident, want at most %d", got, maxMB)
	}
}
