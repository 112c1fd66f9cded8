package app

import (
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// connectionLimits returns the limits of the configuration.
func (a *App) connectionLimits() web.ConnectionLimits {
	c := a.config
	l := web.ConnectionLimits{Max: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
		MaxIdle: c.MaxIdleConnections, Proxies: c.Proxies}
	soft, hard, err := durable.RaiseFileLimit()
	if err != nil {
		a.log.Warn("the limit of file descriptors could not be raised", "error", err)
	}
	if l.Max == 0 {
		l.Max = maxConnections
		if soft > 0 {
			l.Max = int(min(maxConnections, max(1, soft/4*3)))
		}
	}
	a.log.Info("limits", "file_descriptors", soft, "file_descriptors_hard", hard, "connections", l.Max)
	if soft > 0 && soft < minFiles {
		a.log.Warn("few file descriptors: raise the limit of the process (ulimit -n, LimitNOFILE)", "file_descriptors", soft,
			"recommended", minFiles)
	}
	return l
}

const (
	maxConnections = 16384 // at once, unless the configuration has another number
	minFiles       = 1024  // file descriptors below which the start warns
)

// maxSpill is how many bytes of manifests are cached in files at most, and spillShare the share of the free space of the disk.
const (
	maxSpill   = 2 << 30
	spillShare = 10
)

// spill gives the caches of manifests files in a directory. Without them a registry with many tags is slower.
func (a *App) spill(dir string) {
	free, err := durable.FreeBytes(dir)
	if err == nil && free/spillShare > 0 {
		err = a.meta.SpillTo(dir, min(maxSpill, free/spillShare))
	}
	if err != nil {
		a.log.Warn("manifests are cached in memory only", "error", err)
	}
}
