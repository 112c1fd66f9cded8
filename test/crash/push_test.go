package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ledger records what the server has acknowledged.
type ledger struct {
	mu      sync.Mutex
	tags    map[string]string   // digest by tag, for tags that never move
	fresh   []string            // those of this round
	moving  map[string][]string // by tag: the digest acknowledged, then the one asked for
	uploads map[string]*upload  // open ones by Location

	mayRefuse bool // the database is killed too: 503 ends a client as the kill of the server does
}

// upload is an upload whose completion was not acknowledged.
type upload struct {
	content     []byte
	acked, sent int
	closing     bool // the request that completes it was sent
}

const pushers = 4

// pushUntil pushes from several clients, and kills the server after acks acknowledged requests.
func (l *ledger) pushUntil(t *testing.T, round int, repo ocitest.Repo, acks int, kill func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var once sync.Once
	count := make(chan struct{})
	go func() {
		for range acks {
			select {
			case <-count:
			case <-ctx.Done():
				return
			}
		}
		once.Do(kill)
		stop()
	}()
	var wg sync.WaitGroup
	for w := range pushers {
		wg.Go(func() {
			p := &pusher{ledger: l, repo: repo, ctx: ctx, count: count, name: fmt.Sprintf("r%d-w%d", round, w)}
			for i := 0; ctx.Err() == nil; i++ {
				err := p.push(i, uint64(round)<<32|uint64(w)<<16|uint64(i))
				var refused *refusal
				if errors.As(err, &refused) && !(l.mayRefuse && refused.status == http.StatusServiceUnavailable) {
					t.Error(err) // a server that answers must not fail
					break
				}
				if err != nil {
					break // killed
				}
			}
		})
	}
	wg.Wait()
	once.Do(kill)
}

// pusher is one client.
type pusher struct {
	*ledger
	repo  ocitest.Repo
	ctx   context.Context
	count chan struct{}
	name  string
	last  ocitest.Image
}

// refusal is an answer that was not wanted.
type refusal struct {
	text   string
	status int
}

func (r *refusal) Error() string { return r.text }

// send sends one request and checks the status. Only the kill of the server ends the request, not the context
// of the round.
func (p *pusher) send(want int, method, path string, body []byte, header ...string) (*ocitest.Answer, error) {
	a, err := p.repo.Try(context.WithoutCancel(p.ctx), method, path, bytes.NewReader(body), header...)
	if err != nil {
		return nil, err
	}
	if a.Status != want {
		return nil, &refusal{fmt.Sprintf("%s: got %d %.300s, want %d", a.Asked, a.Status, a.Body, want), a.Status}
	}
	select {
	case p.count <- struct{}{}:
	case <-p.ctx.Done():
	}
	return a, nil
}

// push pushes one image with a new tag, every third time an index of the last two images, and moves a tag.
func (p *pusher) push(i int, seed uint64) error {
	im := ocitest.NewImage(seed, int(seed*7919%200_000)+1, 10_000)
	for j, b := range append([][]byte{im.Config}, im.Layers...) {
		if err := p.blob(b, 1+j*2); err != nil {
			return err
		}
	}
	tag := fmt.Sprintf("%s-%d", p.name, i)
	if err := p.manifest(tag, ocitest.ImageType, im.Manifest, false); err != nil {
		return err
	}
	if i%3 == 2 {
		index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
			Manifests: []ocitest.Descriptor{p.last.Descriptor(), im.Descriptor()}}.JSON()
		if err := p.manifest(tag+"-index", ocitest.IndexType, index, false); err != nil {
			return err
		}
	}
	p.last = im
	return p.manifest("latest-"+p.name, ocitest.ImageType, im.Manifest, true)
}

// blob uploads a blob in chunks, and records each acknowledgement.
func (p *pusher) blob(content []byte, chunks int) error {
	begun, err := p.send(http.StatusAccepted, http.MethodPost, p.repo.Path("/blobs/uploads/"), nil)
	if err != nil {
		return err
	}
	location, u := begun.Header.Get("Location"), &upload{content: content}
	p.note(func() { p.uploads[location] = u })
	size := len(content)/chunks + 1
	for at := 0; at+size < len(content); at += size {
		p.note(func() { u.sent = at + size })
		if _, err := p.send(http.StatusAccepted, http.MethodPatch, location, content[at:at+size], "Content-Range",
			fmt.Sprintf("%d-%d", at, at+size-1)); err != nil {
			return err
		}
		p.note(func() { u.acked = at + size })
	}
	p.note(func() { u.closing = true })
	if _, err := p.send(http.StatusCreated, http.MethodPut, location+"?digest="+ocitest.SHA256(content), content[u.acked:]); err != nil {
		return err
	}
	p.note(func() { delete(p.uploads, location) })
	return nil
}

func (p *pusher) manifest(tag, mediaType string, body []byte, moves bool) error {
	d := ocitest.SHA256(body)
	if moves {
		p.note(func() {
			if have := p.moving[tag]; have != nil {
				p.moving[tag] = []string{have[0], d}
			}
		})
	}
	if _, err := p.send(http.StatusCreated, http.MethodPut, p.repo.Path("/manifests/"+tag), body, "Content-Type", mediaType); err != nil {
		return err
	}
	p.note(func() {
		if moves {
			p.moving[tag] = []string{d}
			return
		}
		p.tags[tag] = d
		p.fresh = append(p.fresh, tag)
	})
	return nil
}

func (p *pusher) note(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
}
