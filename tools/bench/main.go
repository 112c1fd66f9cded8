// Command bench measures ecrin and its peers side by side, in one run, on one disk, and prints how they compare with the
// speeds that the design asks for.
//
// The peers are distribution (tools/clients/install distribution builds it), a bare net/http handler that answers the same
// bytes, and nginx as a static file server. ecrin runs with authentication, the peers without. Figures assert nothing: the
// exit code tells only whether everything could be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch { // this program's other lives, as servers
	case len(args) == 4 && args[0] == "serve":
		return serveProfiled(args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "bare":
		return serveBare(args[1], args[2])
	case len(args) == 3 && args[0] == "files":
		return serveFiles(args[1], args[2])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how often each row is measured; medians are shown")
	rows := flags.String("rows", ".", "regular expression of the rows to measure")
	quick := flags.Bool("quick", false, "small data, short loads, one round: to see that it runs")
	scale := flags.Bool("scale", false, "1,000,000 images instead of 100,000")
	asJSON := flags.Bool("json", false, "print everything measured as JSON")
	dir := flags.String("dir", "", "where the servers keep their data (default the temporary directory)")
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
		rounds: *rounds, many: 100_000, length: 3 * time.Second, bigBytes: 100e6, midBytes: 50e6, parallel: 32, profiles: *profiles,
		say: func(format string, a ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", a...) },
	}
	if *scale {
		b.many = 1_000_000
	}
	if *quick {
		b.rounds, b.many, b.length, b.bigBytes, b.midBytes, b.parallel = 1, 2000, 300*time.Millisecond, 10e6, 2e6, 8
	}
	if b.rounds < 1 {
		return errors.New("-rounds: at least one is needed")
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

// whole makes a directory, builds, starts, measures and cleans up.
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
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	return b.run(ctx, only)
}
