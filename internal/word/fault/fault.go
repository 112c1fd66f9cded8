// Package fault defines the error that crosses package borders: a code, a text for the client, and a private cause.
//
// A function that knows the meaning of a failure makes an *Error with [Code.New]; every other function wraps the error
// with fmt.Errorf. An error without a code is an internal error: the client receives "internal error" and the request
// id, never the text. Each Code has a [Class], from which a surface derives the wire form; the table of the surface
// lists the codes whose wire form differs from that of their class. A test of each surface checks all [Codes] and
// [Classes].
package fault

import (
	"errors"
	"fmt"
)

// Error is a failure whose meaning is known.
type Error struct {
	Code   Code
	Public string         // shown to the client; never made from Err
	Fields map[string]any // members of the modelled exception, such as lastValidByteReceived; nil if it has none
	Err    error          // for the log only; may be nil
}

// New returns an error with code c and a public text, formatted like fmt.Sprintf. The client sees the text.
func (c Code) New(format string, args ...any) *Error {
	return &Error{Code: c, Public: fmt.Sprintf(format, args...)}
}

// Error returns the name of the code. It makes a Code an error, so that it can be the target of errors.Is.
func (c Code) Error() string { return c.String() }

// Because sets the private cause of e and returns e.
func (e *Error) Because(cause error) *Error {
	e.Err = cause
	return e
}

// With sets one member of the modelled exception and returns e.
func (e *Error) With(member string, value any) *Error {
	if e.Fields == nil {
		e.Fields = map[string]any{}
	}
	e.Fields[member] = value
	return e
}

// Error returns the code, the public text and the cause, for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code.String() + ": " + e.Public + ": " + e.Err.Error()
	}
	return e.Code.String() + ": " + e.Public
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the code of e, so that errors.Is(err, fault.RepositoryNotFound) works.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// From returns the first *Error in the chain of err. If the chain has a bare Code, From returns an error with that code
// and err as its cause; otherwise an [Internal] error with err as its cause. From(nil) returns nil.
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
