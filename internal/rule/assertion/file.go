package assertion

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// MaxFile is the size of a file of tests in bytes that ParseFile reads.
	MaxFile = 1 << 20
	// maxTests is the number of tests of a file.
	maxTests = 10_000
)

// File is a file of tests.
type File struct {
	Registry name.Registry // of the repositories, and its account that of principals without one; zero for the default registry
	// What makes tests independent of a server: files of ecrin apply, and policies in files.
	Files      []string
	Policies   map[string]string // files with policies, by repository
	Identities map[string]string // files with identity policies, by the ARN of a user or role
	Tests      []Test
}

// Offline reports whether the file has the policies that it tests.
func (f *File) Offline() bool { return len(f.Files)+len(f.Policies)+len(f.Identities) > 0 }

// Problem is an error of a file of tests, with its line.
type Problem struct {
	Line int
	Text string
}

func (p Problem) Error() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// ParseFile reads a file of tests. home is the registry of a file that names none.
//
// Errors: the problems of the file, joined: values of type Problem.
func ParseFile(data []byte, home name.Registry) (*File, error) {
	if len(data) > MaxFile {
		return nil, Problem{1, fmt.Sprintf("the file is larger than %d bytes", MaxFile)}
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, Problem{lineOf(err), strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(document.Content) == 0 {
		return nil, Problem{1, "the file is empty: it needs tests"}
	}
	r := reader{File: &File{Registry: home, Policies: map[string]string{}, Identities: map[string]string{}}}
	var tests *yaml.Node
	r.members(document.Content[0], "the file", map[string]func(*yaml.Node){
		"registry": func(n *yaml.Node) {
			account, region, _ := strings.Cut(r.text(n), "/")
			a, err1 := name.ParseAccount(account)
			in, err2 := name.ParseRegion(region)
			if errors.Join(err1, err2) != nil {
				r.problem(n, "a registry is ACCOUNT/REGION, such as 111122223333/eu-west-1")
				return
			}
			r.Registry = name.Registry{Account: a, Region: in}
		},
		"files":      func(n *yaml.Node) { r.each(n, func(n *yaml.Node) { r.Files = append(r.Files, r.text(n)) }) },
		"policies":   func(n *yaml.Node) { r.pairs(n, r.Policies) },
		"identities": func(n *yaml.Node) { r.pairs(n, r.Identities) },
		"tests":      func(n *yaml.Node) { tests = n },
	})
	r.identities()
	if tests != nil {
		r.each(tests, r.test)
	}
	if len(r.problems) == 0 && len(r.Tests) == 0 {
		r.problem(document.Content[0], "there are no tests: add a list called tests")
	}
	return r.File, errors.Join(r.problems...)
}

// lineOf returns the line that an error of the YAML library names, or 1.
func lineOf(err error) int {
	line := 1
	if _, rest, ok := strings.Cut(err.Error(), "line "); ok {
		_, _ = fmt.Sscanf(rest, "%d", &line)
	}
	return line
}

type reader struct {
	*File
	problems []error
	lines    map[string]int // of identities
}

func (r *reader) problem(n *yaml.Node, format string, a ...any) {
	if len(r.problems) < 50 {
		r.problems = append(r.problems, Problem{n.Line, fmt.Sprintf(format, a...)})
	}
}

// members calls a function for each member of a mapping.
func (r *reader) members(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.problem(n, "%s must be a mapping", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		do := known[key.Value]
		switch {
		case do == nil:
			r.problem(key, "there is no key %q in %s", name.Clip(key.Value), what)
		case seen[key.Value]:
			r.problem(key, "the key %q is there twice", key.Value)
		default:
			seen[key.Value] = true
			do(n.Content[i+1])
		}
	}
}

func (r *reader) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		r.problem(n, "want a text")
		return ""
	}
	return n.Value
}

func (r *reader) each(n *yaml.Node, do func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.problem(n, "want a list")
		return
	}
	if len(n.Content) > maxTests {
		r.problem(n, "more than %d elements", maxTests)
		return
	}
	for _, one := range n.Content {
		do(one)
	}
}

func (r *reader) pairs(n *yaml.Node, into map[string]string) {
	if n.Kind != yaml.MappingNode {
		r.problem(n, "want a mapping of names to files")
		return
	}
	for i := 0; i+1 < len(n.Content) && i < 2*maxTests; i += 2 {
		key := r.text(n.Content[i])
		if _, twice := into[key]; twice {
			r.problem(n.Content[i], "%q is there twice", name.Clip(key))
		}
		into[key] = r.text(n.Content[i+1])
		if r.lines == nil {
			r.lines = map[string]int{}
		}
		r.lines[key] = n.Content[i].Line
	}
}

// identities replaces the names of principals by their ARNs.
func (r *reader) identities() {
	byARN := map[string]string{}
	for key, file := range r.Identities {
		arn, err := principal(key, r.Registry.Account)
		if err != nil || !strings.Contains(arn, ":user/") && !strings.Contains(arn, ":role/") {
			r.problem(&yaml.Node{Line: r.lines[key]}, "%q is no user or role such as role/deploy", name.Clip(key))
			continue
		}
		byARN[arn] = file
	}
	r.Identities = byARN
}

// test reads a test: a sentence, or a mapping with test and name.
func (r *reader) test(n *yaml.Node) {
	at, sentence, called := n, "", ""
	switch n.Kind {
	case yaml.ScalarNode:
		sentence = r.text(n)
	case yaml.MappingNode:
		// A sentence with a colon and a space, unquoted, is a mapping for YAML.
		r.members(n, "a test (put a sentence with \": \" in quotation marks)", map[string]func(*yaml.Node){
			"test": func(n *yaml.Node) { at, sentence = n, r.text(n) },
			"name": func(n *yaml.Node) { called = r.text(n) },
		})
		if sentence == "" {
			r.problem(n, "a test needs the key test with a sentence")
		}
	default:
		r.problem(n, "a test is a sentence, or a mapping with the keys test and name")
	}
	if sentence == "" {
		return
	}
	t, err := Parse(sentence, r.Registry.Account)
	if err != nil {
		r.problem(at, "%v", err)
		return
	}
	t.Line = at.Line
	if called != "" {
		t.Name = called
	}
	r.Tests = append(r.Tests, t)
}
