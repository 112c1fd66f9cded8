package apptemplate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Words splits a command line into words as a shell does: at blanks that are not between quotes or behind a backslash. Nothing is
// expanded.
//
// Errors: a quote does not end.
func Words(line string) ([]string, error) {
	var all []string
	var word strings.Builder
	quote, inside := rune(0), false
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(runes):
			i++
			if quote == '"' && !strings.ContainsRune(`"\$`, runes[i]) {
				word.WriteRune('\\')
			}
			word.WriteRune(runes[i])
			inside = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside = c, true
		case quote == 0 && strings.ContainsRune(" \t\n", c):
			if inside {
				all = append(all, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote does not end")
	}
	if inside {
		all = append(all, word.String())
	}
	return all, nil
}

// Repository returns the name of the repository for the logical name of an image, such as Org/repo/frontendTests: in lower case, and - for
// each run of characters that names of repositories do not have there.
//
// Errors: nothing is left of the name, or it is too long.
// Source: grammar of names of repositories of ECR.
func Repository(logical string) (name.Repo, error) {
	var parts []string
	for part := range strings.SplitSeq(strings.ToLower(logical), "/") {
		if part = repositoryPart(part); part != "" {
			parts = append(parts, part)
		}
	}
	repo, err := name.ParseRepo(strings.Join(parts, "/"))
	if err != nil {
		return repo, fmt.Errorf("%q cannot be made the name of a repository: it needs 2 to 256 letters, digits and single . _ - between them",
			name.Clip(logical))
	}
	return repo, nil
}

// repositoryPart returns a part of the name of a repository, perhaps "".
func repositoryPart(part string) string {
	var out strings.Builder
	run := "" // of characters that are no letters or digits
	for _, c := range part {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			switch {
			case run == "" || out.Len() == 0:
			case len(run) == 1 && strings.Contains("._-", run):
				out.WriteString(run)
			default:
				out.WriteByte('-')
			}
			run = ""
			out.WriteRune(c)
			continue
		}
		run += string(c)
	}
	return out.String()
}
