package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Problem is the place and the reason why a text is not a valid policy. It is the cause of the error that [Parse]
// returns, for errors.As.
type Problem struct {
	Line   int    // from 1
	Column int    // from 1, in characters
	Path   string // of the element, such as Statement[0].Principal.AWS[1]; "" for the document
	Reason string // one sentence without a full stop; holds values of the policy, clipped
	AWS    string // the sentence of IAM for it, "" where the one for all other errors of syntax is meant
}

// inWords sets the sentence of IAM for a problem. Source: answers of IAM.
func inWords(err error, format string, args ...any) error {
	var p *Problem
	if errors.As(err, &p) {
		p.AWS = fmt.Sprintf(format, args...)
	}
	return err
}

// Error returns line:column, path and reason.
func (p *Problem) Error() string {
	if p.Path == "" {
		return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Reason)
	}
	return fmt.Sprintf("%d:%d: %s: %s", p.Line, p.Column, p.Path, p.Reason)
}

// place returns the same as Error, with the place in words.
func (p *Problem) place() string {
	reason := p.Reason
	if p.Path != "" {
		reason = p.Path + ": " + reason
	}
	return fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, reason)
}

// problem returns the error for the byte at offset at of the text.
func (p *parser) problem(at int, path, format string, args ...any) error {
	before := p.text[:at]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return &Problem{
		Line:   strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(line) + 1,
		Path:   path,
		Reason: fmt.Sprintf(format, args...),
	}
}
