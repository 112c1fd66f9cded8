package main

import "strings"

const (
	module       = "github.com/ecrin-dev/ecrin/"
	deadCodeList = "docs/design/dead-code.md"
)

// deadCode returns the functions that no program of the module calls and that are not in the list, and the entries of the
// list that name no such function.
func deadCode() ([]string, error) {
	listed, err := table(deadCodeList, 2)
	if err != nil {
		return nil, err
	}
	found, err := run(nil, "go", "tool", "deadcode", "-f", `{{range .Funcs}}{{printf "%s.%s\n" $.Path .Name}}{{end}}`,
		"./cmd/...", "./tools/...")
	if err != nil {
		return nil, err
	}
	return compareDeadCode(found, listed), nil
}

// compareDeadCode compares the functions, each with the path of its package, with the rows of the list. The name in a row
// may end in *, which stands for any end.
func compareDeadCode(found []string, listed [][]string) (problems []string) {
	used := make([]bool, len(listed))
	for _, f := range found {
		f = strings.TrimPrefix(strings.TrimPrefix(f, module), "internal/")
		known := false
		for i, row := range listed {
			prefix, any := strings.CutSuffix(row[0], "*")
			if row[0] == f || any && strings.HasPrefix(f, prefix) {
				used[i], known = true, true
			}
		}
		if !known {
			problems = append(problems, "no program calls "+f+": remove it, move it into a test, or give the reason in "+deadCodeList)
		}
	}
	for i, row := range listed {
		if !used[i] {
			problems = append(problems, deadCodeList+" has "+row[0]+", which is called or does not exist: remove the row")
		}
	}
	return problems
}
