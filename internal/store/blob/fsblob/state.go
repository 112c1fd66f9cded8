package fsblob

import (
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
	hash.Hash
	algorithm name.Algorithm
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

func (h hashes) state() (all []byte, err error) {
	for _, one := range h {
		b, err := one.state()
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

var errState = errors.New("upload state is not of this store")

func newHasher(a name.Algorithm) (hasher, error) {
	switch a {
	case name.SHA256:
		return hasher{sha256.New(), a}, nil
	case name.SHA512:
		return hasher{sha512.New(), a}, nil
	}
	return hasher{}, fmt.Errorf("digest algorithm %q: %w", string(a), errState)
}

func (h hasher) digest() name.Digest { return name.NewDigest(h.algorithm, h.Sum(nil)) }

func (h hasher) state() ([]byte, error) {
	m, ok := h.Hash.(encoding.BinaryAppender)
	if !ok {
		return nil, fmt.Errorf("storing the state of %s: %w", h.algorithm, errors.ErrUnsupported)
	}
	return m.AppendBinary(append([]byte(h.algorithm), 0))
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
	for _, a := range algorithms {
		if len(b) <= len(a) || string(b[:len(a)]) != string(a) || b[len(a)] != 0 {
			continue
		}
		h, err := newHasher(a)
		if err != nil {
			return hasher{}, nil, err
		}
		m, ok := h.Hash.(encoding.BinaryUnmarshaler)
		if !ok {
			return hasher{}, nil, fmt.Errorf("restoring the state of %s: %w", a, errors.ErrUnsupported)
		}
		empty, err := h.state() // all states of a hash have the same length
		if err != nil {
			return hasher{}, nil, err
		}
		if len(b) < len(empty) {
			return hasher{}, nil, errState
		}
		if err := m.UnmarshalBinary(b[len(a)+1 : len(empty)]); err != nil {
			return hasher{}, nil, fmt.Errorf("%w: %w", errState, err)
		}
		return h, b[len(empty):], nil
	}
	return hasher{}, nil, errState
}
