package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// CacheFetch is the right of one process to fetch something from another registry.
type CacheFetch struct {
	Key     string
	Growing CacheGrowth // where the bytes of a layer are
	Left    CacheGrowth // TakeCacheFetch: what a process has left that had the right before and has ended
	Failure string      // JSON: why it is not to be fetched until Ends; "" for a process that fetches
	Ends    time.Time   // of the right, unless it is renewed

	lease int64
}

// CacheGrowth is the upload to which a process writes a layer that arrives.
type CacheGrowth struct {
	Upload string // its id; "" for none
	Blob   string // the id of its bytes
}

// oldFetches is how long what has ended is kept, for a process that cleans up after it; maxOldFetches is how much of it one call removes.
const (
	oldFetches    = time.Hour
	maxOldFetches = 10
)

// TakeCacheFetch takes the right for a key, for a time, unless a process has it; then mine is false and the result is that of the other
// one, or the failure that is still remembered.
func (s *Store) TakeCacheFetch(ctx context.Context, key string, life time.Duration) (f CacheFetch, mine bool, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now := s.now()
		held, found, err := readFetch(key, func(dst ...any) (bool, error) {
			return t.one(`SELECT lease, upload, blob, failure, ends_at FROM cache_fetches WHERE key = $1`, args{key}, dst...)
		})
		if f, mine = held, false; err != nil || found && now.Before(held.Ends) {
			return err
		}
		number, err := t.newID(now)
		if err != nil {
			return err
		}
		f, mine = CacheFetch{Key: key, Left: held.Growing, Ends: now.Add(life), lease: number}, true
		if _, err := t.exec(`INSERT INTO cache_fetches (key, node, lease, upload, blob, failure, ends_at) VALUES ($1, $2, $3, '', '', '', $4)
			ON CONFLICT (key) DO UPDATE SET node = excluded.node, lease = excluded.lease, upload = '', blob = '', failure = '',
				ends_at = excluded.ends_at`, key, s.node, number, micros(f.Ends)); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM cache_fetches WHERE key IN (SELECT key FROM cache_fetches WHERE ends_at < $1 ORDER BY ends_at LIMIT $2)`,
			micros(now.Add(-oldFetches)), maxOldFetches)
		return err
	})
	return f, mine, err
}

// CacheFetch returns who fetches a key, or why it is not to be fetched. ok is false if there is nothing.
func (s *Store) CacheFetch(ctx context.Context, key string) (f CacheFetch, ok bool, err error) {
	return readFetch(key, func(dst ...any) (bool, error) {
		err := s.read.row(ctx, `SELECT lease, upload, blob, failure, ends_at FROM cache_fetches WHERE key = $1`, args{key}, dst...)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	})
}

func readFetch(key string, read func(dst ...any) (bool, error)) (f CacheFetch, found bool, err error) {
	f.Key = key
	var ends int64
	found, err = read(&f.lease, &f.Growing.Upload, &f.Growing.Blob, &f.Failure, &ends)
	f.Ends = fromMicros(ends)
	return f, found && err == nil, err
}

// RenewCacheFetch extends the right, and stores where the bytes are. ok is false if another process has it.
func (s *Store) RenewCacheFetch(ctx context.Context, f CacheFetch, life time.Duration) (ok bool, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE cache_fetches SET upload = $3, blob = $4, ends_at = $5 WHERE key = $1 AND lease = $2`, f.Key, f.lease,
			f.Growing.Upload, f.Growing.Blob, micros(s.now().Add(life)))
		ok = n > 0
		return err
	})
	return ok, err
}

// EndCacheFetch gives the right back after success. It does nothing if another process has it.
func (s *Store) EndCacheFetch(ctx context.Context, f CacheFetch) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM cache_fetches WHERE key = $1 AND lease = $2`, f.Key, f.lease)
		return err
	})
}

// FailCacheFetch gives the right back after a failure, which is remembered for a time; at most 64 KiB of JSON. It does nothing if another
// process has it.
func (s *Store) FailCacheFetch(ctx context.Context, f CacheFetch, failure string, span time.Duration) error {
	if len(failure) > maxJobText {
		failure, span = "", 0
	}
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE cache_fetches SET upload = '', blob = '', failure = $3, ends_at = $4 WHERE key = $1 AND lease = $2`,
			f.Key, f.lease, failure, micros(s.now().Add(span)))
		return err
	})
}

// maxLeftFetches is the number of fetches that one call of LeaveCacheFetches ends.
const maxLeftFetches = 1000

// LeaveCacheFetches ends the rights that this process had when it ended last, and returns what it has left. It is called before the
// process takes the first.
func (s *Store) LeaveCacheFetches(ctx context.Context) (left []CacheGrowth, err error) {
	var mine []CacheFetch
	err = s.read.rows(ctx, `SELECT key, lease, upload, blob FROM cache_fetches WHERE node = $1 ORDER BY key LIMIT $2`,
		args{s.node, maxLeftFetches}, func(scan func(...any) error) error {
			var f CacheFetch
			err := scan(&f.Key, &f.lease, &f.Growing.Upload, &f.Growing.Blob)
			if mine = append(mine, f); f.Growing.Upload != "" {
				left = append(left, f.Growing)
			}
			return err
		})
	if err != nil || len(mine) == 0 {
		return nil, err
	}
	return left, s.write.do(ctx, func(t *tx) error {
		for _, f := range mine {
			if _, err := t.exec(`DELETE FROM cache_fetches WHERE key = $1 AND lease = $2`, f.Key, f.lease); err != nil {
				return err
			}
		}
		return nil
	})
}
