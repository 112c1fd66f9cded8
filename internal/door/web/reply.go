package web

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxMemoryReply is how many bytes of an answer are in memory while the client reads it.
const maxMemoryReply = 64 << 10

// Reply is the body of an answer, made whole before it is sent, so that a failure while it is made can still be answered. More than
// maxMemoryReply bytes go into a file of a spool: how slowly the client reads costs no memory.
type Reply struct {
	Owner string // on whose account the file is

	spool  *spool.Spool
	memory []byte
	file   *spool.File
}

// NewReply returns an empty Reply. The caller calls Close.
func NewReply(s *spool.Spool) *Reply { return &Reply{spool: s} }

// Write appends bytes.
//
// Errors: fault.Unavailable (too many large answers are under way, or the disk is full).
func (p *Reply) Write(b []byte) (int, error) {
	if p.file == nil && len(p.memory)+len(b) <= maxMemoryReply {
		p.memory = append(p.memory, b...)
		return len(b), nil
	}
	if p.file == nil {
		f, err := p.spool.Create(p.Owner, func() {}) // Write fails then
		if err != nil {
			return 0, err
		}
		p.file = f
		if _, err := f.Write(p.memory); err != nil {
			return 0, givenUp(err)
		}
		p.memory = nil
	}
	n, err := p.file.Write(b)
	return n, givenUp(err)
}

// Whole sets the bytes of an empty Reply. Those of a small answer are not copied: the caller must not change them.
//
// Errors: as of Write.
func (p *Reply) Whole(b []byte) error {
	if len(b) <= maxMemoryReply {
		p.memory = b
		return nil
	}
	_, err := p.Write(b)
	return err
}

// givenUp makes the error for a file that was given up one of the server.
func givenUp(err error) error {
	if errors.Is(err, fault.RequestTimeout) {
		err = fault.Unavailable.New("too many large answers are under way").Because(err)
	}
	return err
}

// Send sends the bytes, with status 200. An answer that is given up for others, or whose client has gone, breaks off: package http
// closes a connection that has received less than the declared length.
//
// Errors: as of Write; then nothing was sent.
func (p *Reply) Send(w http.ResponseWriter) error {
	if p.file == nil {
		_, _ = w.Write(p.memory) // a client that has gone cannot be told
		return nil
	}
	from, err := p.file.Reader()
	if err == nil {
		err = p.file.Await(func() { interruptWrites(w) })
	}
	if err != nil {
		return givenUp(err)
	}
	w.Header()["Content-Length"] = []string{strconv.FormatInt(p.file.Size(), 10)}
	_, _ = io.CopyN(w, from, p.file.Size())
	return nil
}

// Close frees the bytes. Further calls do nothing.
func (p *Reply) Close() {
	if p.file != nil {
		p.file.Close()
	}
}

// interruptWrites ends an answer: a write that waits fails at once, and so do all later ones. Any goroutine may call it.
func interruptWrites(w http.ResponseWriter) {
	if r, ok := w.(*recorder); ok {
		r.interrupt()
	}
}
