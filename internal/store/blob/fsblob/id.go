package fsblob

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// ID returns the id of the directory of a Store, which is the same for all processes that use the directory. The first call creates it.
//
// Errors: those of the file system.
func ID(dir string) (string, error) {
	path := dir + "/id"
	if text, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	var random [16]byte
	rand.Read(random[:]) // never returns an error
	if err := durable.CreateFile(path, []byte(hex.EncodeToString(random[:])+"\n"), fileMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("writing the id of the blob directory: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the id of the blob directory: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
