package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// client is a keep-alive connection. It implements only the part of HTTP that the servers' responses use, and
// takes a tenth of the time of net/http's client, so that on two cores the servers are the bottleneck and not
// the client.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	sink []byte

	limit time.Duration // for one request and its response
}

func dial(address string) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	return newClient(conn), nil
}

// dial connects to a server, with TLS if it serves that.
func (p *process) dial() (*client, error) {
	c, err := dial(p.address)
	if err != nil || p.tls == nil {
		return c, err
	}
	conn := tls.Client(c.conn, p.tls)
	ctx, cancel := context.WithTimeout(context.Background(), maxRequestTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.close()
		return nil, fmt.Errorf("connecting to %s with TLS: %w", p.address, err)
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *client {
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 32<<10), sink: make([]byte, 256<<10), limit: maxRequestTime}
}

func (c *client) close() { c.conn.Close() }

// answer is a response whose body was counted and discarded.
type answer struct {
	status   int
	location string
	body     int64  // bytes
	head     []byte // beginning of the body, at most 4 KiB, for errors
}

const (
	maxRequestTime = 2 * time.Minute // for one request of a load
	noBody         = -1
)

// do sends a header, then body (nil for none), and reads the response.
func (c *client) do(header []byte, body io.Reader) (answer, error) {
	if err := c.conn.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return answer{}, err
	}
	if _, err := c.conn.Write(header); err != nil {
		return answer{}, fmt.Errorf("sending a request: %w", err)
	}
	if body != nil {
		if _, err := io.CopyBuffer(struct{ io.Writer }{c.conn}, body, c.sink); err != nil {
			return answer{}, fmt.Errorf("sending a body: %w", err)
		}
	}
	a, err := c.read(bytes.HasPrefix(header, []byte("HEAD ")))
	if err != nil {
		return a, fmt.Errorf("reading a response: %w", err)
	}
	return a, nil
}

func (c *client) read(isHead bool) (a answer, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if a.status, err = statusOf(line); err != nil {
		return a, err
	}
	length, chunked := int64(noBody), false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(key, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return a, err
			}
		case bytes.EqualFold(key, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(key, []byte("Location")):
			a.location = string(value)
		}
	}
	switch {
	case isHead || a.status == 204 || a.status == 304:
		return a, nil
	case chunked:
		return a, c.chunks(&a)
	case length == noBody:
		return a, errors.New("the response has neither a length nor chunks")
	}
	return a, c.discard(&a, length)
}

func statusOf(line []byte) (int, error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("not an HTTP response: %q", line)
	}
	return strconv.Atoi(string(line[9:12]))
}

// discard discards n bytes, first those in the buffer.
func (c *client) discard(a *answer, n int64) error {
	if n < 0 {
		return fmt.Errorf("a body of %d bytes", n)
	}
	a.body += n
	for n > 0 {
		size := min(n, int64(len(c.sink)))
		got, err := c.in.Read(c.sink[:size])
		if room := 4096 - len(a.head); room > 0 && a.status >= 300 {
			a.head = append(a.head, c.sink[:min(got, room)]...)
		}
		if n -= int64(got); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) chunks(a *answer) error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return fmt.Errorf("reading a chunk's size: %w", err)
		}
		if err := c.discard(a, size); err != nil {
			return err
		}
		if _, err := c.in.Discard(2); err != nil { // the line end after the chunk, or after the last chunk
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// stream returns the requests of one connection, one at each call: the header, which the next call may
// overwrite, and a body or nil.
type stream func() (header []byte, body io.Reader)

// again returns a stream that repeats one request.
func again(header []byte) stream { return func() ([]byte, io.Reader) { return header, nil } }

// outcome is the result of a load.
type outcome struct {
	requests int
	took     time.Duration
	waits    []time.Duration // duration of each request, sorted
}

func (o outcome) rate() float64 { return float64(o.requests) / o.took.Seconds() }

// at returns the duration that the fraction q of the requests did not exceed.
func (o outcome) at(q float64) time.Duration {
	if len(o.waits) == 0 {
		return 0
	}
	return o.waits[min(int(q*float64(len(o.waits))), len(o.waits)-1)]
}

// load keeps n connections busy for the duration length, and fails if a response has another status than want.
func load(dial func() (*client, error), n int, length time.Duration, want int, streams func(i int) stream) (outcome, error) {
	clients := make([]*client, n)
	for i := range clients {
		c, err := dial()
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		clients[i] = c
	}
	waits, errs := make([][]time.Duration, n), make([]error, n)
	start := time.Now()
	end := start.Add(length)
	var wg sync.WaitGroup
	for i, c := range clients {
		next := streams(i)
		wg.Go(func() {
			for began := time.Now(); began.Before(end); {
				header, body := next()
				a, err := c.do(header, body)
				if err == nil && a.status != want {
					err = fmt.Errorf("status %d, not %d: %s", a.status, want, a.head)
				}
				if errs[i] = err; err != nil {
					return
				}
				now := time.Now()
				waits[i] = append(waits[i], now.Sub(began))
				began = now
			}
		})
	}
	wg.Wait()
	o := outcome{took: time.Since(start), waits: slices.Concat(waits...)}
	o.requests = len(o.waits)
	slices.Sort(o.waits)
	for _, err := range errs {
		if err != nil {
			return o, err // the other errors have the same cause
		}
	}
	return o, nil
}
