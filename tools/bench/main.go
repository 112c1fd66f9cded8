// Command bench measures ecrin and other servers side by side, in one run and on one disk, and compares the
// figures with the targets of the design.
//
// The other servers are distribution (built by tools/clients/install distribution), a net/http handler that
// sends the same bytes, and nginx as a static file server. ecrin runs with authentication, the others without.
// A missed target is not an error: the exit status reports only whether everything could be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch { // this program runs as a server too
	case len(args) >= 4 && args[0] == "serve":
		return serveProfiled(args[1], args[2], args[3], args[4:]...)
	case len(args) == 2 && args[0] == "attack":
		return attack(os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "bare":
		return serveBare(args[1], args[2])
	case len(args) == 3 && args[0] == "files":
		return serveFiles(args[1], args[2])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 3, "number of measurements of each row, of attacks one; medians are shown")
	rows := flags.String("rows", ".", "regular expression of the rows to measure")
	quick := flags.Bool("quick", false, "small data, short loads, one round: to check that bench works")
	scale := flags.Bool("scale", false, "1,000,000 images instead of 100,000")
	asJSON := flags.Bool("json", false, "print everything measured as JSON")
	dir := flags.String("dir", "", "directory of the servers' data (default the temporary directory)")
	profiles := flags.String("profile", "", "directory for processor profiles of ecrin, one for each row")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	only, err := regexp.Compile(*rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	b := &bench{
		engines: map[string]*process{},
		rounds:  *rounds, many: 100_000, length: 3 * time.Second, bigBytes: 100e6,
		mediumBytes: 10e6, imageBytes: 200e6, midBytes: 50e6, parallel: 32, profiles: *profiles,
		say: func(format string, a ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", a...) },
	}
	if *scale {
		b.many = 1_000_000
	}
	if *quick {
		b.rounds, b.many, b.length, b.parallel = 1, 2000, 300*time.Millisecond, 8
		b.bigBytes, b.mediumBytes, b.midBytes, b.imageBytes = 10e6, 1e6, 2e6, 5e6
	}
	if b.rounds < 1 {
		return errors.New("-rounds: the minimum is 1")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := b.whole(ctx, *dir, only)
	if err != nil {
		return err
	}
	if *asJSON {
		return r.json(os.Stdout)
	}
	return r.text(os.Stdout)
}

// whole creates a directory, builds, starts, measures and cleans up.
func (b *bench) whole(ctx context.Context, dir string, only *regexp.Regexp) (r *report, err error) {
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp(dir, "ecrin-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return nil, err
		}
	}
	if b.ecrinPath, err = buildEcrin(ctx, b.dir); err != nil {
		return nil, err
	}
	b.data = filepath.Join(b.dir, "ecrin-data")
	b.big, b.medium = randomBytes(2, b.bigBytes), randomBytes(4, b.mediumBytes)
	for _, d := range []**door{&b.ecrin, &b.dist, &b.bare, &b.static, &b.attacked, &b.secure, &b.secureStatic, &b.plain, &b.working} {
		*d = &door{}
	}
	if pgtest.Installed() {
		b.postgres = &door{}
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if slices.ContainsFunc(b.chosen(only), func(r row) bool { return r.prepare == nil }) {
		if err := b.setUp(ctx); err != nil {
			return nil, err
		}
	}
	return b.run(ctx, only)
}
