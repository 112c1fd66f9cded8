package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/apply"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// ephemeral makes the data directory of a server whose data are deleted when it stops, and returns the function that deletes them.
//
// Errors: the directory contains something, which is not deleted.
func ephemeral(cfg *config.Checked) (remove func() error, err error) {
	if cfg.Data == config.Default().Data {
		if cfg.Data, err = os.MkdirTemp("", "ecrin-"); err != nil {
			return nil, fmt.Errorf("making the folder of an ephemeral server: %w", err)
		}
	} else {
		found, err := os.ReadDir(cfg.Data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the folder of an ephemeral server: %w", err)
		}
		if len(found) > 0 {
			return nil, fmt.Errorf("%s is not empty: --ephemeral deletes the data directory in the end; name an empty one, or leave out --data",
				cfg.Data)
		}
	}
	dir := absolute(cfg.Data)
	return func() error {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("deleting the data of an ephemeral server: %w", err)
		}
		return nil
	}, nil
}

// readSeeds reads the files of the setting seed.
func readSeeds(paths []string) (seeds []apply.File, err error) {
	for _, path := range paths {
		if path == "-" {
			return nil, errors.New("a file of the setting seed cannot be standard input")
		}
		f, err := readApplied(path)
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, f)
	}
	return seeds, nil
}

// seed applies files to the server that runs in this process.
func (c *commands) seed(ctx context.Context, cfg config.Checked, seeds []apply.File) error {
	if len(seeds) == 0 {
		return nil
	}
	s, err := client.Open(cfg.Data, c.lookup(identity.MasterKeyVariable, ""))
	if err != nil {
		return err
	}
	for i, f := range seeds {
		plan, err := apply.New(ctx, &applied{Client: s, known: map[string]aws.Config{}}, f)
		n := 0
		if err == nil {
			err = plan.Apply(ctx, func(*apply.Change) { n++ })
		}
		if err != nil {
			return fmt.Errorf("applying %s: %w", cfg.Seed[i], err)
		}
		c.say("%s: %s", cfg.Seed[i], appliedSummary(n, false))
	}
	return nil
}
