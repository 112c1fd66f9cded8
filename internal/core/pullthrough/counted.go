package pullthrough

import "github.com/ecrin-dev/ecrin/internal/store/meta"

// tell tells what the rule of an origin did. What customers pull by the proxy is of no rule.
func (s *Service) tell(o origin, c meta.CacheCount) {
	if s.counted != nil && o.upstream == nil {
		s.counted(o.rule.Registry, o.rule.Prefix, c)
	}
}
