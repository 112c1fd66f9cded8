package license

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// toYAML returns JSON as YAML in block style.
func toYAML(text []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	plain(&n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// plain removes the style of JSON from a node. A string that would be read as something else keeps its quotes.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		var bare yaml.Node
		err := yaml.Unmarshal([]byte(n.Value), &bare)
		if err != nil || len(bare.Content) != 1 || bare.Content[0].Tag != "!!str" || bare.Content[0].Value != n.Value {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// toJSON returns one YAML document as JSON. Numbers that are no integers, and times, become strings, as they stand there.
//
// Errors: no YAML, several documents, anchors, a key that is no string or stands there twice, more than maxDepth levels.
func toJSON(text []byte) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var n yaml.Node
	if err := d.Decode(&n); err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); err == nil {
		return nil, errors.New("there is a second document in the file")
	}
	if len(n.Content) != 1 {
		return nil, errors.New("the file is empty")
	}
	v, err := value(n.Content[0], 0)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// maxDepth limits how deep values are nested.
const maxDepth = 20

func value(n *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: values are nested more than %d times", n.Line, maxDepth)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!int":
			if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
				return i, nil
			}
		case "!!bool":
			var b bool
			if err := n.Decode(&b); err == nil {
				return b, nil
			}
		case "!!null":
			return nil, nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		all := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := value(c, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if _, twice := all[key.Value]; twice || key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key stands there twice, or is no name", key.Line)
			}
			v, err := value(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			all[key.Value] = v
		}
		return all, nil
	}
	return nil, fmt.Errorf("line %d: a licence has no anchors", n.Line)
}
