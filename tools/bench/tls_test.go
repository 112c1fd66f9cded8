package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A load of a server with TLS uses TLS, and trusts only its certificate.
func TestLoadOverTLS(t *testing.T) {
	t.Parallel()
	c, err := makeCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			t.Error("a request without TLS")
		}
		_, _ = w.Write(make([]byte, 100_000))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	d := &door{process: &process{name: "test", address: strings.TrimPrefix(server.URL, "https://"), tls: c.client}}
	o, err := load(d.dial, 2, 50*time.Millisecond, http.StatusOK, func(int) stream { return again(d.request("GET", "/", 0)) })
	if err != nil || o.requests == 0 {
		t.Errorf("load over TLS: %d requests, %v, want some and no error", o.requests, err)
	}
	other, err := makeCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d.tls = other.client
	if _, err := d.dial(); err == nil {
		t.Error("dialling a server with another certificate: got no error")
	}
}

// Blobs of both sizes are compared with each number of streams, plain and with TLS, in rate, p50 and p99.
func TestRowsOfStaticFiles(t *testing.T) {
	t.Parallel()
	b := &bench{ecrin: &door{}, static: &door{}, secure: &door{}, secureStatic: &door{}, big: make([]byte, 100e6), medium: make([]byte, 10e6)}
	var all []string
	for _, r := range b.staticRows() {
		all = append(all, r.name)
		if strings.Contains(r.name, "TLS") != (r.prepare != nil) {
			t.Errorf("%s: only servers with TLS are started for the row", r.name)
		}
		if strings.HasPrefix(r.name, "blob") && len(r.targets) != 3 {
			t.Errorf("%s: got %d targets, want rate, p50 and p99", r.name, len(r.targets))
		}
	}
	want := []string{"blob GET 10 MB, one stream", "blob GET 100 MB, 4 streams", "blob GET 100 MB, 8 streams"}
	if nginxPath() != "" {
		want = append(want, "blob GET 10 MB over TLS, 8 streams", "manifest GET by tag over TLS and static file, 32 connections")
	}
	text := strings.Join(all, "\n") + "\n"
	for _, name := range want {
		if !strings.Contains(text, name+"\n") {
			t.Errorf("the rows lack %q:\n%s", name, text)
		}
	}
}
