package usage

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// maxSums limits the sums that wait of what was sent, of images that were pulled and of denials, each; maxSumsOfCustomer those of one
	// customer. Beyond them what was sent counts for all images of the customer together, and the others are left out.
	maxSums           = 50_000
	maxSumsOfCustomer = 1_000
	// maxStrangersDenied limits the denials without a valid licence that wait for their event.
	maxStrangersDenied = 100

	// keptMonths is how long what was sent is kept, with the present month.
	keptMonths = 37
	// keptDenials is how long an hour of denials is remembered.
	keptDenials = 3 * time.Hour
)

type (
	egressOf struct {
		application, customer string
		month                 meta.Month
		kind, image           string
	}
	imageOf  struct{ application, customer, image, reference string }
	denialOf struct {
		application, customer, image string
		hour                         int64
	}
	// strangerOf are denials of licences that do not exist.
	strangerOf struct {
		account name.Account // zero if the host name does not say it
		slug    string
		hour    int64
	}
)

// sums are what waits besides lines.
type sums struct {
	egress  map[egressOf]meta.Egress
	images  map[imageOf]meta.PulledImage
	denials map[denialOf]meta.PullDenial

	strangers map[strangerOf]meta.PullDenial
}

// takeSums returns what waits, and begins anew. The caller holds mu.
func (w *pulls) takeSums() sums {
	all := w.sums
	w.sums, w.parts = newSums(), nil
	return all
}

func newSums() sums {
	return sums{map[egressOf]meta.Egress{}, map[imageOf]meta.PulledImage{}, map[denialOf]meta.PullDenial{}, map[strangerOf]meta.PullDenial{}}
}

// place reports whether a map may have one more key of a customer, and counts it. The caller holds mu.
func (w *pulls) place(size int, of, customer string) bool {
	if w.parts == nil {
		w.parts = map[string]int{}
	}
	of += customer
	if size >= maxSums || w.parts[of] >= maxSumsOfCustomer {
		return false
	}
	w.parts[of]++
	return true
}

// sum adds a request to the sums. The caller holds mu.
func (w *pulls) sum(p Pull, l pullLine) {
	sent := l.Status >= 200 && l.Status < 300
	if sent && l.Customer != "" {
		w.addEgress(l.PullLine)
		w.addImage(p, l.PullLine)
	}
	if (l.Status == http.StatusUnauthorized || l.Status == http.StatusForbidden) && !p.Challenged {
		w.addDenial(p, l)
	}
}

func (w *pulls) addEgress(l meta.PullLine) {
	e := meta.Egress{Application: l.Application, Month: meta.MonthOf(l.At), Customer: l.Customer, Kind: l.Kind, Image: l.Image, Sent: l.Sent}
	if l.Action == string(PullManifest) && l.Code == "" {
		e.Pulls = 1
	}
	if e.Pulls > 0 || e.Sent > 0 {
		w.addSum(e)
	}
}

// addSum adds to what was sent of an image, or of all others of the customer if there are too many. The caller holds mu.
func (w *pulls) addSum(e meta.Egress) {
	k := egressOf{e.Application, e.Customer, e.Month, e.Kind, e.Image}
	have, known := w.egress[k]
	if !known && !w.place(len(w.egress), "egress ", e.Customer) {
		k.kind, k.image, e.Kind, e.Image = "", "", "", ""
		if have, known = w.egress[k]; !known && len(w.egress) >= 2*maxSums {
			return // there are more customers than that
		}
	}
	e.Pulls, e.Sent = e.Pulls+have.Pulls, e.Sent+have.Sent
	w.egress[k] = e
}

func (w *pulls) addImage(p Pull, l meta.PullLine) {
	if l.Digest == "" || l.Code != "" || l.Kind == string(PullChart) || p.Action != PullManifest && p.Action != PullHead {
		return
	}
	if p.Action == PullHead && l.Reference == l.Digest {
		return // it was asked for, and not pulled
	}
	i := meta.PulledImage{Application: l.Application, Customer: l.Customer, Image: l.Image, Reference: l.Reference, Digest: l.Digest,
		Token: l.Token, At: l.At}
	k := imageOf{i.Application, i.Customer, i.Image, i.Reference}
	if _, known := w.images[k]; known || w.place(len(w.images), "image ", i.Customer) {
		w.images[k] = i
	}
}

func (w *pulls) addDenial(p Pull, l pullLine) {
	d := meta.PullDenial{Application: l.Application, Region: p.Registry.Region.String(), Customer: l.Customer, Image: l.Image, Code: l.Code,
		Request: l.Request, At: l.At}
	hour := l.At.UTC().Truncate(time.Hour).Unix()
	if d.Customer == "" {
		d.Image = ""
		k := strangerOf{l.account, l.slug, hour}
		if _, known := w.sums.strangers[k]; !known && len(w.sums.strangers) < maxStrangersDenied {
			w.sums.strangers[k] = d
		}
		return
	}
	k := denialOf{d.Application, d.Customer, d.Image, hour}
	if _, known := w.denials[k]; !known && w.place(len(w.denials), "denial ", d.Customer) {
		w.denials[k] = d
	}
}

// writeSums writes sums. What cannot be written waits for the next time.
func (s *Service) writeSums(ctx context.Context, all sums) error {
	err := writeEach(all.egress, func(some []meta.Egress) error { return s.meta.AddEgress(ctx, some) })
	if err == nil {
		err = writeEach(all.images, func(some []meta.PulledImage) error { return s.meta.PutPulledImages(ctx, some) })
	}
	if err == nil {
		err = writeEach(all.denials, func(some []meta.PullDenial) error { return s.meta.PutPullDenials(ctx, some) })
	}
	if err != nil {
		s.pulls.giveBack(all)
	}
	return err
}

// writeEach writes the values of a map, flushRows at once, and deletes from it what was written.
func writeEach[K comparable, V any](all map[K]V, write func([]V) error) error {
	for keys := range slices.Chunk(slices.Collect(maps.Keys(all)), flushRows) {
		some := make([]V, len(keys))
		for i, k := range keys {
			some[i] = all[k]
		}
		if err := write(some); err != nil {
			return err
		}
		for _, k := range keys {
			delete(all, k)
		}
	}
	return nil
}

// giveBack lets sums wait again. What has come since is newer.
func (w *pulls) giveBack(all sums) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range all.egress {
		w.addSum(e)
	}
	for k, i := range all.images {
		if _, newer := w.images[k]; !newer && w.place(len(w.images), "image ", i.Customer) {
			w.images[k] = i
		}
	}
	for k, d := range all.denials {
		if _, newer := w.denials[k]; !newer && w.place(len(w.denials), "denial ", d.Customer) {
			w.denials[k] = d
		}
	}
	for k, d := range all.strangers {
		if len(w.sums.strangers) < maxStrangersDenied {
			w.sums.strangers[k] = d
		}
	}
}

// sweepSums deletes what was sent in months that are too old, and hours of denials.
func (s *Service) sweepSums(ctx context.Context) error {
	accounts, err := s.meta.Accounts(ctx)
	if err != nil {
		return err
	}
	now := s.now().UTC()
	oldest := meta.MonthOf(time.Date(now.Year(), now.Month()-keptMonths+1, 1, 0, 0, 0, 0, time.UTC))
	for _, a := range accounts {
		applications, err := s.meta.Applications(ctx, a.ID)
		if err != nil {
			return err
		}
		for _, app := range applications {
			for n := 1; n > 0; {
				if n, err = s.meta.DeleteOldEgress(ctx, app.ID, oldest, sweepRows); err != nil {
					return err
				}
			}
			for n := 1; n > 0; {
				if n, err = s.meta.DeleteOldPullDenials(ctx, app.ID, now.Add(-keptDenials), sweepRows); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
