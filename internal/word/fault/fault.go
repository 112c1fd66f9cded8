// Package fault is the error that crosses package borders: a code, a text for the client, and a private cause.
//
// Code that knows the meaning of a failure makes an *Error with [Code.New]; everything else wraps with fmt.Errorf.
// An error without a code is the program's own fault: a client sees "internal error" and its request id, never the
// text. Each Code has a [Class], from which a surface derives the form on the wire; the surface's table has the codes
// whose form is another one. A test of each surface walks [Codes] and [Classes].
package fault

import (
	"errors"
	"fmt"
)

// Error is a failure whose meaning is known.
type Error struct {
	Code   Code
	Public string         // shown to the client; never built from Err
	Fields map[string]any // modelled members of the wire error, such as lastValidByteReceived; nil when there are none
	Err    error          // for the log only; may be nil
}

// New makes an error with a text that the client may see.
func (c Code) New(format string, args ...any) *Error {
	return &Error{Code: c, Public: fmt.Sprintf(format, args...)}
}

// Error lets a Code stand as the target of errors.Is.
func (c Code) Error() string { return c.String() }

// Because records the private cause and returns e.
func (e *Error) Because(cause error) *Error {
	e.Err = cause
	return e
}

// With adds one modelled member to the wire error and returns e.
func (e *Error) With(member string, value any) *Error {
	if e.Fields == nil {
		e.Fields = map[string]any{}
	}
	e.Fields[member] = value
	return e
}

// Error gives the full text, cause included: for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code.String() + ": " + e.Public + ": " + e.Err.Error()
	}
	return e.Code.String() + ": " + e.Public
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, fault.RepositoryNotFound) work.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// From returns the coded error in err's chain, or an [Internal] one that keeps err as its cause.
// From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var c Code
	if errors.As(err, &c) {
		return &Error{Code: c, Public: c.String(), Err: err}
	}
	return &Error{Code: Internal, Public: "internal error", Err: err}
}
