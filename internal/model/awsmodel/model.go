// Package awsmodel reads the service models and checks answers against them. It is used by the generator and by tests.
package awsmodel

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/ecrin-dev/ecrin/api"
)

// Model is the model of one service. Operations are in the order of the file.
type Model struct {
	Name       string // the file's name without -api.json, such as ecr
	Metadata   Metadata
	Operations []*Operation
	Shapes     map[string]*Shape
}

// Metadata holds the properties of a service that its protocol needs.
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

// Operation is one operation of a service. Input and Output are names of shapes, or "" if there is none.
type Operation struct {
	Name          string     `json:"-"`
	Input         string     `json:"input"`
	Output        string     `json:"output"`
	ResultWrapper string     `json:"resultWrapper"` // query: the element around the output
	Errors        []string   `json:"errors"`        // shape names
	Paginated     *Paginated `json:"paginated"`
	AuthType      string     `json:"authtype"` // "none": requests are not signed
}

// Paginated names the members that paginate an operation.
type Paginated struct {
	InputToken  string     `json:"inputToken"`
	OutputToken string     `json:"outputToken"`
	LimitKey    string     `json:"limitKey"`
	ResultKey   stringList `json:"resultKey"`
	MoreResults string     `json:"moreResults"`
}

// Shape is one type of a model.
type Shape struct {
	Name    string          `json:"-"`
	Type    string          `json:"type"` // structure, list, map, string, integer, long, double, boolean, timestamp, blob
	Members ordered[Member] `json:"members"`
	Member  Ref             `json:"member"` // list
	Key     Ref             `json:"key"`    // map
	Value   Ref             `json:"value"`  // map

	Enum    []string `json:"enum"`
	Pattern string   `json:"pattern"` // matches the whole value, in the dialect of Java
	Min     *int64   `json:"min"`     // in characters, bytes or elements; for a number its value
	Max     *int64   `json:"max"`

	// ConstraintsUnverified marks a shape whose constraints in AWS are unknown; they are not checked.
	ConstraintsUnverified bool `json:"constraintsUnverified"`

	Exception  bool   `json:"exception"`
	ErrorCode  string `json:"errorCode"`  // the name on the wire
	HTTPStatus int    `json:"httpStatus"` // of an exception
	Fault      string `json:"fault"`      // client or server
}

// Ref is a reference to a shape.
type Ref struct {
	Shape string `json:"shape"`
}

// Member is one member of a structure.
type Member struct {
	Name       string `json:"-"`
	Shape      string `json:"shape"`
	Required   bool   `json:"required"`
	Deprecated bool   `json:"deprecated"`

	// Clearable says that a text of an update removes what there is if it is "", although its shape has no minimum length of 0. The
	// models do not say so: tools/awsgen sets it.
	Clearable bool `json:"-"`
}

// Names returns the names of all models, sorted.
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

// Load reads the model with the given name.
//
// Errors: an unknown name, a file that violates the format.
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

// Parse reads a model and checks that every name in it is defined.
//
// Errors: a text that violates the format, a name that is not defined.
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

// Operation returns the operation with the given name, or nil.
func (m *Model) Operation(name string) *Operation {
	for _, op := range m.Operations {
		if op.Name == name {
			return op
		}
	}
	return nil
}

// Reachable returns the names of all shapes that the given shapes refer to, directly or indirectly, and of the given
// shapes.
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
