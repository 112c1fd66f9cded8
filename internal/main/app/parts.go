package app

import (
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Registry returns the registry service of the server, for tests that compare its state with answers of the server.
func (a *App) Registry() *registry.Service { return a.registry }

// Meta returns the metadata store of the server, for the same tests.
func (a *App) Meta() *meta.Store { return a.meta }
