// Package awsmodel reads the service models and checks answers against them: for the generator and for tests.
package awsmodel

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/ecrin-dev/ecrin/api"
)

// Model is one service: its operations in the order of the file, and its shapes by name.
type Model struct {
	Name       string // the file's name without -api.json, such as ecr
	Metadata   Metadata
	Operations []*Operation
	Shapes     map[string]*Shape
}

// Metadata is what the service's protocol needs.
type Metadata struct {
	APIVersion      string `json:"apiVersion"`
	Protocol        string `json:"protocol"` // json or query
	JSONVersion     string `json:"jsonVersion"`
	TargetPrefix    string `json:"targetPrefix"` // json: X-Amz-Target is this, a dot, and the operation
	XMLNamespace    string `json:"xmlNamespace"` // query: the namespace of answers
	ServiceID       string `json:"serviceId"`
	ServiceFullName string `json:"serviceFullName"`
	SigningName     string `json:"signingName"` // the service in a SigV4 credential scope
}

// Operation is one call. Input and Output are shape names, or empty when there is none.
type Operation struct {
	Name          string     `json:"-"`
	Input         string     `json:"input"`
	Output        string     `json:"output"`
	ResultWrapper string     `json:"resultWrapper"` // query: the element around the output
	Errors        []string   `json:"errors"`        // shape names
	Paginated     *Paginated `json:"paginated"`
	AuthType      string     `json:"authtype"` // "none": the call is unsigned
}

// Paginated names the members by which an operation answers in pages.
type Paginated struct {
	InputToken  string     `json:"inputToken"`
	OutputToken string     `json:"outputToken"`
	LimitKey    string     `json:"limitKey"`
	ResultKey   stringList `json:"resultKey"`
	MoreResults string     `json:"moreResults"`
}

// Shape is one type of the model.
type Shape struct {
	Name    string          `json:"-"`
	Type    string          `json:"type"` // structure, list, map, string, integer, long, double, boolean, timestamp, blob
	Members ordered[Member] `json:"members"`
	Member  Ref             `json:"member"` // list
	Key     Ref             `json:"key"`    // map
	Value   Ref             `json:"value"`  // map

	Enum    []string `json:"enum"`
	Pattern string   `json:"pattern"` // of the whole value, in the dialect of Java
	Min     *int64   `json:"min"`     // characters, bytes, elements, or the number itself
	Max     *int64   `json:"max"`

	// ConstraintsUnverified marks a shape whose real constraints nobody knows; none is checked.
	ConstraintsUnverified bool `json:"constraintsUnverified"`

	Exception  bool   `json:"exception"`
	ErrorCode  string `json:"errorCode"`  // the name on the wire
	HTTPStatus int    `json:"httpStatus"` // of an exception
	Fault      string `json:"fault"`      // client or server
}

// Ref points to a shape.
type Ref struct {
	Shape string `json:"shape"`
}

// Member is one member of a structure.
type Member struct {
	Name       string `json:"-"`
	Shape      string `json:"shape"`
	Required   bool   `json:"required"`
	Deprecated bool   `json:"deprecated"`
}

// Names lists the models there are, sorted.
func Names() []string {
	files, err := fs.Glob(api.Files, "*-api.json")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, f := range files {
		files[i] = f[:len(f)-len("-api.json")]
	}
	return files
}

// Load reads the model of that name. Errors: an unknown name, a file that breaks the format.
func Load(name string) (*Model, error) {
	text, err := api.Files.ReadFile(name + "-api.json")
	if err != nil {
		return nil, fmt.Errorf("loading model %s: %w", name, err)
	}
	m, err := Parse(name, text)
	if err != nil {
		return nil, fmt.Errorf("loading model %s: %w", name, err)
	}
	return m, nil
}

// Parse reads a model and checks that every name it uses is defined.
func Parse(name string, text []byte) (*Model, error) {
	var raw struct {
		Metadata   Metadata           `json:"metadata"`
		Operations ordered[Operation] `json:"operations"`
		Shapes     map[string]*Shape  `json:"shapes"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	m := &Model{Name: name, Metadata: raw.Metadata, Shapes: raw.Shapes}
	for i := range raw.Operations {
		m.Operations = append(m.Operations, &raw.Operations[i])
	}
	for n, s := range m.Shapes {
		s.Name = n
	}
	return m, m.check()
}

// Operation finds an operation by name, or gives nil.
func (m *Model) Operation(name string) *Operation {
	for _, op := range m.Operations {
		if op.Name == name {
			return op
		}
	}
	return nil
}

// Reachable gives the shapes that the named ones consist of, themselves included.
func (m *Model) Reachable(from ...string) map[string]bool {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(n string) {
		if n == "" || seen[n] {
			return
		}
		seen[n] = true
		for _, ref := range m.Shapes[n].refs() {
			walk(ref)
		}
	}
	for _, n := range from {
		walk(n)
	}
	return seen
}

func (s *Shape) refs() []string {
	switch s.Type {
	case "structure":
		var names []string
		for _, member := range s.Members {
			names = append(names, member.Shape)
		}
		return names
	case "list":
		return []string{s.Member.Shape}
	case "map":
		return []string{s.Key.Shape, s.Value.Shape}
	}
	return nil
}
