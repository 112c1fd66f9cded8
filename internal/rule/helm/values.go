package helm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// globalKey is the key of the values that all charts have.
const globalKey = "global"

// table returns a value that is an object.
func table(v any) (map[string]any, bool) {
	m, ok := v.(map[string]any)
	return m, ok
}

// clone returns a copy that shares nothing with a value that was read from YAML.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return map[string]any{}
		}
		m := make(map[string]any, len(v))
		for key, one := range v {
			m[key] = clone(one)
		}
		return m
	case []any:
		all := make([]any, len(v))
		for i, one := range v {
			all[i] = clone(one)
		}
		return all
	}
	return v
}

func cloned(m map[string]any) map[string]any { return clone(m).(map[string]any) }

// at returns the table at a path such as a.b; false if there is none.
func at(v map[string]any, path string) (map[string]any, bool) {
	for key := range strings.SplitSeq(path, ".") {
		next, ok := table(v[key])
		if !ok {
			return nil, false
		}
		v = next
	}
	return v, true
}

// valueAt returns the value at a path that is no table.
func valueAt(v map[string]any, path string) (any, bool) {
	key := path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		var ok bool
		if v, ok = at(v, path[:i]); !ok {
			return nil, false
		}
		key = path[i+1:]
	}
	one, ok := v[key]
	if _, isTable := table(one); isTable {
		return nil, false
	}
	return one, ok
}

// coalesced returns values with those of the chart, and of the charts in it, where they say nothing. With keep, values that are null stay;
// else they take those of the chart away.
//
// Source: Helm, pkg/chartutil, coalesce.go.
func (c *Chart) coalesced(values map[string]any, keep bool) (map[string]any, error) {
	into := cloned(values)
	return into, c.coalesce(into, keep)
}

func (c *Chart) coalesce(into map[string]any, keep bool) error {
	own := cloned(c.values)
	for key, v := range own {
		have, ok := into[key]
		if !ok {
			into[key] = v
			continue
		}
		if have == nil && !keep {
			delete(into, key)
			continue
		}
		to, isTable := table(have)
		from, wasTable := table(v)
		if isTable && wasTable {
			ofChart := slices.ContainsFunc(c.charts, func(one *Chart) bool { return one.Name == key })
			mergeTables(to, from, keep || ofChart)
		}
	}
	for _, one := range c.charts {
		have, ok := into[one.Name]
		if !ok {
			have = map[string]any{}
			into[one.Name] = have
		}
		to, isTable := table(have)
		if !isTable {
			return fmt.Errorf("the values of the chart %s are no object", one.Name)
		}
		globals(to, into)
		if err := one.coalesce(to, keep); err != nil {
			return err
		}
	}
	return nil
}

// globals adds the values for all charts to those of one.
func globals(to, from map[string]any) {
	dest, src := map[string]any{}, map[string]any{}
	if v, ok := to[globalKey]; ok {
		if dest, ok = table(v); !ok {
			return
		}
	}
	if v, ok := from[globalKey]; ok {
		if src, ok = table(v); !ok {
			return
		}
	}
	for key, v := range src {
		have, ok := dest[key]
		if t, isTable := table(v); isTable {
			t = maps.Clone(t)
			if ok {
				old, isTable := table(have)
				if !isTable {
					continue
				}
				mergeTables(t, old, true)
			}
			dest[key] = t
			continue
		}
		if _, isTable := table(have); !isTable {
			dest[key] = v
		}
	}
	to[globalKey] = dest
}

// mergeTables adds to a table what another one has. What the first one says counts.
func mergeTables(to, from map[string]any, keep bool) map[string]any {
	if from == nil {
		return to
	}
	if to == nil {
		return from
	}
	said := map[string]bool{}
	for key, v := range from {
		said[key] = v != nil
	}
	for key, v := range to {
		if v == nil {
			from[key] = nil
		}
	}
	for key, v := range from {
		have, ok := to[key]
		switch {
		case ok && !keep && have == nil && said[key]:
			delete(to, key)
		case !ok:
			to[key] = v
		default:
			f, fromTable := table(v)
			if t, toTable := table(have); fromTable && toTable {
				mergeTables(t, f, keep)
			}
		}
	}
	return to
}

// fits reports whether a version is in a range.
func fits(constraint, version string) bool {
	v, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	c, err := semver.NewConstraint(constraint)
	return err == nil && c.Check(v)
}

// choose removes the charts that values switch off, and gives others their second names.
//
// Source: Helm, pkg/chartutil, dependencies.go.
func (c *Chart) choose(values map[string]any, path string) error {
	if c.Dependencies == nil {
		return nil
	}
	var all []*Chart
	for _, one := range c.charts {
		if !slices.ContainsFunc(c.Dependencies, func(d *Dependency) bool { return d.Name == one.Name && fits(d.Version, one.Version) }) {
			all = append(all, one)
		}
	}
	for _, d := range c.Dependencies {
		i := slices.IndexFunc(c.charts, func(one *Chart) bool { return one.Name == d.Name && fits(d.Version, one.Version) })
		if i >= 0 {
			one := *c.charts[i]
			if d.Alias != "" {
				one.Name = d.Alias
			}
			one.Dependencies = slices.Clone(one.Dependencies)
			for n, below := range one.Dependencies {
				next := *below
				one.Dependencies[n] = &next
			}
			one.charts = nil
			for _, below := range c.charts[i].charts {
				next := *below
				one.add(&next)
			}
			all = append(all, &one)
		}
		if d.Alias != "" {
			d.Name = d.Alias
		}
		d.Enabled = true
	}
	c.charts = nil
	c.add(all...)
	with, err := c.coalesced(values, false)
	if err != nil {
		return err
	}
	tags, _ := table(with["tags"])
	off := map[string]bool{}
	for _, d := range c.Dependencies {
		d.Enabled = enabled(d, tags, with, path)
		off[d.Name] = off[d.Name] || !d.Enabled
	}
	c.charts = slices.DeleteFunc(c.charts, func(one *Chart) bool { return off[one.Name] })
	for _, one := range c.charts {
		if err := one.choose(with, path+one.Name+"."); err != nil {
			return err
		}
	}
	c.Dependencies = slices.DeleteFunc(slices.Clone(c.Dependencies), func(d *Dependency) bool { return off[d.Name] })
	return nil
}

// enabled reports whether values switch a chart on: by its tags, and before these by the first of its conditions that has a value.
func enabled(d *Dependency, tags, values map[string]any, path string) bool {
	on, off := false, false
	for _, tag := range d.Tags {
		if b, ok := tags[tag].(bool); ok {
			on, off = on || b, off || !b
		}
	}
	result := on || !off
	for condition := range strings.SplitSeq(strings.TrimSpace(d.Condition), ",") {
		if condition == "" {
			continue
		}
		if v, ok := valueAt(values, path+condition); ok {
			if b, ok := v.(bool); ok {
				return b
			}
		}
	}
	return result
}

// imports gives the charts the values that they import from those in them.
func (c *Chart) imports() error {
	for _, one := range c.charts {
		if err := one.imports(); err != nil {
			return err
		}
	}
	if c.Dependencies == nil {
		return nil
	}
	values, err := c.coalesced(nil, true)
	if err != nil {
		return err
	}
	imported := map[string]any{}
	for _, d := range c.Dependencies {
		for _, v := range d.ImportValues {
			switch v := v.(type) {
			case string:
				if t, ok := at(values, d.Name+".exports."+v); ok {
					imported = mergeTables(imported, t, true)
				}
			case map[string]any:
				t, ok := at(values, d.Name+"."+fmt.Sprint(v["child"]))
				if !ok {
					continue
				}
				if parent := fmt.Sprint(v["parent"]); parent != "." {
					for _, key := range slices.Backward(strings.Split(parent, ".")) {
						t = map[string]any{key: t}
					}
				}
				imported = mergeTables(imported, t, true)
			}
		}
	}
	c.values = mergeTables(cloned(values), imported, true)
	return nil
}
