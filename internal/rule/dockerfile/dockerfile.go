// Package dockerfile finds the images that a Dockerfile is built from, so that a builder gets the logins for them and no others. It is
// pure, and interprets nothing else.
//
// Source: Dockerfile reference.
package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// MaxFile limits a Dockerfile, in bytes.
const MaxFile = 1 << 20

// Base is an image that a Dockerfile names.
type Base struct {
	Image string
	Line  int    // from 1
	By    string // FROM, COPY, RUN or syntax
}

// instruction is one with its continuation lines joined.
type instruction struct {
	word string // in upper case
	rest string
	line int
}

var (
	directive = lazyregexp.New(`^#\s*([a-zA-Z]+)\s*=\s*(\S+)\s*$`)
	heredoc   = lazyregexp.New(`<<-?\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)
	variable  = lazyregexp.New(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// Bases returns the images that all stages of a Dockerfile need, each once: those of FROM with the values of ARG, which args override, of
// COPY --from, of RUN --mount, and of the line # syntax. Stages and scratch are no images.
//
// Errors: there is no FROM; one has no name, such as a variable without a value.
func Bases(text []byte, args map[string]string) ([]Base, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("the Dockerfile has more than %d bytes", MaxFile)
	}
	all, syntax := instructions(string(text))
	var out []Base
	add := func(b Base) {
		if !slices.ContainsFunc(out, func(o Base) bool { return o.Image == b.Image }) {
			out = append(out, b)
		}
	}
	if syntax.Image != "" {
		add(syntax)
	}
	values := map[string]string{}
	var stages []string
	count := 0
	for _, i := range all {
		switch i.word {
		case "ARG":
			if count > 0 {
				continue // those of a stage have no effect on FROM
			}
			for _, one := range strings.Fields(i.rest) {
				key, value, _ := strings.Cut(one, "=")
				value = expand(unquote(value), values)
				if own, ok := args[key]; ok {
					value = own
				}
				values[key] = value
			}
		case "FROM":
			words := slices.DeleteFunc(strings.Fields(i.rest), func(w string) bool { return strings.HasPrefix(w, "--") })
			if len(words) == 0 {
				return nil, fmt.Errorf("line %d: FROM names no image", i.line)
			}
			image := expand(unquote(words[0]), values)
			if image == "" {
				return nil, fmt.Errorf("line %d: FROM %s has no value: give it by --build-arg", i.line, name.Clip(words[0]))
			}
			if image != "scratch" && !slices.Contains(stages, strings.ToLower(image)) {
				add(Base{image, i.line, "FROM"})
			}
			stages = append(stages, strconv.Itoa(count))
			if count++; len(words) == 3 && strings.EqualFold(words[1], "AS") {
				stages = append(stages, strings.ToLower(words[2]))
			}
		case "COPY", "RUN":
			for _, image := range from(i) {
				if !slices.Contains(stages, strings.ToLower(image)) && image != "scratch" {
					add(Base{image, i.line, i.word})
				}
			}
		}
	}
	if count == 0 {
		return nil, errors.New("the Dockerfile has no FROM")
	}
	return out, nil
}

// from returns the values of --from of COPY, and of from in --mount of RUN. Variables are not expanded in them.
func from(i instruction) (all []string) {
	for _, w := range strings.Fields(i.rest) {
		flag, ok := strings.CutPrefix(w, "--")
		if !ok {
			break
		}
		key, value, _ := strings.Cut(flag, "=")
		switch {
		case i.word == "COPY" && key == "from" && value != "":
			all = append(all, unquote(value))
		case i.word == "RUN" && key == "mount":
			for part := range strings.SplitSeq(unquote(value), ",") {
				if image, ok := strings.CutPrefix(part, "from="); ok && image != "" {
					all = append(all, image)
				}
			}
		}
	}
	return all
}

// instructions splits a Dockerfile, and returns the image of its line # syntax.
func instructions(text string) (all []instruction, syntax Base) {
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	escape, head := `\`, true
	for n := 0; n < len(lines); n++ {
		line := strings.TrimSpace(lines[n])
		if m := directive.FindStringSubmatch(line); head && m != nil {
			switch strings.ToLower(m[1]) {
			case "syntax":
				syntax = Base{m[2], n + 1, "syntax"}
			case "escape":
				escape = m[2]
			}
			continue
		}
		if head = false; line == "" || line[0] == '#' {
			continue
		}
		begin := n + 1
		var whole strings.Builder
		for {
			part, more := strings.CutSuffix(line, escape)
			whole.WriteString(part)
			if !more {
				break
			}
			for n++; n < len(lines); n++ {
				if line = strings.TrimSpace(lines[n]); line != "" && line[0] != '#' {
					break
				}
			}
			if n >= len(lines) {
				break
			}
			whole.WriteByte(' ')
		}
		word, rest, _ := strings.Cut(strings.ReplaceAll(whole.String(), "\t", " "), " ")
		i := instruction{strings.ToUpper(word), strings.TrimSpace(rest), begin}
		all = append(all, i)
		if slices.Contains([]string{"RUN", "COPY", "ADD"}, i.word) {
			rest := i.rest
			for m := heredoc.FindStringSubmatch(rest); m != nil; m = heredoc.FindStringSubmatch(rest) {
				_, rest, _ = strings.Cut(rest, m[0])
				for n++; n < len(lines) && strings.TrimSpace(lines[n]) != m[1]; {
					n++
				}
			}
		}
	}
	return all, syntax
}

// expand replaces variables by their values; ${NAME:-default} and ${NAME:+alternative} are known.
func expand(text string, values map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		m := variable.FindStringSubmatch(found)
		value := values[m[1]+m[4]]
		switch {
		case m[2] == "-" && value == "":
			return m[3]
		case m[2] == "+" && value != "":
			return m[3]
		case m[2] == "+":
			return ""
		}
		return value
	})
}

func unquote(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
