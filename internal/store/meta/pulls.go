package meta

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// PullLine is a request of a customer, or a refused one without a valid licence, about an image or a chart of an application.
type PullLine struct {
	ID          int64
	Application string // id
	Customer    string // id; "" without a valid licence
	At          time.Time
	Request     string // id
	Token       string // name of the token; "" for the licence itself
	Kind        string // see usage.PullKind
	Action      string // see usage.PullAction
	Image       string
	Reference   string
	Digest      string // of what was sent; "" for none
	Sent        int64  // bytes of the body of the answer
	Address     string
	Agent       string
	Status      int
	Code        string // of the error; "" for a success
	// UpstreamStatus and UpstreamCode are what the external registry answered whose failure is the cause; zero for none.
	UpstreamStatus int
	UpstreamCode   string
}

const insertPull = `INSERT INTO pull_log (id, application, customer, at, request, token, kind, action, image, reference, digest, sent, address,
	agent, status, code, upstream_status, upstream_code)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`

// PutPullLines stores lines, in one transaction. Lines of applications that do not exist are left out.
func (s *Store) PutPullLines(ctx context.Context, all []PullLine) error {
	return s.write.doMany(ctx, 2*len(all), func(t *tx) error {
		known := map[string]bool{}
		for _, l := range all {
			found, err := t.isApplication(l.Application, known)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			id, err := t.newID(l.At)
			if err != nil {
				return err
			}
			if _, err := t.exec(insertPull, id, l.Application, l.Customer, micros(l.At), l.Request, l.Token, l.Kind, l.Action,
				l.Image, l.Reference, l.Digest,
				l.Sent, l.Address, l.Agent, l.Status, l.Code, l.UpstreamStatus, l.UpstreamCode); err != nil {
				return fmt.Errorf("storing a line of the pull log: %w", err)
			}
		}
		return nil
	})
}

// isApplication reports whether there is an application with an id. known has what earlier calls have found.
func (t *tx) isApplication(id string, known map[string]bool) (bool, error) {
	if found, ok := known[id]; ok {
		return found, nil
	}
	one := 0
	found, err := t.one(`SELECT 1 FROM applications WHERE id = $1`, args{id}, &one)
	if err == nil {
		known[id] = found
	}
	return found, err
}

// PullQuery selects lines of the pull log of an application.
type PullQuery struct {
	Application string
	Customer    *string // id, or "" for requests without a valid licence; nil for all
	Image       string  // begins the name of the image
	Failed      bool    // lines with an error alone
	Status      int     // of HTTP; 0 for all
	From, To    time.Time
}

// PullLineKey is where a page of the pull log begins: after this line, which is older.
type PullLineKey struct {
	At time.Time
	ID int64
}

// Zero reports whether the key is that of the first page.
func (k PullLineKey) Zero() bool { return k.ID == 0 }

// maxPullsRead limits the lines that one call looks at.
const maxPullsRead = 5000

// The lines of an application, and those of a customer, that are older than a key: the newest first.
const (
	pullColumns = `id, application, customer, at, request, token, kind, action, image, reference, digest, sent, address, agent, status, code,
		upstream_status, upstream_code`
	pullsByTime = `SELECT ` + pullColumns + ` FROM pull_log WHERE application = $1 AND at >= $2 AND (at, id) < ($3, $4)
		ORDER BY at DESC, id DESC LIMIT $5`
	pullsByCustomer = `SELECT ` + pullColumns + ` FROM pull_log WHERE application = $1 AND customer = $2 AND (at, id) < ($3, $4)
		ORDER BY at DESC, id DESC LIMIT $5`
)

// Pulls returns at most limit lines of the pull log after a key, the newest first. It looks at no more than 5,000 lines: next is where the
// search continues, the zero key at its end.
func (s *Store) Pulls(ctx context.Context, q PullQuery, after PullLineKey, limit int) (all []PullLine, next PullLineKey, err error) {
	if after.Zero() {
		after = PullLineKey{At: q.To}
	}
	in := args{q.Application, micros(q.From), micros(after.At), after.ID, maxPullsRead}
	text := pullsByTime
	if q.Customer != nil {
		text, in[1] = pullsByCustomer, *q.Customer
	}
	read, ended := 0, false
	err = s.read.rows(ctx, text, in, func(scan func(...any) error) error {
		if ended {
			return nil
		}
		var l PullLine
		var at int64
		if err := scan(&l.ID, &l.Application, &l.Customer, &at, &l.Request, &l.Token, &l.Kind, &l.Action, &l.Image, &l.Reference, &l.Digest,
			&l.Sent, &l.Address, &l.Agent, &l.Status, &l.Code, &l.UpstreamStatus, &l.UpstreamCode); err != nil {
			return err
		}
		if l.At = fromMicros(at); l.At.Before(q.From) {
			ended = true
			return nil
		}
		if q.selects(l) {
			all = append(all, l)
		}
		if read++; read == maxPullsRead || len(all) == limit {
			next, ended = PullLineKey{At: l.At, ID: l.ID}, true
		}
		return nil
	})
	return all, next, err
}

func (q PullQuery) selects(l PullLine) bool {
	return len(l.Image) >= len(q.Image) && l.Image[:len(q.Image)] == q.Image && (!q.Failed || l.Code != "") &&
		(q.Status == 0 || l.Status == q.Status)
}

// PullApplications returns at most limit ids of applications that have lines in the pull log, after an id. They need not exist any more.
func (s *Store) PullApplications(ctx context.Context, after string, limit int) (all []string, err error) {
	for len(all) < limit {
		var of string
		err := s.read.rows(ctx, `SELECT application FROM pull_log WHERE application > $1 ORDER BY application, at, id LIMIT 1`, args{after},
			func(scan func(...any) error) error { return scan(&of) })
		if err != nil || of == "" {
			return all, err
		}
		all, after = append(all, of), of
	}
	return all, nil
}

// PullCounts returns how many lines of the pull log each customer of an application has; "" for requests without a valid licence.
func (s *Store) PullCounts(ctx context.Context, application string) (map[string]int, error) {
	all := map[string]int{}
	err := s.read.rows(ctx, `SELECT customer, COUNT(*) FROM pull_log WHERE application = $1 GROUP BY customer`, args{application},
		func(scan func(...any) error) error {
			var of string
			var n int
			err := scan(&of, &n)
			all[of] = n
			return err
		})
	return all, err
}

// DeleteOldPulls deletes at most limit lines of an application from before a time, or all lines if the application does not exist any more.
// It returns how many.
func (s *Store) DeleteOldPulls(ctx context.Context, application string, before time.Time, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		one, end := 0, micros(before)
		exists, err := t.one(`SELECT 1 FROM applications WHERE id = $1`, args{application}, &one)
		if err != nil {
			return err
		}
		if !exists {
			end = micros(s.now().Add(24 * time.Hour))
		}
		n, err := t.exec(`DELETE FROM pull_log WHERE id IN (SELECT id FROM pull_log WHERE application = $1 AND at < $2 ORDER BY at LIMIT $3)`,
			application, end, limit)
		deleted = int(n)
		return err
	})
	return deleted, err
}

// DeletePullsOf deletes the oldest lines of a customer, at most limit. It returns how many.
func (s *Store) DeletePullsOf(ctx context.Context, application, customer string, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		n, err := t.exec(`DELETE FROM pull_log WHERE id IN (SELECT id FROM pull_log WHERE application = $1 AND customer = $2 ORDER BY at LIMIT $3)`,
			application, customer, limit)
		deleted = int(n)
		return err
	})
	return deleted, err
}

// PulledImage is the last pull of an image by a customer and reference.
type PulledImage struct {
	Application string // id
	Customer    string // id
	Image       string
	Reference   string // tag or digest
	Digest      string
	Token       string // name; "" for the licence itself
	At          time.Time
}

// MaxPulledImages is how many images and references of a customer are remembered: one more replaces the one that was
// not pulled for longest.
const MaxPulledImages = 500

// PutPulledImages stores the last pulls, in one transaction. Those of applications that do not exist are left out, and those that are older
// than what is stored.
func (s *Store) PutPulledImages(ctx context.Context, all []PulledImage) error {
	return s.write.doMany(ctx, 2*len(all), func(t *tx) error {
		known := map[string]bool{}
		for _, p := range all {
			found, err := t.isApplication(p.Application, known)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			if err := t.putPulledImage(p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) putPulledImage(p PulledImage) error {
	var at int64
	key := args{p.Application, p.Customer, p.Image, p.Reference}
	found, err := t.one(`SELECT pulled_at FROM pulled_images WHERE application = $1 AND customer = $2 AND image = $3 AND reference = $4`, key, &at)
	switch {
	case err != nil || found && at > micros(p.At):
		return err
	case found:
		_, err = t.exec(`UPDATE pulled_images SET digest = $5, token = $6, pulled_at = $7
			WHERE application = $1 AND customer = $2 AND image = $3 AND reference = $4`, append(key, p.Digest, p.Token, micros(p.At))...)
		return err
	}
	var n int
	var oldest int64
	if _, err := t.one(`SELECT COUNT(*), COALESCE(MIN(pulled_at), 0) FROM pulled_images WHERE application = $1 AND customer = $2`, key[:2], &n,
		&oldest); err != nil {
		return err
	}
	if n >= MaxPulledImages {
		if _, err := t.exec(`DELETE FROM pulled_images WHERE application = $1 AND customer = $2 AND pulled_at = $3`, p.Application, p.Customer,
			oldest); err != nil {
			return err
		}
	}
	_, err = t.exec(`INSERT INTO pulled_images (application, customer, image, reference, digest, token, pulled_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		append(key, p.Digest, p.Token, micros(p.At))...)
	return err
}

// PulledImages returns the last pulls of a customer, at most MaxPulledImages, by image and reference.
func (s *Store) PulledImages(ctx context.Context, application, customer string) (all []PulledImage, err error) {
	err = s.read.rows(ctx, `SELECT image, reference, digest, token, pulled_at FROM pulled_images WHERE application = $1 AND customer = $2
		ORDER BY image, reference LIMIT $3`, args{application, customer, MaxPulledImages}, func(scan func(...any) error) error {
		p := PulledImage{Application: application, Customer: customer}
		var at int64
		err := scan(&p.Image, &p.Reference, &p.Digest, &p.Token, &at)
		p.At = fromMicros(at)
		all = append(all, p)
		return err
	})
	return slices.Clip(all), err
}

// Pullers returns at most limit ids of customers of an application after one that have pulled, and have no installation that was
// seen. Archived ones are left out.
func (s *Store) Pullers(ctx context.Context, application, after string, limit int) (all []string, err error) {
	err = s.read.rows(ctx, `SELECT DISTINCT customer FROM pulled_images p WHERE application = $1 AND customer > $2
		AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.customer = p.customer)
		AND NOT EXISTS (SELECT 1 FROM customers c WHERE c.id = p.customer AND c.archived_at <> 0) ORDER BY customer LIMIT $3`, args{application, after, limit},
		func(scan func(...any) error) error {
			var of string
			err := scan(&of)
			all = append(all, of)
			return err
		})
	return all, err
}
