package meta

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// SendKind is the kind of the jobs that copy an image to another installation because a client has asked for it.
const SendKind = "image_copy"

// MaxSends limits the copies of an account that wait or run.
const MaxSends = 1000

// SendInput is the input of such a job.
type SendInput struct {
	Integration int64    `json:"integration"` // of the destination
	Repository  int64    `json:"repository"`
	Digest      string   `json:"digest"`
	To          string   `json:"to"`             // the repository there
	Tags        []string `json:"tags,omitempty"` // there
}

// SendPlace is the place of such a job: how far it is, for people.
type SendPlace struct {
	Layers int64 `json:"layers"` // that are at the destination
	Of     int64 `json:"of"`     // the layers of the image, its index and their referrers, each once
	Sent   int64 `json:"sent"`   // bytes, in this attempt
}

// StartSend adds a job that copies an image, for the account of the integration, and returns its id. If the same copy waits, that one is
// returned; if it runs, it runs once more.
//
// Errors: fault.LimitExceeded (limit copies of the account wait or run).
func (s *Store) StartSend(ctx context.Context, account name.Account, in SendInput, limit int) (id int64, err error) {
	text, err := json.Marshal(in)
	if err != nil {
		return 0, fmt.Errorf("encoding the input of a copy: %w", err)
	}
	sum := sha256.Sum256(text)
	j := NewJob{Kind: SendKind, Key: hex.EncodeToString(sum[:]), Account: account.String(), Input: string(text)}
	err = s.write.do(ctx, func(t *tx) error {
		const live = `SELECT id FROM jobs WHERE kind = $1 AND key = $2 AND state < 3`
		found, err := t.one(live, args{j.Kind, j.Key}, &id)
		if err != nil {
			return err
		}
		if !found {
			var n int
			if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE kind = $1 AND account = $2 AND state <= 2 LIMIT $3) q`,
				args{j.Kind, j.Account, limit}, &n); err != nil {
				return err
			}
			if n >= limit {
				return fault.LimitExceeded.New("%d copies of the account %s to other installations wait or run: repeat when some have ended",
					n, account)
			}
			id, err = t.insertJob(j, s.now())
			return err
		}
		return t.enqueue(j, s.now())
	})
	return id, err
}
