package awsapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// trickle opens a connection, sends a request of 32 MiB with a signature that the key did not make, then some of its bytes and a byte
// more every second until the test ends or the connection does.
func (s *server) trickle(key, service string, first int) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", ecrTarget+"UploadLayerPart")
	made := aws.Credentials{AccessKeyID: key, SecretAccessKey: "made up"}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), made, r, hash("made up"), service, region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	text := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.Host, 32<<20)
	for k, v := range r.Header {
		text += k + ": " + v[0] + "\r\n"
	}
	if _, err := conn.Write([]byte(text + "\r\n" + strings.Repeat("x", first))); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range tick.C {
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	return conn
}

// wantParts uploads 5 MiB parts as an honest client does beside an attack: each succeeds, soon, and without being told to slow down.
func (s *server) wantParts(repo string, n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	id := s.must("InitiateLayerUpload", object("repositoryName", repo))["uploadId"]
	content := strings.Repeat("p", 5<<20)
	for i := range n {
		start := time.Now()
		a := s.send(raw{
			key: s.key, target: ecrTarget + "UploadLayerPart", body: part(repo, id, i*len(content), content),
			before: func(r *http.Request) { *r = *r.WithContext(ctx) },
		})
		if took := time.Since(start); a.Status != http.StatusOK || took > 5*time.Second {
			s.t.Errorf("part %d: got %d %s after %v, want 200 within 5s", i, a.Status, clip(a.Body), took)
		}
	}
}

// The operator's key id is a constant that everybody knows. It is known in signatures for ecrin's own service only, so that a
// request to another service is refused before its body is read.
func TestOperatorKeyMeansNothingOutsideItsService(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	conn := s.trickle(identity.OperatorKeyID, "ecr", 1)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the operator's key id for ecr, the body still to come: got %v, want an answer", err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Amzn-Errortype"); got != "UnrecognizedClientException" {
		t.Errorf("the operator's key id for ecr: got %d %s, want UnrecognizedClientException", resp.StatusCode, got)
	}
}

// Large bodies with signatures that are made up take no place of those that are verified, whatever key they name: the operator's,
// another account's or the honest client's own.
func TestUnverifiedBodiesTakeNoPlace(t *testing.T) {
	slowtest.Only(t, "it fills the server with large bodies")
	t.Parallel()
	for _, attacker := range []string{"operator", "another account", "the same key"} {
		t.Run(attacker, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(c *config.Config) { c.LogLevel = "error" })
			s.repository("team/app")
			key, service := s.key.AccessKeyID, "ecr"
			switch attacker {
			case "operator":
				key, service = identity.OperatorKeyID, "ecrin"
			case "another account":
				key = s.account("111122223333").AccessKeyID
			}
			for range 300 {
				s.trickle(key, service, 64<<10)
			}
			s.wantParts("team/app", 8)
		})
	}
}

// A request without a signature is refused by its header, before any of its body has come, unless it can be one of the operations of
// STS that need none: a small form.
func TestUnsignedRequestIsRefusedByItsHeader(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, header := range []string{
		"Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: " + ecrTarget + "PutImage\r\nContent-Length: 1048576",
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1048576",
		"Content-Type: text/plain\r\nTransfer-Encoding: chunked",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", header); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%q: got %v, want an answer", header, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusForbidden {
			t.Errorf("%q: got %d, want 400 or 403", header, resp.StatusCode)
		}
	}
}
