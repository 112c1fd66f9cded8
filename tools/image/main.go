// Command image writes the container image of ecrin, for linux/amd64 and linux/arm64: an OCI layout in a folder, and the same layout in a
// tar file, which containerd, podman, skopeo and docker 25 or later import. It needs no container engine. The same source gives the same
// digests.
package main

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/tools/pack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("out", "dist", "folder to write to: image/ and ecrin.oci.tar; an image that is there is replaced")
	tag := flag.String("tag", "latest", "name of the image in the layout")
	flag.Parse()
	if err := write(ctx, *out, *tag); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context, out, tag string) error {
	root, err := pack.SourceRoot(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ecrin-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // temporary
	commit := commitOf(ctx, root)
	began := time.Now()
	binaries := []pack.Binary{{Arch: "amd64"}, {Arch: "arm64"}}
	g, gctx := errgroup.WithContext(ctx)
	for i := range binaries {
		b := &binaries[i]
		b.Path = filepath.Join(work, "ecrin-"+b.Arch)
		g.Go(func() error { return pack.Compile(gctx, root, "linux", b.Arch, pack.CompileArgs(b.Path, commit)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	dir := filepath.Join(out, "image")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	image, err := pack.Build(ctx, dir, pack.Ecrin(tag), binaries)
	if err != nil {
		return err
	}
	file := filepath.Join(out, "ecrin.oci.tar")
	if err := archive(dir, file); err != nil {
		return err
	}
	fmt.Printf("%s: %s, %.1f MB, linux/amd64 and linux/arm64, in %.0f s\n%s: the same as a tar file\n", dir, image.Root.Digest,
		float64(image.Size())/1e6, time.Since(began).Seconds(), file)
	return nil
}

// commitOf returns the commit of a clean checkout; "" for another one.
func commitOf(ctx context.Context, root string) string {
	git := func(args ...string) (string, bool) {
		c := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
		text, err := c.Output()
		return strings.TrimSpace(string(text)), err == nil
	}
	if changed, ok := git("status", "--porcelain"); !ok || changed != "" {
		return ""
	}
	commit, _ := git("rev-parse", "HEAD")
	return commit
}

// archive writes the files of a folder into a tar file, in the order of their names, with fixed times.
func archive(dir, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		label, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: label + "/", Mode: 0o755, Format: tar.FormatUSTAR})
		}
		return addFile(w, path, label)
	})
	return errors.Join(err, w.Close(), f.Close())
}

func addFile(w *tar.Writer, path, label string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: label, Size: info.Size(), Mode: 0o644, Format: tar.FormatUSTAR})
	}
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}
