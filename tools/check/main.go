// Command check compares facts about the module with lists in the repository: the functions that no program calls with
// docs/design/dead-code.md, and the licences of the modules that are linked into ecrin with docs/design/licences.md.
//
//	go run ./tools/check
//
// It needs the modules in the module cache and no network. It prints each difference and exits with 1 if there is one.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	var problems []string
	for _, check := range []func() ([]string, error){deadCode, licences} {
		found, err := check()
		if err != nil {
			fmt.Fprintln(os.Stderr, "check:", err)
			os.Exit(2)
		}
		problems = append(problems, found...)
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

// table returns the rows of the first Markdown table of a file, without its head. Backquotes are removed from cells.
//
// Errors: a file that cannot be read or has no table, and a row with another number of cells.
func table(path string, columns int) ([][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return rows(path, string(text), columns)
}

func rows(path, text string, columns int) ([][]string, error) {
	var all [][]string
	for line := range strings.Lines(text) {
		inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !ok {
			if all != nil {
				break
			}
			continue
		}
		cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
		if len(cells) != columns {
			return nil, fmt.Errorf("%s: want %d columns: %s", path, columns, line)
		}
		for i, c := range cells {
			if cells[i] = strings.ReplaceAll(strings.TrimSpace(c), "`", ""); cells[i] == "" {
				return nil, fmt.Errorf("%s: an empty cell: %s", path, line)
			}
		}
		all = append(all, cells)
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("%s has no table", path)
	}
	return all[2:], nil
}

// run returns the lines that a command writes, sorted, each once.
func run(environment []string, name string, args ...string) ([]string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), environment...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("running %s %s: %w", name, strings.Join(args, " "), err), errors.New(failed.String()))
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return slices.Compact(lines), nil
}
