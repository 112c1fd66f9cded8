package attacks_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

// Manifests of 10,000 layers that are not stored are refused a few at a time: 64 at once, by either door, fill neither the memory nor
// the processors.
func TestRefusedManifestsLeaveRoomForOthers(t *testing.T) {
	p := serve(t, "")
	root := p.Root(t)
	pushed(t, p)
	root.CreateRepository(t, "team/refused")
	login := "Host: x\r\nAuthorization: Basic " + basic("AWS", root.Password(t)) + "\r\n"
	body := manyLayers(10_000)
	byAPI, err := json.Marshal(map[string]any{"repositoryName": "team/refused", "imageTag": "x", "imageManifest": string(manyLayers(5_000))})
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range []struct {
		name string
		send func(t *testing.T, conn net.Conn) error
	}{
		{"docker", func(_ *testing.T, conn net.Conn) error {
			_, err := fmt.Fprintf(conn, "PUT /v2/team/refused/manifests/x HTTP/1.1\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", login,
				ocitest.ImageType, len(body), body)
			return err
		}},
		{"API", func(t *testing.T, conn net.Conn) error { return sign(t, p, root, "PutImage", byAPI).Write(conn) }},
	} {
		p.resetPeak(t)
		var all sync.WaitGroup
		statuses := make([]int, 64)
		for i := range statuses {
			conn := dial(t, p)
			_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
			all.Go(func() {
				if err := door.send(t, conn); err != nil {
					return
				}
				if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
					statuses[i] = resp.StatusCode
					resp.Body.Close()
				}
			})
		}
		wantPulls(t, p, 20)
		all.Wait()
		refused := 0
		for _, status := range statuses {
			if status == http.StatusNotFound || status == http.StatusBadRequest {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("%s: the statuses are %v, want some refusals of the layers", door.name, statuses)
		}
		got := p.peak(t)
		t.Logf("%s: 64 refused manifests: %d MB, %d refused for their layers", door.name, got, refused)
		if got > maxMB {
			t.Errorf("%s: 64 refused manifests of many layers: got %d MB resident, want at most %d", door.name, got, maxMB)
		}
	}
}

// manyLayers is a manifest with n layers that are not stored.
func manyLayers(n int) []byte {
	var layers []string
	for i := range n {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064x","size":1000}`, i))
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",`+
		`"digest":"sha256:%064x","size":2},"layers":[%s]}`, ocitest.ImageType, n, strings.Join(layers, ","))
}
