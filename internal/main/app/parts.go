package app

import (
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Registry is the core behind the doors, for tests that compare it with what the doors say.
func (a *App) Registry() *registry.Service { return a.registry }

// Meta is the store behind the doors, for the same tests.
func (a *App) Meta() *meta.Store { return a.meta }
