package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// MaxCompatibility is how many clusters a release can have results of.
const MaxCompatibility = 500

// Compatibility is what the vendor has found out about a release on a kind of cluster. Zero times are none.
type Compatibility struct {
	Application  string // id
	Sequence     int64
	Distribution string
	Version      string // of Kubernetes
	SuccessAt    time.Time
	SuccessNotes string
	FailureAt    time.Time
	FailureNotes string
	ReportedAt   time.Time
	ReportedBy   string // ARN
}

const compatibilityColumns = `application, sequence, distribution, version, success_at, success_notes, failure_at, failure_notes, reported_at,
	reported_by`

func scanCompatibility(scan func(...any) error) (Compatibility, error) {
	var c Compatibility
	var success, failure, reported int64
	err := scan(&c.Application, &c.Sequence, &c.Distribution, &c.Version, &success, &c.SuccessNotes, &failure, &c.FailureNotes, &reported,
		&c.ReportedBy)
	c.SuccessAt, c.FailureAt, c.ReportedAt = fromMicros(success), fromMicros(failure), fromMicros(reported)
	return c, err
}

// PutCompatibility stores a result. Of an earlier one about the same kind of cluster, the success stays if the new one has none, and the
// failure likewise.
//
// Errors: fault.ObjectNotFound (the release), fault.LimitExceeded.
func (s *Store) PutCompatibility(ctx context.Context, c Compatibility) (Compatibility, error) {
	err := s.write.do(ctx, func(t *tx) error {
		one, n := 0, 0
		found, err := t.one(`SELECT 1 FROM releases WHERE application = $1 AND sequence = $2`, args{c.Application, c.Sequence}, &one)
		if err == nil && !found {
			err = noRelease(c.Sequence)
		}
		if err != nil {
			return err
		}
		c.ReportedAt = fromMicros(micros(s.now()))
		key := args{c.Application, c.Sequence, c.Distribution, c.Version}
		var success, failure int64
		var successNotes, failureNotes string
		known, err := t.one(`SELECT success_at, success_notes, failure_at, failure_notes FROM release_compatibility
			WHERE application = $1 AND sequence = $2 AND distribution = $3 AND version = $4`, key, &success, &successNotes, &failure, &failureNotes)
		if err != nil {
			return err
		}
		if known {
			if c.SuccessAt.IsZero() {
				c.SuccessAt, c.SuccessNotes = fromMicros(success), successNotes
			}
			if c.FailureAt.IsZero() {
				c.FailureAt, c.FailureNotes = fromMicros(failure), failureNotes
			}
			_, err = t.exec(`UPDATE release_compatibility SET success_at = $5, success_notes = $6, failure_at = $7, failure_notes = $8,
				reported_at = $9, reported_by = $10 WHERE application = $1 AND sequence = $2 AND distribution = $3 AND version = $4`,
				append(key, c.values()...)...)
			return err
		}
		if _, err := t.one(`SELECT COUNT(*) FROM release_compatibility WHERE application = $1 AND sequence = $2`, key[:2], &n); err != nil {
			return err
		}
		if n >= MaxCompatibility {
			return fault.LimitExceeded.New("a release can have results of at most %d kinds of clusters", MaxCompatibility)
		}
		_, err = t.exec(`INSERT INTO release_compatibility (`+compatibilityColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			append(key, c.values()...)...)
		return err
	})
	return c, err
}

// values returns what is no key.
func (c Compatibility) values() []any {
	return []any{micros(c.SuccessAt), c.SuccessNotes, micros(c.FailureAt), c.FailureNotes, micros(c.ReportedAt), c.ReportedBy}
}

// Compatibility returns the results about the releases of an application from a sequence to another, by sequence, distribution and version.
func (s *Store) Compatibility(ctx context.Context, application string, from, to int64) (map[int64][]Compatibility, error) {
	all := map[int64][]Compatibility{}
	err := s.read.rows(ctx, `SELECT `+compatibilityColumns+` FROM release_compatibility WHERE application = $1 AND sequence >= $2
		AND sequence <= $3 ORDER BY sequence, distribution, version`, args{application, from, to}, func(scan func(...any) error) error {
		c, err := scanCompatibility(scan)
		all[c.Sequence] = append(all[c.Sequence], c)
		return err
	})
	return all, err
}
