// Demo shows ecrin on this machine: it builds the program, starts a server in a new directory, packs an image,
// and then performs the usual tasks of ECR with the same two protocols: create a repository, log in, push, move
// a tag, list, describe and pull, and compare every digest. At the end another account pulls: the pull is
// refused, explained, granted and repeated.
//
// It needs only Go. Each step prints the equivalent command. If any content differs from what was sent, the
// demo ends with exit status 1.
//
// Usage, from anywhere in the module:
//
//	go run ./tools/demo [-v] [-image PATH [-name NAME]] [-keep] [-ecrin PROGRAM]
//
// The environment variables IMAGE (the OCI layout or docker archive to push), IMAGE_NAME, KEEP=1 (do not remove the
// directory) and NO_COLOR have the effect of the flags. DEMO_DATABASE is the address of an empty PostgreSQL database for the
// metadata.
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

	"github.com/ecrin-dev/ecrin/tools/pack"
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

// settings are the values of the flags.
type settings struct {
	verbose bool
	keep    bool
	image   string // path; "" means ecrin itself
	name    string // selects an image if there are several
	ecrin   string // path; "" means to build it
	// database is the address of a PostgreSQL database for the metadata, "" for SQLite. It may hold a password.
	database string
}

func parse(args []string, getenv func(string) string) (s settings, err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.BoolVar(&s.verbose, "v", false, "show every HTTP request and the server's log")
	flags.BoolVar(&s.keep, "keep", getenv("KEEP") == "1", "keep the directory (or set KEEP=1)")
	flags.StringVar(&s.image, "image", getenv("IMAGE"), "OCI layout or docker archive to push, instead of ecrin itself (or set IMAGE)")
	flags.StringVar(&s.name, "name", getenv("IMAGE_NAME"), "which image, where the archive has several (or set IMAGE_NAME)")
	flags.StringVar(&s.ecrin, "ecrin", "", "program to use, instead of building it")
	s.database = getenv("DEMO_DATABASE") // no flag: other users of the machine can read those
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return s, nil
}

// run runs the whole demo in a new directory, which it removes at the end unless the directory is to be kept.
func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	s, err := parse(args, getenv)
	if err != nil {
		return err
	}
	if s.image != "" { // before the build, which may take a minute
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
			out.note("kept %s; to continue: %s serve --data %s", work, shell([]string{s.ecrin}), filepath.Join(work, "data"))
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
	server, err := startServer(ctx, out, s.ecrin, filepath.Join(work, "data"), s.database)
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

// packImage writes the layout to push.
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
		if image, err = pack.Build(ctx, dir, pack.Ecrin(firstTag), binaries); err != nil {
			return nil, err
		}
	}
	if image.Form != "" && image.Name != "" {
		out.note("%q", image.Name)
	}
	out.note("%s, manifests: %d, blobs: %d, %s, in %s", image.Root.Digest, len(image.Manifests()), len(image.Blobs),
		size(image.Size()), took(time.Since(began)))
	return image, nil
}
