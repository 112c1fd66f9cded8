package lifecycle

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Problem is the place and the reason why a text is not a valid document. It is the cause of the errors of [Parse] and
// [ParseExtension], for errors.As.
type Problem struct {
	Line   int    // from 1
	Column int    // from 1, in characters
	Path   string // of the member, such as rules[0].selection.countType; "" for the document
	Reason string // one sentence without a full stop
	AWS    string // the sentence of ECR; "" for the extension
}

// Error returns place, path and reason.
func (p *Problem) Error() string {
	reason := p.Reason
	if p.Path != "" {
		reason = p.Path + ": " + reason
	}
	return fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, reason)
}

// problem returns the error for the byte at offset at of the text.
func (p *parser) problem(at int, path, aws, format string, args ...any) error {
	before := p.text[:at]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return &Problem{
		Line:   strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(line) + 1,
		Path:   path,
		Reason: fmt.Sprintf(format, args...),
		AWS:    aws,
	}
}

// fail returns the error for a value.
func (p *parser) fail(n node, aws, format string, args ...any) error {
	return p.problem(n.at, n.path, aws, format, args...)
}
