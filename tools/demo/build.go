package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/tools/pack"
)

// platform is the operating system and the architecture of a program.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// buildAll builds the programs that are needed, all at once, and sets s.ecrin to the one for this machine. The programs for
// the image are not built if another image is used.
func buildAll(ctx context.Context, out *screen, s *settings, dir string) (binaries []pack.Binary, err error) {
	here := platform{runtime.GOOS, runtime.GOARCH}
	var all []platform
	if s.image == "" {
		all = []platform{{"linux", "amd64"}, {"linux", "arm64"}}
	}
	if s.ecrin == "" && !slices.Contains(all, here) {
		all = append(all, here)
	}
	if len(all) == 0 {
		return nil, nil
	}
	paths, err := build(ctx, out, dir, all)
	if err != nil {
		return nil, err
	}
	if s.image == "" {
		for _, p := range all[:2] {
			binaries = append(binaries, pack.Binary{Arch: p.arch, Path: paths[p]})
		}
	}
	if s.ecrin == "" {
		s.ecrin = paths[here]
	}
	return binaries, nil
}

// build compiles ecrin for the platforms, in parallel, and returns the paths of the programs. They contain neither paths nor the state of
// the working tree, so that the same source gives the same image.
func build(ctx context.Context, out *screen, dir string, all []platform) (map[platform]string, error) {
	paths, commands, names := map[platform]string{}, map[platform][]string{}, make([]string, len(all))
	for i, p := range all {
		names[i] = p.String()
		paths[p] = filepath.Join(dir, "ecrin-"+p.os+"-"+p.arch)
		commands[p] = pack.CompileArgs(paths[p], "")
		line := fmt.Sprintf("CGO_ENABLED=0 GOOS=%s GOARCH=%s go %s", p.os, p.arch, shell(commands[p]))
		if i == 0 {
			out.step("Build ecrin", "%s", line)
		} else {
			out.also("%s", line)
		}
	}
	root, err := pack.SourceRoot(ctx)
	if err != nil {
		return nil, err
	}
	done := out.wait("building for " + strings.Join(names, ", ") + "; the first time takes a minute or two")
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range all {
		g.Go(func() error {
			began := time.Now()
			if err := pack.Compile(ctx, root, p.os, p.arch, commands[p]); err != nil {
				return err
			}
			info, err := os.Stat(paths[p])
			if err == nil {
				out.note("%s: %s in %s", p, size(info.Size()), took(time.Since(began)))
			}
			return err
		})
	}
	err = g.Wait()
	done()
	return paths, err
}
