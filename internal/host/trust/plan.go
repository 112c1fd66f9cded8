package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Kind is the kind of an action.
type Kind string

// The kinds of actions.
const (
	Write  Kind = "write"  // writes a file, and creates its folders
	Remove Kind = "remove" // removes a file, and its folder if that is empty then
	Run    Kind = "run"    // runs a command
	Note   Kind = "note"   // is for the administrator to read or do; ecrin does nothing
)

// Action is one step of a plan.
type Action struct {
	Target  Target   `json:"target"`
	Kind    Kind     `json:"kind"`
	Why     string   `json:"why"`               // one sentence
	Path    string   `json:"path,omitempty"`    // Write, Remove
	Content string   `json:"content,omitempty"` // Write
	Command []string `json:"command,omitempty"` // Run
	Shell   string   `json:"shell,omitempty"`   // the same as a shell line; empty for a Note that needs nothing done
	Done    bool     `json:"done"`              // the action has no effect any more; Apply skips it
}

// Plan is a list of actions, in the order of execution.
type Plan struct {
	Actions []Action `json:"actions"`
}

// Pending returns the number of actions that Apply would execute.
func (p Plan) Pending() int {
	n := 0
	for _, a := range p.Actions {
		if a.pending() {
			n++
		}
	}
	return n
}

func (a Action) pending() bool { return !a.Done && a.Kind != Note }

// Script returns the plan as a shell script: pending actions as commands, the others as comments.
func (p Plan) Script() string {
	var b strings.Builder
	for _, a := range p.Actions {
		state := ""
		if a.Done {
			state = " (already done)"
		}
		fmt.Fprintf(&b, "# %s: %s%s\n", a.Target, a.Why, state)
		switch {
		case a.Shell == "":
		case a.Done, a.Kind == Note:
			for line := range strings.Lines(a.Shell) {
				b.WriteString("#   " + strings.TrimRight(line, "\n") + "\n")
			}
		default:
			b.WriteString(strings.TrimRight(a.Shell, "\n") + "\n")
		}
	}
	return b.String()
}

// Apply executes the pending actions, and calls done, if it is not nil, after each. run executes a command and
// waits for its end.
//
// Each file is written completely or not at all. Apply ends at the first error; a new plan then continues,
// since it finds the completed actions done. Errors: those of the file system, usually fs.ErrPermission, and
// those of run.
func (p Plan) Apply(ctx context.Context, run func(ctx context.Context, argv []string) error, done func(Action)) error {
	for _, a := range p.Actions {
		if !a.pending() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.apply(ctx, run); err != nil {
			return err
		}
		if done != nil {
			done(a)
		}
	}
	return nil
}

func (a Action) apply(ctx context.Context, run func(context.Context, []string) error) error {
	switch a.Kind {
	case Write:
		if err := writeFile(a.Path, a.Content); err != nil {
			return fmt.Errorf("writing %s: %w", a.Path, err)
		}
	case Remove:
		if err := os.Remove(a.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Remove deletes only an empty folder, and is called only for the folder of a registry: other content is
		// not ecrin's.
		if dir := filepath.Dir(a.Path); filepath.Base(filepath.Dir(dir)) == "certs.d" {
			os.Remove(dir)
		}
	case Run:
		if err := run(ctx, a.Command); err != nil {
			return fmt.Errorf("running %s: %w", strings.Join(a.Command, " "), err)
		}
	}
	return nil
}

// writeFile replaces a file by renaming a new file. The mode is 0644, since clients of all users read these
// files.
func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ecrin-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// writing returns the action that writes content to path. It is done if the file has that content.
func writing(target Target, path, content, why string) Action {
	have, err := os.ReadFile(path)
	return Action{
		Target: target, Kind: Write, Why: why, Path: path, Content: content,
		Shell: fmt.Sprintf("sudo mkdir -p %s\nsudo tee %s >/dev/null <<'EOF'\n%s\nEOF", quote(filepath.Dir(path)), quote(path),
			strings.TrimRight(content, "\n")),
		Done: err == nil && string(have) == content,
	}
}

// removing returns the action that removes path. It is done if there is no file.
func removing(target Target, path, why string) Action {
	return Action{
		Target: target, Kind: Remove, Why: why, Path: path,
		Shell: "sudo rm -f " + quote(path),
		Done:  !exists(path),
	}
}

// quote returns s as one word of a shell command.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._:=@%+,-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
