package helm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig/v3"
	goyaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/ecrin-dev/ecrin/internal/rule/bounded"
)

// maxIncludes is how often a template may be inside of itself. Source: Helm, pkg/engine.
const maxIncludes = 1000

var errTooLarge = fmt.Errorf("the chart renders more than %d bytes", MaxOutput)

// saidError is the text that a chart has for an error.
type saidError struct{ text string }

func (e *saidError) Error() string { return e.text }

// renderer is one execution of the templates of a chart.
type renderer struct {
	ctx      context.Context
	left     int // bytes that may still be written
	includes map[string]int
	now      time.Time
}

// buffer returns a buffer that counts what is written.
func (r *renderer) buffer() *limited { return &limited{r: r} }

type limited struct {
	strings.Builder
	r *renderer
}

func (l *limited) Write(p []byte) (int, error) {
	if err := l.r.ctx.Err(); err != nil {
		return 0, err
	}
	if l.r.left -= len(p); l.r.left < 0 {
		return 0, errTooLarge
	}
	return l.Builder.Write(p)
}

// random are functions that make another value each time: at each version an application would get another password or key.
var random = []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4", "genPrivateKey",
	"genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "encryptAES", "bcrypt",
	"htpasswd"}

// functions returns what templates can call.
func (r *renderer) functions(t *template.Template) template.FuncMap {
	f := sprig.TxtFuncMap()
	delete(f, "env")
	delete(f, "expandenv")
	bounded.Bound(f)
	for _, name := range random {
		f[name] = func(...any) (string, error) {
			return "",
				fmt.Errorf("%s makes another value each time, so that each version would have another one: give the value in the HelmChart", name)
		}
	}
	f["now"] = func() time.Time { return r.now }
	f["getHostByName"] = func(string) string { return "" }
	f["lookup"] = func(string, string, string, string) map[string]any { return map[string]any{} }
	f["toYaml"], f["toYamlPretty"], f["fromYaml"], f["fromYamlArray"] = toYAML, toYAMLPretty, fromYAML, fromYAMLArray
	f["toToml"], f["fromToml"] = toTOML, fromTOML
	f["toJson"], f["fromJson"], f["fromJsonArray"] = toJSON, fromJSON, fromJSONArray
	f["include"], f["tpl"] = r.include(t), r.tpl(t)
	f["fail"] = func(text string) (string, error) { return "", &saidError{text} }
	f["required"] = func(text string, v any) (any, error) {
		if v == nil || v == "" {
			return nil, &saidError{text}
		}
		return v, nil
	}
	return f
}

// include returns the function that executes a template with a name.
func (r *renderer) include(t *template.Template) func(string, any) (string, error) {
	return func(name string, values any) (string, error) {
		if r.includes[name] > maxIncludes {
			return "", fmt.Errorf("the template %s is inside of itself, more than %d times", name, maxIncludes)
		}
		r.includes[name]++
		defer func() { r.includes[name]-- }()
		b := r.buffer()
		err := t.ExecuteTemplate(b, name, values)
		return b.String(), err
	}
}

// tpl returns the function that executes a text as a template.
func (r *renderer) tpl(parent *template.Template) func(string, any) (string, error) {
	return func(text string, values any) (string, error) {
		if r.includes[""]++; r.includes[""] > maxIncludes {
			return "", fmt.Errorf("texts with templates are in each other, more than %d deep", maxIncludes)
		}
		defer func() { r.includes[""]-- }()
		t, err := parent.Clone()
		if err != nil {
			return "", err
		}
		t.Option("missingkey=zero").Funcs(template.FuncMap{"include": r.include(t), "tpl": r.tpl(t)})
		if t, err = t.New(parent.Name()).Parse(text); err != nil {
			return "", err
		}
		b := r.buffer()
		err = t.Execute(b, values)
		return strings.ReplaceAll(b.String(), "<no value>", ""), err
	}
}

// The functions for texts of data are those of helm: an error is no error of the template.

func toYAML(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

func toYAMLPretty(v any) string {
	var b bytes.Buffer
	e := goyaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func fromYAML(text string) map[string]any {
	m := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		m["Error"] = err.Error()
	}
	return m
}

func fromYAMLArray(text string) []any {
	a := []any{}
	if err := yaml.Unmarshal([]byte(text), &a); err != nil {
		return []any{err.Error()}
	}
	return a
}

func toTOML(v any) string {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(v); err != nil {
		return err.Error()
	}
	return b.String()
}

func fromTOML(text string) map[string]any {
	m := map[string]any{}
	if err := toml.Unmarshal([]byte(text), &m); err != nil {
		m["Error"] = err.Error()
	}
	return m
}

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func fromJSON(text string) map[string]any {
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		m["Error"] = err.Error()
	}
	return m
}

func fromJSONArray(text string) []any {
	a := []any{}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return []any{err.Error()}
	}
	return a
}

// files is .Files: the files of a chart that are neither templates nor charts.
type files map[string][]byte

func newFiles(all []file) files {
	f := files{}
	for _, one := range all {
		f[one.name] = one.data
	}
	return f
}

// GetBytes returns the content of a file; empty if there is none.
func (f files) GetBytes(name string) []byte { return f[name] }

// Get returns the content of a file as text; empty if there is none.
func (f files) Get(name string) string { return string(f[name]) }

// Glob returns the files whose paths have a form.
func (f files) Glob(pattern string) files {
	match, err := globForm(pattern)
	if err != nil {
		match = regexp.MustCompile("")
	}
	all := files{}
	for name, data := range f {
		if match.MatchString(name) {
			all[name] = data
		}
	}
	return all
}

// AsConfig returns the files as the data of a ConfigMap.
func (f files) AsConfig() string {
	if f == nil {
		return ""
	}
	m := map[string]string{}
	for name, data := range f {
		m[path.Base(name)] = string(data)
	}
	return toYAML(m)
}

// AsSecrets returns the files as the data of a Secret.
func (f files) AsSecrets() string {
	if f == nil {
		return ""
	}
	m := map[string]string{}
	for name, data := range f {
		m[path.Base(name)] = base64.StdEncoding.EncodeToString(data)
	}
	return toYAML(m)
}

// Lines returns the lines of a file.
func (f files) Lines(name string) []string {
	if len(f[name]) == 0 {
		return []string{}
	}
	s := string(f[name])
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// globForm returns the expression for a form of paths: * and ? stop at slashes, ** does not; there are [sets] and {choices}.
func globForm(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	open, at := 0, 0
	for runes := []rune(pattern); at < len(runes); at++ {
		switch r := runes[at]; r {
		case '*':
			if at+1 < len(runes) && runes[at+1] == '*' {
				b.WriteString(".*")
				at++
				continue
			}
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		case '{':
			open++
			b.WriteString("(?:")
		case '}':
			if open--; open < 0 {
				return nil, errors.New("a } without {")
			}
			b.WriteString(")")
		case ',':
			if open > 0 {
				b.WriteString("|")
				continue
			}
			b.WriteString(",")
		case '[':
			end := slices.Index(runes[at:], ']')
			if end < 0 {
				return nil, errors.New("a [ without ]")
			}
			set := string(runes[at+1 : at+end])
			b.WriteString("[")
			if rest, ok := strings.CutPrefix(set, "!"); ok {
				b.WriteString("^")
				set = rest
			}
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(set, `\`, `\\`), "^", `\^`) + "]")
			at += end
		case '\\':
			if at++; at == len(runes) {
				return nil, errors.New(`a \ at the end`)
			}
			b.WriteString(regexp.QuoteMeta(string(runes[at])))
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if open != 0 {
		return nil, errors.New("a { without }")
	}
	return regexp.Compile(b.String() + "$")
}
