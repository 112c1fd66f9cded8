package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Receipts are the bundles that were made or imported by a user, in a folder. They say in which bundle a blob came, for messages: nothing
// is decided by them. Those that are lost or damaged are not known any more, and no more.
type Receipts struct{ Dir string } // "" keeps none

const maxReceipts = 10_000 // that are read

// receipt is the file of one bundle.
type receipt struct {
	Set       string    `json:"set"`
	Label     string    `json:"label"`
	CreatedAt time.Time `json:"createdAt"`
	Digests   []string  `json:"digests"` // of what was inside
}

// Add keeps what a bundle has.
func (r Receipts) Add(s *bundle.Statement) error {
	if r.Dir == "" {
		return nil
	}
	one := receipt{Set: s.Set, Label: label(s), CreatedAt: s.CreatedAt}
	for _, b := range s.Blobs {
		one.Digests = append(one.Digests, b.Digest)
	}
	text, err := json.Marshal(one)
	if err == nil {
		err = os.MkdirAll(r.Dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(r.Dir, s.Set+".json"), text, 0o600)
	}
	return err
}

// Came returns the function that names the newest bundle in which a blob came.
//
// Errors: the folder cannot be read.
func (r Receipts) Came() (func(digest string) string, error) {
	var all []fs.DirEntry
	if r.Dir != "" {
		var err error
		if all, err = os.ReadDir(r.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	newest, labels := map[string]time.Time{}, map[string]string{}
	for n, f := range all {
		if n == maxReceipts || !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.Dir, f.Name()))
		var one receipt
		if err != nil || json.Unmarshal(text, &one) != nil {
			continue
		}
		for _, d := range one.Digests {
			if labels[d] == "" || one.CreatedAt.After(newest[d]) {
				newest[d], labels[d] = one.CreatedAt, one.Label
			}
		}
	}
	return func(digest string) string { return labels[digest] }, nil
}
