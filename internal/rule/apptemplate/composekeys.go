package apptemplate

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The keys of a file, of a service, of its deploy, and of the resources there, that are taken over or have nothing to be taken over. All
// other keys are reported, but for extensions (x-…).
var (
	takenFile    = []string{"version", "name", "include", "services", "networks", "volumes", "configs", "secrets"}
	takenService = []string{"extends", "image", "build", "entrypoint", "command", "depends_on", "ports", "expose", "healthcheck", "cpus",
		"mem_limit", "scale", "deploy", "profiles", "provider"}
	takenDeploy = []string{"resources", "replicas"}
	takenLimits = []string{"cpus", "memory"}
)

// defaults are values that Deployments have anyway, by the end of the path of their key.
var defaults = map[string][]string{"restart": {"always", "unless-stopped"}, "platform": {"linux/amd64"}, "mode": {"replicated"},
	"condition": {"any"}, "tty": {"false"}, "stdin_open": {"false"}, "read_only": {"false"}, "privileged": {"false"}, "init": {"false"}}

// maxApart is in how many services a key is reported by itself.
const maxApart = 3

// untaken is a key that is not taken over.
type untaken struct {
	key  string // with those above it in the service
	at   *yaml.Node
	path string
}

// others notes the keys of a mapping that are neither taken over nor extensions, nor have a value that Deployments have anyway. above are
// the keys above, each with a dot.
func (c *compose) others(m mapping, above string, taken []string) {
	for _, key := range m.keys {
		v := m.get(key)
		plain := v.there() && v.node.Kind == yaml.ScalarNode
		if !v.there() || slices.Contains(taken, key) || strings.HasPrefix(key, "x-") || plain && slices.Contains(defaults[key], v.node.Value) {
			continue
		}
		c.left = append(c.left, untaken{above + key, m.lines[key], v.path})
	}
}

// report warns of the keys that are not taken over: a key that many services have, once.
func (c *compose) report() {
	by := map[string][]untaken{}
	for _, u := range c.left {
		by[u.key] = append(by[u.key], u)
	}
	for _, u := range c.left {
		all := by[u.key]
		if len(all) <= maxApart {
			c.r.note(Warning, u.at, u.path, "is not taken over: add it to the template by hand")
			continue
		}
		if u == all[0] {
			var lines []string
			for _, other := range all[1:min(len(all), 11)] {
				lines = append(lines, strconv.Itoa(other.at.Line))
			}
			if n := len(all) - 11; n > 0 {
				lines = append(lines, strconv.Itoa(n)+" more")
			}
			c.r.note(Warning, u.at, u.path, "is not taken over, nor is that of lines %s: add them to the template by hand",
				strings.Join(lines, ", "))
		}
	}
}

// empty warns of a command without words, with which the image has none.
func (v value) empty(words []string) {
	if len(words) == 0 {
		v.warn("is empty, which is not taken over: the image keeps its own")
	}
}

// dependencies reads depends_on: a list of services, or a mapping.
func (c *compose) dependencies(v value) []string {
	all := names(v)
	for i, one := range all {
		at := v.node
		if v.node.Kind == yaml.SequenceNode && i < len(v.node.Content) {
			at = v.node.Content[i]
		} else if v.node.Kind == yaml.MappingNode {
			m := v.mapping(nil)
			if at = m.lines[one]; m.get(one).node != nil && m.get(one).node.Kind == yaml.MappingNode {
				if needed := m.get(one).mapping(nil).get("required"); needed.there() && !needed.flag() {
					continue
				}
			}
		}
		if !slices.Contains(c.services.keys, one) {
			c.r.note(Error, at, v.path, "there is no service %q", name.Clip(one))
		}
	}
	return all
}
