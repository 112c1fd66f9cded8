package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Most changes need no build of their own: the tests are built once with all of them, and the environment selects one.

// selector is the file that is added to the package.
const selector = `package %s

import mutantOS "os"

var mutantNumber = func() (n int) {
	for _, c := range mutantOS.Getenv("MUTANT") {
		n = 10*n + int(c-'0')
	}
	return n
}()

func mutantIs(n int) bool { return mutantNumber == n }

func mutantOne(n int) int {
	if mutantIs(n) {
		return 1
	}
	return 0
}

func mutantDrops(n int, err error) error {
	if mutantIs(n) {
		return nil
	}
	return err
}

func mutantEither[T any](n int, usual, changed T) T {
	if mutantIs(n) {
		return changed
	}
	return usual
}
`

// switchable gives the mutant that was added last a form that is selected while the tests run.
func (f *finder) switchable(n ast.Node, switched string) {
	m := &f.all[len(f.all)-1]
	m.from, m.to, m.switched = f.offset(n.Pos()), f.offset(n.End()), switched
}

// leftOut is switchable for a statement that the change removes.
func (f *finder) leftOut(s ast.Stmt) {
	if !f.held[s] {
		f.switchable(s, "if !mutantIs(%d) { "+f.quoted(s)+" }")
	}
}

// quoted returns the source of a node, for a format.
func (f *finder) quoted(n ast.Node) string { return strings.ReplaceAll(f.source(n), "%", "%%") }

// operators returns an expression with both operators; "" if there is none that evaluates the operands once.
func (f *finder) operators(n *ast.BinaryExpr, op token.Token) string {
	a, b := f.quoted(n), f.quoted(n.X)+" "+strings.ReplaceAll(op.String(), "%", "%%")+" "+f.quoted(n.Y)
	switch n.Op {
	case token.MUL, token.QUO: // the other one may divide by zero
		return ""
	case token.ADD, token.SUB, token.AND, token.OR, token.SHL, token.SHR:
		if calls(n) {
			return ""
		}
		return "mutantEither(%d, " + a + ", " + b + ")"
	}
	return "(mutantIs(%[1]d) && (" + b + ") || !mutantIs(%[1]d) && (" + a + "))"
}

func calls(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			name, _ := c.Fun.(*ast.Ident)
			found = found || name == nil || name.Name != "len"
		}
		return !found
	})
	return found
}

// binary is a program of tests.
type binary struct{ path, dir string }

// switched is the tests with all changes that need no build of their own.
type switched struct {
	tests  []binary
	number map[int]int // of a mutant, by its place; from 1
}

// build builds the tests, in dir. A change that does not compile in this form is left out.
func build(ctx context.Context, o options, all []mutant, dir string) (*switched, error) {
	s := &switched{number: map[int]int{}}
	for i := range all {
		if all[i].switched != "" {
			s.number[i] = i + 1
		}
	}
	for {
		files, places, err := s.files(all)
		if err != nil {
			return nil, err
		}
		out, err := s.compile(ctx, o, all[0].path, files, dir)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(s.number) == 0 {
			return nil, fmt.Errorf("building the tests: %w: %s", err, out)
		}
		// An error of types is often reported at the expression around the change.
		before := len(s.number)
		for _, blamed := range []func(place) bool{
			func(p place) bool { return p.blamed(out, true) }, func(p place) bool { return p.blamed(out, false) },
			func(place) bool { return true },
		} {
			for _, p := range places {
				if blamed(p) {
					delete(s.number, p.mutant)
				}
			}
			if len(s.number) < before {
				break
			}
		}
	}
}

// place is where a changed file has a mutant.
type place struct {
	file             string
	mutant           int
	line, column     int // of its first byte
	endLine, endByte int
}

var position = regexp.MustCompile(`(?m)^([^\s:]+\.go):(\d+):(\d+): `)

// blamed reports whether an error of the compiler is about the place, or else about its lines.
func (p place) blamed(out string, exactly bool) bool {
	for _, m := range position.FindAllStringSubmatch(out, -1) {
		line, _ := strconv.Atoi(m[2])
		column, _ := strconv.Atoi(m[3])
		after := line > p.line || line == p.line && (column >= p.column || !exactly)
		before := line < p.endLine || line == p.endLine && (column <= p.endByte || !exactly)
		if strings.TrimPrefix(filepath.Base(m[1]), prefix) == filepath.Base(p.file) && after && before {
			return true
		}
	}
	return false
}

// files returns the changed files by their paths. Of mutants that overlap, the first one stays.
func (s *switched) files(all []mutant) (map[string]string, []place, error) {
	var order []int
	for i := range s.number {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].path, all[b].path), cmp.Compare(all[a].from, all[b].from), cmp.Compare(a, b))
	})
	files := map[string]string{}
	var places []place
	for path, last := "", 0; len(order) > 0; {
		m := all[order[0]]
		src, err := os.ReadFile(m.path)
		if err != nil {
			return nil, nil, err
		}
		var out strings.Builder
		for path, last = m.path, 0; len(order) > 0 && all[order[0]].path == path; order = order[1:] {
			i := order[0]
			m := all[i]
			if m.from < last {
				delete(s.number, i)
				continue
			}
			out.Write(src[last:m.from])
			p := place{file: path, mutant: i}
			p.line, p.column = end(out.String())
			fmt.Fprintf(&out, m.switched, s.number[i])
			p.endLine, p.endByte = end(out.String())
			places = append(places, p)
			last = m.to
		}
		out.Write(src[last:])
		files[path] = out.String()
	}
	return files, places, nil
}

// end returns line and column behind a text.
func end(text string) (line, column int) {
	return 1 + strings.Count(text, "\n"), len(text) - strings.LastIndexByte(text, '\n')
}

// prefix begins the names of the changed files.
const prefix = "switched_"

// compile builds the tests. Its text is that of the compiler.
func (s *switched) compile(ctx context.Context, o options, path string, files map[string]string, dir string) (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
	if err != nil {
		return "", err
	}
	files[filepath.Join(filepath.Dir(path), "zz_mutant_selector.go")] = fmt.Sprintf(selector, file.Name.Name)
	replace := map[string]string{}
	for path, text := range files {
		changed := filepath.Join(dir, prefix+filepath.Base(path))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = changed
	}
	description, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "switched.json")
	if err := os.WriteFile(overlay, description, 0o600); err != nil {
		return "", err
	}
	s.tests = nil
	for i, pkg := range o.tests {
		list := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg)
		list.Stderr = os.Stderr
		at, err := list.Output()
		if err != nil {
			return "", fmt.Errorf("listing %s: %w", pkg, err)
		}
		b := binary{filepath.Join(dir, strconv.Itoa(i)+".test"), strings.TrimSpace(string(at))}
		out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", b.path, pkg).CombinedOutput()
		if err != nil {
			return string(out), err
		}
		if _, err := os.Stat(b.path); err == nil { // a package without tests has none
			s.tests = append(s.tests, b)
		}
	}
	return "", nil
}

// test runs the tests with one of the changes; 0 for none.
func (s *switched) test(ctx context.Context, o options, number int, limit time.Duration) (outcome, string, error) {
	var all bytes.Buffer
	for _, b := range s.tests {
		args := []string{"-test.paniconexit0", "-test.failfast", "-test.timeout=" + (limit + time.Minute).String()}
		if o.run != "" {
			args = append(args, "-test.run="+o.run)
		}
		bounded, cancel := context.WithTimeout(ctx, limit)
		cmd := exec.CommandContext(bounded, b.path, args...)
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), "PWD="+b.dir, "MUTANT="+strconv.Itoa(number))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the tests have started ends with them
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = 5 * time.Second
		cmd.Stdout, cmd.Stderr = &all, &all
		err := cmd.Run()
		late := bounded.Err() != nil
		cancel()
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return "", "", context.Cause(ctx)
		case late:
			return timeout, all.String(), nil
		case err != nil && !errors.As(err, &exit):
			return "", "", err
		case err != nil:
			return killed, all.String(), nil
		}
	}
	return survived, all.String(), nil
}
