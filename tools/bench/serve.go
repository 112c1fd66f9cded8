package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	_ "net/http/pprof" // on the profile address only
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// serveProfiled runs ecrin's server in this program, with pprof on a separate address. The product has no such
// endpoint. pair has the paths of a certificate and its key, or nothing for no TLS.
func serveProfiled(data, listen, profile string, pair ...string) error {
	c := config.Default()
	if err := c.ReadEnv(os.LookupEnv); err != nil {
		return err
	}
	c.Data, c.Listen = data, []string{listen}
	if len(pair) == 2 {
		c.TLS = config.TLS{Mode: config.TLSFiles, Cert: pair[0], Key: pair[1]}
	}
	checked, err := c.Check()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		if err := http.ListenAndServe(profile, nil); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: checked.Level}))
	a, err := app.New(ctx, checked, log, time.Now)
	if err != nil {
		return err
	}
	return a.Run(ctx, func(app.Running) {})
}

// serveBare sends the bytes of a file as response to every request, with the headers that a registry must send.
func serveBare(file, listen string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	digest := digestOf(body)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", manifestType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Docker-Content-Digest", digest)
		_, _ = w.Write(body)
	})
	return http.ListenAndServe(listen, handler)
}

// serveFiles is the static file server if there is no nginx.
func serveFiles(dir, listen string) error {
	return http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
	}))
}
