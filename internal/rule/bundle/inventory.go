package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Inventory is what a receiver has: blobs whose bytes were read and hashed at a time.
type Inventory struct {
	Format    string    `json:"format"`
	Receiver  string    `json:"receiver"` // for people, such as the host of the registry
	CreatedAt time.Time `json:"createdAt"`
	Blobs     []Held    `json:"blobs"` // sorted by digest
}

// Held is a blob of an inventory.
type Held struct {
	Digest string   `json:"digest"`
	Size   int64    `json:"size"`
	At     []string `json:"at"`             // repositories, at most 4
	From   string   `json:"from,omitempty"` // the bundle in which it came, for people
}

// MaxAt is the largest number of repositories that an inventory names for a blob.
const MaxAt = 4

// signedInventory is the file of an inventory.
type signedInventory struct {
	Inventory []byte    `json:"inventory"`
	Signature Signature `json:"signature"`
}

// Seal returns the file of an inventory, signed with a key.
//
// Errors: those of OpenInventory for its form.
func (i *Inventory) Seal(key OwnKey) ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	document, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	s, err := key.Sign(OfInventory, Digest(document))
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(signedInventory{document, s}, "", " ")
}

// OpenInventory parses the file of an inventory and verifies its signature. With keys that trust none, the key that signed it is taken from
// the file: the signature then shows only that the file is as it was written. An inventory that lies makes a bundle that its own receiver
// refuses, and no more.
//
// Errors: it is none; those of Keys.Verify.
func OpenInventory(file []byte, keys *Keys) (*Inventory, Base, error) {
	var f signedInventory
	if err := decode(file, &f); err != nil {
		return nil, Base{}, fmt.Errorf("the file is no inventory: %w", err)
	}
	signature, err := f.Signature.Encode()
	if err != nil {
		return nil, Base{}, err
	}
	if keys == nil || keys.Empty() {
		trusted := Keys{}
		if keys != nil {
			trusted.revoked = keys.revoked
		}
		if f.Signature.PublicKey == "" {
			return nil, Base{}, ErrUnsigned
		}
		if err := trusted.Add(f.Signature.PublicKey); err != nil {
			return nil, Base{}, err
		}
		keys = &trusted
	}
	id, err := keys.Verify(OfInventory, f.Inventory, signature)
	if err != nil {
		return nil, Base{}, fmt.Errorf("the inventory: %w", err)
	}
	var i Inventory
	if err := decode(f.Inventory, &i); err != nil {
		return nil, Base{}, fmt.Errorf("the inventory: %w", err)
	}
	if err := i.check(); err != nil {
		return nil, Base{}, fmt.Errorf("the inventory: %w", err)
	}
	return &i, Base{Digest: Digest(f.Inventory), Receiver: i.Receiver, CreatedAt: i.CreatedAt, KeyID: id}, nil
}

func (i *Inventory) check() error {
	switch {
	case i.Format != InventoryFormat:
		return fmt.Errorf("its format is %q, and this program reads %s", name.Clip(i.Format), InventoryFormat)
	case !text(i.Receiver):
		return errors.New("it names no receiver")
	case len(i.Blobs) > MaxBlobs*5:
		return fmt.Errorf("it has more than %d blobs", MaxBlobs*5)
	}
	last := ""
	for _, b := range i.Blobs {
		if _, err := name.ParseDigest(b.Digest); err != nil {
			return err
		}
		if b.Digest <= last || b.Size < 0 || len(b.At) > MaxAt || len(b.From) > maxText {
			return fmt.Errorf("the blob %s is not valid, or not in the order of digests", b.Digest)
		}
		last = b.Digest
	}
	return nil
}

// Common returns the blobs that all inventories have with the same size, by their digests; with none, an empty map.
func Common(all []*Inventory) map[string]Held {
	common := map[string]Held{}
	for n, i := range all {
		next := map[string]Held{}
		for _, b := range i.Blobs {
			if n == 0 {
				next[b.Digest] = Held{Digest: b.Digest, Size: b.Size, From: b.From, At: slices.Clone(b.At)}
				continue
			}
			have, ok := common[b.Digest]
			if !ok || have.Size != b.Size {
				continue
			}
			for _, at := range b.At {
				if !slices.Contains(have.At, at) && len(have.At) < 64 {
					have.At = append(have.At, at)
				}
			}
			if have.From == "" {
				have.From = b.From
			}
			next[b.Digest] = have
		}
		common = next
	}
	return common
}
