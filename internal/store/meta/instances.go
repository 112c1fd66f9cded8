package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
)

// MaxInstances limits the installations of a customer that are kept: one more replaces the one that was not seen for longest.
const MaxInstances = 100

// Instance is an installation of a customer, as it was seen last.
type Instance struct {
	Application string // id
	Customer    string // id
	ID          string
	Cluster     string // "" if it is not known, as the texts below
	Channel     string // id
	Sequence    int64  // of the channel, of the version that runs; 0 for none
	Kubernetes  string // version
	Status      string
	Address     string
	FirstSeen   time.Time
	LastSeen    time.Time
}

// Sighted is what is new about an installation that was seen.
type Sighted struct {
	First bool // it was seen for the first time, and the customer has room for it
	Ready bool // its status is ready, and was another one before
}

const (
	readyStatus = "ready"
	// readyEvery is the least time between two events about one installation that becomes ready: some change their status all the time.
	readyEvery = time.Hour
)

// PutInstance stores an installation as it was seen now, with the events that tell returns for what is new; nil for none.
//
// Errors: fault.ObjectNotFound (the customer).
func (s *Store) PutInstance(ctx context.Context, i Instance, tell func(Sighted) []event.Event) (is Sighted, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now := micros(s.now())
		var before string
		var ready int64
		known, err := t.one(`SELECT status, ready_at FROM instances WHERE customer = $1 AND id = $2`, args{i.Customer, i.ID}, &before, &ready)
		if err != nil {
			return err
		}
		is = Sighted{First: !known, Ready: i.Status == readyStatus && before != readyStatus && now-ready >= readyEvery.Microseconds()}
		if is.Ready {
			ready = now
		}
		if known {
			_, err = t.exec(`UPDATE instances SET cluster = $3, channel = $4, sequence = $5, kubernetes = $6, status = $7, address = $8,
				last_seen = $9, inactive = 0, ready_at = $10 WHERE customer = $1 AND id = $2`, i.Customer, i.ID, i.Cluster, i.Channel, i.Sequence,
				i.Kubernetes, i.Status, i.Address, now, ready)
			if err == nil && tell != nil {
				err = t.event(tell(is)...)
			}
			return err
		}
		var application string
		var count int
		found, err := t.one(`SELECT application FROM customers WHERE id = $1`, args{i.Customer}, &application)
		if err == nil && (!found || application != i.Application) {
			err = noCustomer(i.Customer)
		}
		if err != nil {
			return err
		}
		if _, err := t.one(`SELECT COUNT(*) FROM instances WHERE customer = $1`, args{i.Customer}, &count); err != nil {
			return err
		}
		if count >= MaxInstances {
			is = Sighted{} // ids without end are no news
			if _, err := t.exec(`DELETE FROM instances WHERE customer = $1 AND id = (SELECT MIN(id) FROM instances WHERE customer = $1
				AND last_seen = (SELECT MIN(last_seen) FROM instances WHERE customer = $1))`, i.Customer); err != nil { // times can be equal
				return err
			}
		}
		_, err = t.exec(`INSERT INTO instances (application, customer, id, cluster, channel, sequence, kubernetes, status, address, first_seen,
			last_seen, ready_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)`, i.Application, i.Customer, i.ID, i.Cluster, i.Channel,
			i.Sequence, i.Kubernetes, i.Status, i.Address, now, ready)
		if err == nil && tell != nil {
			err = t.event(tell(is)...)
		}
		return err
	})
	return is, err
}

// InstanceKey is where a page of installations begins: after this one.
type InstanceKey struct{ Customer, ID string }

// Instances returns at most limit installations of an application after a key, in the order of customers and ids.
// Those of archived customers are left out.
func (s *Store) Instances(ctx context.Context, application string, after InstanceKey, limit int) (all []Instance, err error) {
	err = s.read.rows(ctx, `SELECT application, customer, id, cluster, channel, sequence, kubernetes, status, address, first_seen, last_seen
		FROM instances i WHERE application = $1 AND (customer, id) > ($2, $3)
		AND NOT EXISTS (SELECT 1 FROM customers c WHERE c.id = i.customer AND c.archived_at <> 0) ORDER BY customer, id LIMIT $4`,
		args{application, after.Customer, after.ID, limit}, func(scan func(...any) error) error {
			var i Instance
			var first, last int64
			err := scan(&i.Application, &i.Customer, &i.ID, &i.Cluster, &i.Channel, &i.Sequence, &i.Kubernetes, &i.Status, &i.Address, &first, &last)
			i.FirstSeen, i.LastSeen = fromMicros(first), fromMicros(last)
			all = append(all, i)
			return err
		})
	return all, err
}

// VersionsAfter returns how many versions a channel offers after a sequence; with pinned above 0, up to that one.
func (s *Store) VersionsAfter(ctx context.Context, channel string, sequence, pinned int64) (n int, err error) {
	err = s.read.row(ctx, `SELECT COUNT(*) FROM promotions WHERE channel = $1 AND sequence > $2 AND demoted_at = 0
		AND (sequence <= $3 OR $3 = 0)`, args{channel, sequence, pinned}, &n)
	return n, err
}

// ReleaseImages returns the images that the files of a release name.
func (s *Store) ReleaseImages(ctx context.Context, application string, sequence int64) (all []ReleaseImage, err error) {
	err = s.read.rows(ctx, `SELECT repository, tag, digest FROM release_images WHERE application = $1 AND sequence = $2
		ORDER BY repository, tag, digest`, args{application, sequence}, func(scan func(...any) error) error {
		var i ReleaseImage
		err := scan(&i.Repository, &i.Tag, &i.Digest)
		all = append(all, i)
		return err
	})
	return all, err
}
