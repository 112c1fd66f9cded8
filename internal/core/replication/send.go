package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/net/copier"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// sendAttempts is after how many failures of the destination a copy that a client has asked for has failed: with these pauses after
	// about an hour. Failures that time does not cure end it at once.
	sendAttempts            = 20
	sendPause, maxSendPause = 5 * time.Second, 5 * time.Minute
	// sendWait is the pause of a copy when its account has enough of them running.
	sendWait = time.Second
	// saveEvery is how often the progress of a copy is stored.
	saveEvery = 2 * time.Second
	// maxSent limits the images of one copy: those of its indexes, and referrers.
	maxSent = 10_000
)

// Send is a copy of an image to another installation, which a client has asked for.
type Send struct {
	By     meta.Integration // the destination
	From   meta.Repository
	Digest name.Digest
	To     name.Repo // there
	Tags   []name.Tag
}

// Send lets a job copy an image, with the images of an index and the referrers of all of them, to another installation, and returns the id
// of the job. The digest is what is copied, also if tags move meanwhile; an image that is deleted before it was copied fails the job.
//
// Errors: fault.InvalidParameter (a digest that cannot be sent), fault.IntegrationFailed (not one of a registry), and those of
// meta.Store.StartSend.
func (s *Service) Send(ctx context.Context, c Send) (job int64, err error) {
	if c.Digest.Algorithm() != name.SHA256 {
		return 0, unsendable(c.Digest)
	}
	if err := integration.CheckRegistry(c.By); err != nil {
		return 0, err
	}
	in := meta.SendInput{Integration: c.By.ID, Repository: c.From.ID, Digest: c.Digest.String(), To: c.To.String()}
	for _, tag := range c.Tags {
		in.Tags = append(in.Tags, tag.String())
	}
	return s.meta.StartSend(ctx, c.By.Account, in, meta.MaxSends)
}

// unsendable is the refusal of an image whose digest other registries do not support.
func unsendable(d name.Digest) *fault.Error {
	return fault.InvalidParameter.New("the image %s cannot be sent elsewhere: its digest is not one of SHA-256", d)
}

// sendOne is the work of the job of a copy that a client has asked for. It begins anew in each attempt: what is there is not sent.
func (s *Service) sendOne(ctx context.Context, j *jobs.Job) error {
	var in meta.SendInput
	if err := j.Input(&in); err != nil {
		return err
	}
	d, err := name.ParseDigest(in.Digest)
	if err != nil {
		return jobs.Permanent(fmt.Errorf("the input of a copy: %w", err))
	}
	if !s.outside.copies.enter(j.Account()) {
		j.Next(s.now().Add(sendWait))
		return nil
	}
	defer s.outside.copies.leave(j.Account())
	i, err := s.meta.IntegrationByID(ctx, in.Integration)
	if errors.Is(err, fault.IntegrationNotFound) {
		return jobs.Permanent(fault.IntegrationNotFound.New("the integration of the copy was deleted"))
	}
	if err != nil {
		return err
	}
	from, err := s.meta.RepositoryByID(ctx, in.Repository)
	if errors.Is(err, fault.RepositoryNotFound) {
		return jobs.Permanent(fault.RepositoryNotFound.New("the repository of the image was deleted before it was copied"))
	}
	if err != nil {
		return err
	}
	to, err := s.remotes.Remote(ctx, i)
	if err != nil {
		return jobs.Permanent(err)
	}
	p := &sendProgress{ctx: ctx, job: j, size: map[name.Digest]int64{}, at: map[name.Digest]int64{}, blobs: map[name.Digest][]name.Digest{},
		there: map[name.Digest]bool{}}
	x := s.transfer(from, to, in.To, false, p)
	err = x.exactly(ctx, d, in.Tags, p)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return errors.Join(p.save(), s.remotes.Used(ctx, &i, nil))
	}
	return errors.Join(s.sendFailed(ctx, i, err), p.save())
}

// sendFailed returns the error of the job of a copy, which says whether it is tried again.
func (s *Service) sendFailed(ctx context.Context, i meta.Integration, err error) error {
	code, shown := integration.Failed(i, err)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return jobs.Permanent(refused.error)
	case errors.Is(err, fault.BlobNotFound):
		return jobs.Permanent(fault.LayersNotFound.New("a layer of the image is not in its repository: if a pull-through cache has fetched the image, pull it first"))
	case code == "": // of this side
		return err
	}
	e, _ := errors.AsType[*upstream.Error](err)
	out := jobs.Permanent(shown)
	if mayPass(e.Reason) {
		out = jobs.After(shown, e.After)
	}
	return errors.Join(out, s.remotes.Used(ctx, &i, shown))
}

// exactly copies an image with its blobs, the images of an index before it, and all referrers, and sets tags when all of that is there.
//
// Errors: a *refusal, also for a tag that is immutable there; an upstream.Error; those of this side.
func (x *transfer) exactly(ctx context.Context, d name.Digest, tags []string, p *sendProgress) error {
	all, err := x.plan(ctx, d, p)
	if err != nil {
		return err
	}
	body, mediaType, err := x.Content(ctx, d)
	if err == nil {
		_, err = x.Put(ctx, d, "", mediaType, body)
	}
	if err != nil {
		return err
	}
	for _, referrer := range all {
		if err := x.Image(ctx, referrer); err != nil {
			return err
		}
	}
	if err := x.still(ctx, d); err != nil {
		return err
	}
	for _, tag := range tags {
		_, err := x.Put(ctx, d, tag, mediaType, body)
		if copier.Immutable(err) {
			return &refusal{fault.ImageTagAlreadyExists.New("the tag %s is immutable at the destination, and on another image", tag),
				"DestinationRejected", true}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// still returns a *refusal if an image has been deleted since the copy began: it gets no tags there then.
func (x *transfer) still(ctx context.Context, d name.Digest) error {
	_, err := x.s.meta.RepositoryByID(ctx, x.from.ID)
	if err == nil {
		_, err = x.s.meta.Head(ctx, x.from.ID, name.Reference{Digest: d})
	}
	if errors.Is(err, fault.ImageNotFound) || errors.Is(err, fault.RepositoryNotFound) {
		return gone(d)
	}
	return err
}

// plan finds what a copy consists of, for its progress, and returns the referrers in an order in which each follows its subject.
func (x *transfer) plan(ctx context.Context, d name.Digest, p *sendProgress) (referrers []name.Digest, err error) {
	queue, subjects := []name.Digest{d}, 0
	seen := map[name.Digest]bool{d: true}
	add := func(d name.Digest) error {
		if seen[d] {
			return nil
		}
		if seen[d] = true; len(seen) > maxSent {
			return &refusal{fault.LimitExceeded.New("the image has more than %d images and referrers: it cannot be copied as a whole", maxSent),
				"LimitExceeded", true}
		}
		queue = append(queue, d)
		return nil
	}
	for ; len(queue) > subjects; subjects++ {
		one := queue[subjects]
		head, err := x.s.meta.Head(ctx, x.from.ID, name.Reference{Digest: one})
		var body []byte
		if err == nil {
			body, err = x.s.meta.Body(ctx, one)
		}
		if errors.Is(err, fault.ImageNotFound) {
			if one == d {
				return nil, gone(d)
			}
			continue // of a sparse index, or deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		m, err := manifest.Parse(body, head.MediaType)
		if err != nil {
			return nil, err
		}
		for _, b := range m.Blobs() {
			p.plan(one, b.Digest, b.Size)
		}
		for _, child := range m.Manifests {
			if err := add(child.Digest); err != nil {
				return nil, err
			}
		}
		for after, more := "", true; more; {
			const page = 100
			var found []meta.Image
			if found, more, err = x.s.meta.Referrers(ctx, x.from.ID, one, nil, after, page); err != nil {
				return nil, err
			}
			for _, r := range found {
				after = r.Digest.String()
				if !seen[r.Digest] {
					referrers = append(referrers, r.Digest)
				}
				if err := add(r.Digest); err != nil {
					return nil, err
				}
			}
		}
	}
	return referrers, p.save()
}

// gone is the refusal of a copy whose image was deleted before it was made.
func gone(d name.Digest) error {
	return &refusal{fault.ImageNotFound.New("the image %s was deleted before it was copied", d), codeLost, true}
}

// sendProgress is how far a copy is. Content is read by goroutines of the client of the destination.
type sendProgress struct {
	ctx context.Context
	job *jobs.Job

	mu    sync.Mutex
	saved time.Time
	size  map[name.Digest]int64         // of each blob
	blobs map[name.Digest][]name.Digest // of each image
	there map[name.Digest]bool
	at    map[name.Digest]int64 // bytes of a blob that is being sent
	place meta.SendPlace
	done  int64
	total int64
}

func (p *sendProgress) plan(image, d name.Digest, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blobs[image] = append(p.blobs[image], d)
	if _, known := p.size[d]; !known {
		p.size[d] = max(0, size)
		p.total += max(0, size)
		p.place.Of++
	}
}

func (p *sendProgress) Sent(d name.Digest, end int64, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[d] = end
	p.place.Sent += int64(n)
	p.step()
}

func (p *sendProgress) Blob(d name.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.has(d)
}

// has counts a blob that is at the other side. The caller holds p.mu.
func (p *sendProgress) has(d name.Digest) {
	size, known := p.size[d]
	if !known || p.there[d] {
		return
	}
	p.there[d] = true
	delete(p.at, d)
	p.place.Layers++
	p.done += size
	p.step()
}

func (p *sendProgress) Image(d name.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.blobs[d] {
		p.has(b)
	}
}

// step stores the progress now and then. The caller holds p.mu.
func (p *sendProgress) step() {
	if time.Since(p.saved) >= saveEvery {
		_ = p.store() // a lost lease ends the context
	}
}

func (p *sendProgress) save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.store()
}

// store stores the progress. The caller holds p.mu.
func (p *sendProgress) store() error {
	p.saved = time.Now()
	done := p.done
	for _, n := range p.at {
		done += n
	}
	return p.job.Save(p.ctx, p.place, done, p.total)
}
