package usage

import (
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of pulls of images that wait to be written: keys in all, and of one account. Beyond that, pulls count for the account alone.
const (
	maxImageKeys          = 20_000
	maxImageKeysOfAccount = 2000
)

// keptByDay is how long the pulls of images by principal, and the counts of rules, are kept: what pages show, and the day that has begun.
const keptByDay = 31 * 24 * time.Hour

// imageKey is an image that a principal has pulled on a day.
type imageKey struct {
	registry                           name.Registry
	repository, digest, principal, tag string // all "" for those of the account that have no key of their own
	day                                time.Time
}

// imageSum is how often, and when last.
type imageSum struct {
	pulls int64
	at    time.Time
}

// imagePulls are the pulls that wait.
type imagePulls struct {
	waiting map[imageKey]imageSum
	of      map[name.Account]int // number of keys that wait
}

// addImage adds pulls of an image. The caller holds mu.
func (s *Service) addImage(k imageKey, sum imageSum) {
	p := &s.images
	if p.waiting == nil {
		p.waiting, p.of = map[imageKey]imageSum{}, map[name.Account]int{}
	}
	have, known := p.waiting[k]
	if !known && k.repository != "" {
		if p.of[k.registry.Account] < maxImageKeysOfAccount && len(p.waiting) < maxImageKeys {
			p.of[k.registry.Account]++
		} else {
			k = imageKey{registry: name.Registry{Account: k.registry.Account}, day: k.day}
			if have, known = p.waiting[k]; !known && len(p.waiting) >= 2*maxImageKeys {
				return // there are more accounts than that
			}
		}
	}
	if have.pulls += sum.pulls; sum.at.After(have.at) {
		have.at = sum.at
	}
	p.waiting[k] = have
}

// flushImages writes the pulls of images. What cannot be written waits for the next time.
func (s *Service) flushImages(ctx context.Context) error {
	s.mu.Lock()
	all := s.images.waiting
	s.images = imagePulls{}
	s.mu.Unlock()
	rows := make([]meta.ImagePull, 0, len(all))
	for k, sum := range all {
		rows = append(rows, meta.ImagePull{Registry: k.registry, Repository: k.repository, Digest: k.digest, Day: k.day,
			Principal: k.principal, Tag: k.tag, Pulls: sum.pulls, At: sum.at})
	}
	for len(rows) > 0 {
		some := rows[:min(len(rows), flushRows)]
		if err := s.meta.AddImagePulls(ctx, some); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range rows {
				s.addImage(imageKey{r.Registry, r.Repository, r.Digest, r.Principal, r.Tag, r.Day}, imageSum{r.Pulls, r.At})
			}
			return err
		}
		rows = slices.Delete(rows, 0, len(some))
	}
	return nil
}
