package meta_test

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

func init() {
	for what, prepare := range sweptConsoleChanges {
		moreSweptChanges[what] = prepare
	}
	for what, prepare := range sweptConsoleReads {
		sweptReads[what] = prepare
	}
}

// console makes a session of a browser for one call of a sweep.
func (s *sweeper) console() meta.ConsoleSession {
	c := meta.ConsoleSession{Hash: s.id("h"), ID: s.id("i"), Principal: s.id("p"), CreatedAt: time.UnixMilli(1), UsedAt: time.UnixMilli(1),
		EndsAt: time.UnixMilli(9)}
	s.Must(s.PutConsoleSession(s.Ctx, c, 1))
	return c
}

var sweptConsoleReads = map[string]func(s *sweeper) func(context.Context) (int, error){
	"ConsoleSessions": func(s *sweeper) func(context.Context) (int, error) {
		c := s.console()
		return func(ctx context.Context) (int, error) { return length(s.Store.ConsoleSessions(ctx, c.Principal)) }
	},
	"ConsoleSession": func(s *sweeper) func(context.Context) (int, error) {
		c := s.console()
		return func(ctx context.Context) (int, error) {
			got, err := s.Store.ConsoleSession(ctx, c.Hash)
			return len(got.ID), err
		}
	},
}

var sweptConsoleChanges = map[string]func(s *sweeper) func(context.Context) error{
	"PutConsoleSession": func(s *sweeper) func(context.Context) error {
		c := s.console()
		c.Hash, c.ID = s.id("other"), s.id("j")
		return func(ctx context.Context) error { return s.Store.PutConsoleSession(ctx, c, 1) }
	},
	"ConsoleSessionUsed": func(s *sweeper) func(context.Context) error {
		c := s.console()
		return func(ctx context.Context) error { return s.Store.ConsoleSessionUsed(ctx, c.Hash, time.UnixMilli(5)) }
	},
	"SwitchConsoleSession": func(s *sweeper) func(context.Context) error {
		c := s.console()
		return func(ctx context.Context) error { return s.Store.SwitchConsoleSession(ctx, c.Hash, "ASIA") }
	},
	"DeleteConsoleSession": func(s *sweeper) func(context.Context) error {
		c := s.console()
		return func(ctx context.Context) error { return s.Store.DeleteConsoleSession(ctx, c.Principal, c.ID) }
	},
}
