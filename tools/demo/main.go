// Demo shows ecrin at work on this machine: it builds the program, starts a server in a fresh directory, packs an image,
// and then does what a person does with ECR, by the same two protocols: create a repository, log in, push, move a tag,
// list, describe and pull, comparing every digest. At the end another account pulls: refused, explained, granted, done.
//
// It needs nothing but Go. Each step prints the command that a person would type. Any difference between what was sent
// and what comes back ends it with exit status 1.
//
// Usage, from anywhere in the module:
//
//	go run ./tools/demo [-v] [-image PATH [-name NAME]] [-keep] [-ecrin PROGRAM]
//
// The environment variables IMAGE (an OCI layout or docker archive to use), IMAGE_NAME, KEEP=1 (do not remove the
// directory) and NO_COLOR stand for flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ecrin-dev/ecrin/internal/pack"
)

func main() {
	signal.Ignore(syscall.SIGPIPE) // "demo | head" must not leave a server behind
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(os.Stderr, "demo:", err)
	os.Exit(1)
}

// settings are the flags.
type settings struct {
	verbose bool
	keep    bool
	image   string // path; "" packs ecrin itself
	name    string // which image of several
	ecrin   string // path; "" builds it
}

func parse(args []string, getenv func(string) string) (s settings, err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.BoolVar(&s.verbose, "v", false, "show every HTTP request and the server's log")
	flags.BoolVar(&s.keep, "keep", getenv("KEEP") == "1", "keep the directory (or set KEEP=1)")
	flags.StringVar(&s.image, "image", getenv("IMAGE"), "OCI layout or docker archive to push, instead of ecrin itself (or set IMAGE)")
	flags.StringVar(&s.name, "name", getenv("IMAGE_NAME"), "which image, where the archive has several (or set IMAGE_NAME)")
	flags.StringVar(&s.ecrin, "ecrin", "", "program to use, instead of building it")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return s, nil
}

// run is the whole demo, in a directory of its own, which is gone afterwards unless it is to be kept.
func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	s, err := parse(args, getenv)
	if err != nil {
		return err
	}
	if s.image != "" { // before a build that may take a minute
		if _, err := os.Stat(s.image); err != nil {
			return fmt.Errorf("opening image %s: %w", s.image, err)
		}
	}
	out := newScreen(stdout, getenv, s.verbose)
	began := time.Now()
	work, err := os.MkdirTemp("", "ecrin-demo-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() {
		if s.keep {
			out.note("kept %s; to go on: %s serve --data %s", work, shell([]string{s.ecrin}), filepath.Join(work, "data"))
			return
		}
		err = errors.Join(err, os.RemoveAll(work))
	}()

	binaries, err := buildAll(ctx, out, &s, filepath.Join(work, "bin"))
	if err != nil {
		return err
	}
	image, err := packImage(ctx, out, &s, binaries, filepath.Join(work, "image"))
	if err != nil {
		return err
	}
	server, err := startServer(ctx, out, s.ecrin, filepath.Join(work, "data"))
	if err != nil {
		return err
	}
	result, err := visit(ctx, out, server, image, filepath.Join(work, "pulled"))
	if err := errors.Join(err, server.stop(out)); err != nil {
		return err
	}
	out.ok("%d blobs, %s: pushed in %s, pulled in %s, all %d digests equal; %s in all",
		len(image.Blobs), size(image.Size()), took(result.push), took(result.pull), result.compared, took(time.Since(began)))
	return nil
}

// packImage makes the layout to push.
func packImage(ctx context.Context, out *screen, s *settings, binaries []pack.Binary, dir string) (image *pack.Image, err error) {
	began := time.Now()
	if s.image != "" {
		done := out.wait("reading " + s.image)
		image, err = pack.Open(ctx, s.image, dir, pack.Options{Name: s.name})
		done()
		if err != nil {
			return nil, err
		}
		out.step("Open the image", "skopeo copy --all %s:%s oci:%s", image.Form, shell([]string{s.image}), dir)
	} else {
		out.step("Pack the programs as one multi-arch OCI image",
			"docker buildx build --platform linux/amd64,linux/arm64 --output type=oci,tar=false,dest=%s .", dir)
		if image, err = pack.Build(ctx, dir, ecrinImage, binaries); err != nil {
			return nil, err
		}
	}
	if image.Form != "" && image.Name != "" {
		out.note("%q", image.Name)
	}
	out.note("%s, manifests: %d, blobs: %d, %s, in %s", image.Root.Digest, len(image.Manifests()), len(image.Blobs), size(image.Size()), took(time.Since(began)))
	return image, nil
}
