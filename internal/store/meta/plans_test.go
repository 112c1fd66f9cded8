package meta_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// whole are the statements that read all of a table, each with the reason why that is right.
var whole = map[string]string{
	`SELECT id, alias, created_at, is_default FROM accounts ORDER BY id`:                              "its answer is the whole table",
	`SELECT kind, account, name, body, updated_at FROM control_policies ORDER BY kind, account, name`: "its answer is the whole table",
}

// No statement reads a whole table or sorts what it finds: the cost of an operation grows with its answer, never with
// what is stored. A step "SCAN t" is a table read from end to end, and a temporary tree for the whole ORDER BY is a sort
// before the LIMIT.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := open(t)
	alias := regexp.MustCompile(`(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+([a-z])\b)?`)
	for text, file := range statementsByFile(t) {
		if strings.HasPrefix(file, "postgres") {
			continue // they find one row by its key, or settings of the server
		}
		steps, err := s.Explain(t.Context(), text)
		if err != nil {
			t.Error(err)
			continue
		}
		isTable := map[string]bool{}
		for _, m := range alias.FindAllStringSubmatch(text, -1) {
			if slices.Contains(tables(t), m[1]) {
				isTable[m[1]], isTable[m[2]] = true, true
			}
		}
		bad := ""
		for _, step := range steps {
			words := strings.Fields(step)
			if words[0] == "SCAN" && isTable[words[1]] || strings.Contains(step, "B-TREE FOR ORDER BY") {
				bad = step
			}
		}
		switch _, allowed := whole[text]; {
		case bad != "" && !allowed:
			t.Errorf("%s\nis answered by %q; the whole plan:\n%s", text, bad, strings.Join(steps, "\n"))
		case bad == "" && allowed:
			t.Errorf("%s\nreads no table whole any more: take it from the exceptions", text)
		}
	}
}
