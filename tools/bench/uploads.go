package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const chunkBytes = 10 << 20

// upload sends one blob to the few repository with one of the methods of the protocol.
type upload func(d *door, c *client, body []byte, digest string) error

// uploadRow compares a PUT of the large blob with distribution, and with maxRatio times the duration of hashing and writing it.
func (b *bench) uploadRow(how string, maxRatio float64, by upload) row {
	r := row{name: fmt.Sprintf("blob PUT %d MB, durable, %s", b.bigBytes/1e6, how), unit: "ms", contenders: []contender{
		{name: "ecrin", run: b.uploadTime(b.ecrin, by)}, {name: distribution, run: b.uploadTime(b.dist, by)}, {name: floorName, run: b.floor},
	}}
	r.targets = []target{{peer: distribution, of: value, less: true, goal: 0.55}, {peer: floorName, of: value, less: true, goal: maxRatio}}
	return r
}

// freshMu guards freshCount, the number of blobs that fresh has returned.
var freshMu sync.Mutex
var freshCount uint64

// fresh changes the beginning of body, so that no server has the blob, and returns its digest.
func fresh(body []byte) (digest string) {
	freshMu.Lock()
	freshCount++
	binary.LittleEndian.PutUint64(body, freshCount)
	freshMu.Unlock()
	binary.LittleEndian.PutUint64(body[8:], uint64(time.Now().UnixNano()))
	return digestOf(body)
}

func (b *bench) uploadTime(d *door, by upload) func(context.Context) (measure, error) {
	return func(context.Context) (measure, error) {
		body := bytes.Clone(b.big)
		digest := fresh(body)
		c, err := d.dial()
		if err != nil {
			return measure{}, err
		}
		defer c.close()
		syscall.Sync()
		before, err := d.cpu()
		if err != nil {
			return measure{}, err
		}
		began := time.Now()
		if err := by(d, c, body, digest); err != nil {
			return measure{}, err
		}
		took := time.Since(began)
		after, err := d.cpu()
		return measure{Value: ms(took), CPU: us(after - before), Memory: d.memory("VmRSS")}, err
	}
}

func (b *bench) monolithic(d *door, c *client, body []byte, digest string) error {
	return d.putBlob(c, few, body, digest)
}

func (b *bench) chunked(d *door, c *client, body []byte, digest string) error {
	a, err := d.callOn(c, http.MethodPost, "/v2/"+few+"/blobs/uploads/", nil, http.StatusAccepted)
	for at := 0; at < len(body) && err == nil; at += chunkBytes {
		chunk := body[at:min(at+chunkBytes, len(body))]
		a, err = d.callOn(c, http.MethodPatch, under(a.location), chunk, http.StatusAccepted,
			"Content-Type: application/octet-stream", fmt.Sprintf("Content-Range: %d-%d", at, at+len(chunk)-1))
	}
	if err != nil {
		return err
	}
	_, err = d.callOn(c, http.MethodPut, withDigest(under(a.location), digest), nil, http.StatusCreated)
	return err
}

// streamed sends one PATCH of unknown length, as docker does.
func (b *bench) streamed(d *door, c *client, body []byte, digest string) error {
	a, err := d.callOn(c, http.MethodPost, "/v2/"+few+"/blobs/uploads/", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	a, err = c.do(d.request(http.MethodPatch, under(a.location), -1, "Content-Type: application/octet-stream"), &chunks{rest: body})
	if err != nil || a.status != http.StatusAccepted {
		return fmt.Errorf("PATCH of %s: status %d: %s: %w", d.name, a.status, a.head, err)
	}
	_, err = d.callOn(c, http.MethodPut, withDigest(under(a.location), digest), nil, http.StatusCreated)
	return err
}

// chunks is a body in HTTP chunks of 32 KiB.
type chunks struct {
	rest []byte
	out  bytes.Buffer
	done bool
}

func (s *chunks) Read(p []byte) (int, error) {
	if s.out.Len() == 0 {
		if s.done {
			return 0, io.EOF
		}
		n := min(32<<10, len(s.rest))
		fmt.Fprintf(&s.out, "%x\r\n", n)
		s.out.Write(s.rest[:n])
		s.out.WriteString("\r\n")
		s.rest, s.done = s.rest[n:], n == 0
	}
	return s.out.Read(p)
}

const floorName = "hash and write, overlapped"

// floor measures the minimum duration of a durable PUT: hashing, and a durable write in parallel.
func (b *bench) floor(context.Context) (measure, error) {
	body := bytes.Clone(b.big)
	fresh(body)
	syscall.Sync()
	began := time.Now()
	var g errgroup.Group
	g.Go(func() error {
		sha256.Sum256(body)
		return nil
	})
	g.Go(func() error { return writeDurably(b.path("floor"), body) })
	if err := g.Wait(); err != nil {
		return measure{}, err
	}
	took := time.Since(began)
	return measure{Value: ms(took)}, os.Remove(b.path("floor"))
}

func writeDurably(path string, body []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for at := 0; at < len(body) && err == nil; at += 1 << 20 {
		_, err = f.Write(body[at:min(at+1<<20, len(body))])
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// uploads pushes many blobs concurrently, each to a separate repository.
func (b *bench) uploads(d *door) func(context.Context) (measure, error) {
	return func(context.Context) (measure, error) {
		bodies, digests := make([][]byte, b.parallel), make([]string, b.parallel)
		base := randomBytes(3, b.midBytes)
		for i := range bodies {
			bodies[i] = bytes.Clone(base)
			digests[i] = fresh(bodies[i])
		}
		if err := d.resetPeak(); err != nil {
			return measure{}, err
		}
		syscall.Sync()
		before, err := d.cpu()
		if err != nil {
			return measure{}, err
		}
		began := time.Now()
		var g errgroup.Group
		for i := range bodies {
			g.Go(func() error {
				c, err := d.dial()
				if err != nil {
					return err
				}
				defer c.close()
				return d.putBlob(c, uploadRepo(i), bodies[i], digests[i])
			})
		}
		if err := g.Wait(); err != nil {
			return measure{}, err
		}
		took := time.Since(began)
		after, err := d.cpu()
		total := float64(b.parallel) * float64(b.midBytes)
		return measure{Value: total / 1e6 / took.Seconds(), CPU: us(after-before) / float64(b.parallel), Memory: d.memory("VmHWM")}, err
	}
}
