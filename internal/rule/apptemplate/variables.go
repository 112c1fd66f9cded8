package apptemplate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// maxVariables limits the variables of a file.
const maxVariables = 10_000

// variableName is the form of the name of a variable of a file .env.
var variableName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Variables reads a file .env, from which docker compose takes the values of variables: lines KEY=VALUE, perhaps behind export, values
// perhaps in quotes, and comments. Nothing in values is expanded; a later line counts more.
//
// Errors: a line has another form, with its number; there are too many lines, or bytes.
// Source: the compose specification, syntax of .env files.
func Variables(text []byte) (map[string]string, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("the file has more than %d bytes", MaxFile)
	}
	all := map[string]string{}
	for i, line := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(strings.TrimPrefix(key, "export "))
		if !ok || !variableName.MatchString(key) {
			return nil, fmt.Errorf("line %d: want KEY=VALUE", i+1)
		}
		value, err := variableValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if all[key] = value; len(all) > maxVariables {
			return nil, fmt.Errorf("the file has more than %d variables", maxVariables)
		}
	}
	return all, nil
}

// variableValue returns a value without its quotes, or without the comment behind it.
func variableValue(text string) (string, error) {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		value, _, _ := strings.Cut(" "+text, " #")
		return strings.TrimSpace(value), nil
	}
	end := strings.IndexByte(text[1:], text[0])
	if end < 0 {
		return "", errors.New("a quote does not end in its line")
	}
	if rest := strings.TrimSpace(text[end+2:]); rest != "" && !strings.HasPrefix(rest, "#") {
		return "", errors.New("there is text behind the closing quote")
	}
	return text[1 : end+1], nil
}
