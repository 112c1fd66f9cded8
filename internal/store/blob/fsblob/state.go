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

// parseState restores a hash from the bytes that state returned. Errors: errState.
func parseState(b []byte) (hasher, error) {
	for _, a := range algorithms {
		if len(b) <= len(a) || string(b[:len(a)]) != string(a) || b[len(a)] != 0 {
			continue
		}
		h, err := newHasher(a)
		if err != nil {
			return hasher{}, err
		}
		m, ok := h.Hash.(encoding.BinaryUnmarshaler)
		if !ok {
			return hasher{}, fmt.Errorf("restoring the state of %s: %w", a, errors.ErrUnsupported)
		}
		if err := m.UnmarshalBinary(b[len(a)+1:]); err != nil {
			return hasher{}, fmt.Errorf("%w: %w", errState, err)
		}
		return h, nil
	}
	return hasher{}, errState
}
