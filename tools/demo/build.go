package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/tools/pack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ecrinImage describes the image of ecrin itself. In a container, the server has to listen on all addresses of
// the container.
var ecrinImage = pack.Spec{
	File:    "ecrin",
	Cmd:     []string{"serve", "--data", "/data", "--listen", "0.0.0.0:5100"},
	Ports:   map[string]struct{}{"5100/tcp": {}},
	Volumes: map[string]struct{}{"/data": {}},
	Name:    firstTag,
	Labels: map[string]string{
		ocispec.AnnotationTitle:       "ecrin",
		ocispec.AnnotationDescription: "Amazon ECR that you run yourself",
		ocispec.AnnotationSource:      "https://github.com/ecrin-dev/ecrin",
		ocispec.AnnotationLicenses:    "Apache-2.0",
	},
}

// buildAll builds the programs that are needed, and sets s.ecrin to the one for this machine. The programs for
// the image are not built if another image is used.
func buildAll(ctx context.Context, out *screen, s *settings, dir string) (binaries []pack.Binary, err error) {
	built := map[string]string{} // by platform
	build := func(goos, goarch string) (string, error) {
		platform := goos + "/" + goarch
		if built[platform] != "" {
			return built[platform], nil
		}
		path, err := build(ctx, out, dir, goos, goarch)
		built[platform] = path
		return path, err
	}
	if s.image == "" {
		for _, arch := range []string{"amd64", "arm64"} {
			path, err := build("linux", arch)
			if err != nil {
				return nil, err
			}
			binaries = append(binaries, pack.Binary{Arch: arch, Path: path})
		}
	}
	if s.ecrin == "" {
		s.ecrin, err = build(runtime.GOOS, runtime.GOARCH)
	}
	return binaries, err
}

// build compiles ecrin for one platform. The program contains neither paths nor the state of the working tree,
// so that the same source gives the same image.
func build(ctx context.Context, out *screen, dir, goos, goarch string) (string, error) {
	path := filepath.Join(dir, "ecrin-"+goos+"-"+goarch)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "./cmd/ecrin"}
	out.step("Build ecrin for "+goos+"/"+goarch, "CGO_ENABLED=0 GOOS=%s GOARCH=%s go %s", goos, goarch, shell(args))
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	if info, err := os.Stat(filepath.Join(root, "cmd", "ecrin")); err != nil || !info.IsDir() {
		return "", fmt.Errorf("run this inside of ecrin's source: %s has no cmd/ecrin", root)
	}
	began := time.Now()
	done := out.wait("building; the first time takes a minute or two")
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	text, err := command.CombinedOutput()
	done()
	if err != nil {
		return "", fmt.Errorf("building ecrin for %s/%s: %w\n%s", goos, goarch, err, text)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	out.note("%s in %s", size(info.Size()), took(time.Since(began)))
	return path, nil
}
