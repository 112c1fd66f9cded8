package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/apply"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/rule/assertion"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// offline runs a server for the time of do that has the accounts, repositories and policies of a file of tests, and nothing else. Its
// data are in a folder that is deleted afterwards. Paths in the file are relative to dir.
//
// Errors: a file that cannot be read or is not valid; those of do.
func (c *commands) offline(ctx context.Context, f *assertion.File, dir string, do func(*client.Client) error) (err error) {
	seeds, err := seedsOf(f, dir)
	if err != nil {
		return err
	}
	cfg := config.Default()
	cfg.Listen, cfg.Account, cfg.Region = []string{"127.0.0.1:0"}, f.Registry.Account.String(), f.Registry.Region.String()
	checked, err := cfg.Check()
	if err != nil {
		return err
	}
	checked.Seed = append(slices.Clone(f.Files), "the policies of the tests")
	remove, err := ephemeral(&checked)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a, err := app.New(ctx, checked, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return err
	}
	quiet := *c
	quiet.Err = io.Discard
	var failed error
	err = a.Run(ctx, func(app.Running) {
		defer stop()
		s, err := client.Open(checked.Data, "")
		if err == nil {
			err = quiet.seed(ctx, checked, seeds)
		}
		if err == nil {
			err = do(s)
		}
		failed = err
	})
	return errors.Join(failed, err)
}

// seedsOf returns the state that a file of tests describes.
func seedsOf(f *assertion.File, dir string) (seeds []apply.File, err error) {
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	for _, path := range f.Files {
		one, err := readApplied(at(path))
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, one)
	}
	w := written{home: f.Registry, accounts: map[string]apply.Account{}, seeds: seeds}
	w.account(f.Registry.Account)
	for _, key := range slices.Sorted(maps.Keys(f.Identities)) {
		d, err := readDocument(at(f.Identities[key]), policy.Identity)
		if err != nil {
			return nil, err
		}
		p, err := policy.ParsePrincipal(key)
		if err != nil {
			return nil, err
		}
		w.principal(p, d.String())
	}
	for _, repository := range slices.Sorted(maps.Keys(f.Policies)) {
		d, err := readDocument(at(f.Policies[repository]), policy.Repository)
		if err != nil {
			return nil, err
		}
		for _, s := range d.Statements {
			for p := range s.Principal.All() {
				w.principal(p, "")
			}
		}
		text := apply.Document(d.String())
		a := w.accounts[f.Registry.Account.String()]
		a.Registries[f.Registry.Region.String()].Repositories[repository] = apply.Repository{Settings: apply.Settings{Policy: &text}}
	}
	for _, t := range f.Tests {
		for _, who := range append([]string{t.Who}, t.But...) {
			if p, err := policy.ParsePrincipal(who); err == nil && who != "" && who != "*" {
				w.principal(p, "")
			}
		}
	}
	return append(seeds, apply.File{Accounts: w.accounts}), nil
}

// written makes the accounts of policies that stand in files.
type written struct {
	home     name.Registry
	accounts map[string]apply.Account
	seeds    []apply.File // have described what they name
}

func (w *written) account(id name.Account) apply.Account {
	a, known := w.accounts[id.String()]
	if !known {
		a = apply.Account{Users: map[string]apply.User{}, Roles: map[string]apply.Role{}}
		if id == w.home.Account {
			a.Registries = map[string]apply.Registry{w.home.Region.String(): {Repositories: map[string]apply.Repository{}}}
		}
		w.accounts[id.String()] = a
	}
	return a
}

// all is the policy of a principal of another account that no file describes.
const all = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// principal adds a user or role with an identity policy, "" for what it has without one.
func (w *written) principal(p policy.Principal, identity string) {
	if p.Account == (name.Account{}) {
		return
	}
	id := p.Account.String()
	a := w.account(p.Account)
	for _, f := range w.seeds {
		_, user := f.Accounts[id].Users[p.Name]
		_, role := f.Accounts[id].Roles[p.Name]
		if identity == "" && (p.Kind == policy.User && user || (p.Kind == policy.Role || p.Kind == policy.RoleSession) && role) {
			return
		}
	}
	if identity == "" && p.Account != w.home.Account {
		identity = all
	}
	with := apply.Permissions{}
	if identity != "" {
		with.Inline = map[string]apply.Document{"test": apply.Document(identity)}
	}
	switch p.Kind {
	case policy.User:
		if have, known := a.Users[p.Name]; !known || have.Inline == nil {
			a.Users[p.Name] = apply.User{Permissions: with, Path: p.Path}
		}
	case policy.Role, policy.RoleSession:
		if have, known := a.Roles[p.Name]; !known || have.Inline == nil {
			a.Roles[p.Name] = apply.Role{Permissions: with, Path: p.Path, Trust: apply.Document(fmt.Sprintf(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"%s"},"Action":"sts:AssumeRole"}]}`, id))}
		}
	}
}

// readDocument reads a policy from a file.
func readDocument(path string, kind policy.Kind) (*policy.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, apply.MaxFile+1))
	if err == nil && len(text) > apply.MaxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, apply.MaxFile)
	}
	if err != nil {
		return nil, err
	}
	d, err := policy.Parse(strings.TrimSpace(string(text)), kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; see `ecrin policy check %s`", path, err, path)
	}
	return d, nil
}
