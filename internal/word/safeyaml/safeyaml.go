// Package safeyaml decodes YAML that others wrote, in time and memory that its size limits. The decoder of the library compares each key
// of a mapping with each other one, and keeps a text for each pair that is equal: a megabyte of equal keys takes gigabytes.
package safeyaml

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// MaxKeys is how many keys a mapping may have, MaxEqual how many of them may stand there before. The library refuses equal keys where it
// decodes them, with a text for each.
const (
	MaxKeys  = 10_000
	MaxEqual = 100
)

// Unmarshal decodes the first document of a text into a value, as the library does.
//
// Errors: no YAML; a mapping with more than MaxKeys keys, or with more than MaxEqual that stand there before, with its line; those of the
// library.
func Unmarshal(text []byte, into any) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return err
	}
	if root.Kind == 0 {
		return nil // the text is empty
	}
	if err := check(&root); err != nil {
		return err
	}
	return root.Decode(into)
}

// check looks at each node once: aliases are not followed, and the library limits what they make.
func check(root *yaml.Node) error {
	for queue := []*yaml.Node{root}; len(queue) > 0; {
		n := queue[len(queue)-1]
		queue = append(queue[:len(queue)-1], n.Content...)
		if n.Kind != yaml.MappingNode {
			continue
		}
		if len(n.Content) > 2*MaxKeys {
			return fmt.Errorf("line %d: a mapping has more than %d keys", n.Line, MaxKeys)
		}
		seen, equal := make(map[string]bool, len(n.Content)/2), 0
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			if seen[k.Value] {
				equal++
			}
			if equal > MaxEqual {
				return fmt.Errorf("line %d: a mapping has more than %d keys that stand there before", k.Line, MaxEqual)
			}
			seen[k.Value] = true
		}
	}
	return nil
}
