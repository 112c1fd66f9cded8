package app

import "github.com/ecrin-dev/ecrin/internal/registry"

// Registry is the core behind the doors, for tests that compare it with what the doors say.
func (a *App) Registry() *registry.Service { return a.registry }
