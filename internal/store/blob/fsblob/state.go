package fsblob

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"errors"
	"fmt"
	"hash"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// hasher is a hash with its algorithm, whose state can be stored and restored.
//
// The stored form is the name of the algorithm, a zero byte, and the marshaled form of the standard library's
// hash (about 110 bytes for sha256, 210 for sha512). If a later version of Go changes that form, it refuses the
// old one, and the client starts the upload again.
type hasher struct {
	marshaled
	algorithm name.Algorithm
}

// marshaled is what the hashes of the standard library are documented to be.
type marshaled interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// hashes are the hashes of one content, each with another algorithm: the one that Begin was given, and then those that
// Hash has added. The stored form is that of the hashers in turn.
type hashes []hasher

// Write adds bytes to all hashes. It never returns an error.
func (h hashes) Write(p []byte) (int, error) {
	for _, one := range h {
		one.Write(p)
	}
	return len(p), nil
}

// of returns the hash with an algorithm.
func (h hashes) of(a name.Algorithm) (one hasher, ok bool) {
	for _, one := range h {
		if one.algorithm == a {
			return one, true
		}
	}
	return hasher{}, false
}

func (h hashes) state() (all []byte) {
	for _, one := range h {
		all = append(all, one.state()...)
	}
	return all
}

var errState = errors.New("upload state is not of this store")

func newHasher(a name.Algorithm) (hasher, error) {
	switch a {
	case name.SHA256:
		return hasher{sha256.New().(marshaled), a}, nil
	case name.SHA512:
		return hasher{sha512.New().(marshaled), a}, nil
	}
	return hasher{}, fmt.Errorf("digest algorithm %.20q: %w", string(a), errState)
}

func (h hasher) digest() name.Digest { return name.NewDigest(h.algorithm, h.Sum(nil)) }

func (h hasher) state() []byte {
	all, _ := h.AppendBinary(append([]byte(h.algorithm), 0)) // of the hashes above, never returns an error
	return all
}

// parseState restores hashes from the bytes that state returned. Errors: errState.
func parseState(b []byte) (all hashes, err error) {
	for len(b) > 0 || all == nil {
		one, rest, err := parseOne(b)
		if err != nil {
			return nil, err
		}
		if _, twice := all.of(one.algorithm); twice {
			return nil, errState
		}
		all, b = append(all, one), rest
	}
	return all, nil
}

// parseOne restores the first hash of a state, and returns the rest of the state. Errors: errState.
func parseOne(b []byte) (h hasher, rest []byte, err error) {
	a, _, _ := bytes.Cut(b, []byte{0})
	if h, err = newHasher(name.Algorithm(a)); err != nil {
		return hasher{}, nil, err
	}
	n := len(h.state()) // of all states of a hash
	if len(b) < n {
		return hasher{}, nil, errState
	}
	if err := h.UnmarshalBinary(b[len(a)+1 : n]); err != nil {
		return hasher{}, nil, fmt.Errorf("%w: %w", errState, err)
	}
	return h, b[n:], nil
}
