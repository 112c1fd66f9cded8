package config

import (
	"fmt"
	"time"
)

// Access is about requests for access to repositories, and about the sign-in of people.
type Access struct {
	// MaxAccessGrant is the longest time for which the owner of a repository can grant access that was asked for. Default 2160h, 90 days; 0
	// turns requests for access off, and the addresses for them in the answers to denied pulls and pushes.
	MaxAccessGrant time.Duration `yaml:"max_access_grant"`
	SignOn         `yaml:",inline"`
}

func (a *Access) settings() []Setting {
	return append([]Setting{{"max-access-grant", "ECRIN_MAX_ACCESS_GRANT",
		"longest `duration` for which access that was asked for can be granted; 0 turns requests for access off", a.MaxAccessGrant.String(), "",
		duration(&a.MaxAccessGrant)}}, a.SignOn.settings()...)
}

// check notes a setting that is wrong.
func (a *Access) check(note func(key string, err error)) {
	if a.MaxAccessGrant != 0 && a.MaxAccessGrant < time.Minute {
		note("max_access_grant", fmt.Errorf("want at least 1m, or 0, got %s", a.MaxAccessGrant))
	}
	a.SignOn.check(note)
}
