package app

import (
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/registry"
)

// Registry is the core behind the doors, for tests that compare it with what the doors say.
func (a *App) Registry() *registry.Service { return a.registry }

// Meta is the store behind the doors, for the same tests.
func (a *App) Meta() *meta.Store { return a.meta }
