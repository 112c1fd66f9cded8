package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// An assault is what an attacker does. The attacker is a process of its own with one processor, as another machine would be; it reads
// its assault as JSON.
type assault struct {
	Address     string
	Kind        string // flood, trickle or deaf
	Connections int
	Requests    [][]byte // headers with bodies; each connection begins with another one
}

// Kinds of assaults.
const (
	flood   = "flood"   // each connection sends requests as fast as they are answered
	trickle = "trickle" // each connection sends the beginning of a request, and then a byte every 20 seconds
	deaf    = "deaf"    // each connection sends requests as long as the server takes them, and never reads
)

const (
	trickleEvery = 20 * time.Second
	redialAfter  = time.Second // after a connection that trickles or does not read was ended by the server
	maxAnswer    = time.Minute // that a flood waits
	maxBeginning = 20 * time.Second
)

// tally is what an attacker has done.
type tally struct {
	mu       sync.Mutex
	Dialled  int         // connections
	Open     int         // connections at the end
	Sent     int64       // bytes
	Statuses map[int]int // of answers
}

func (t *tally) change(by func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	by()
}

// answers is the number of answers.
func (t *tally) answers() (n int) {
	for _, of := range t.Statuses {
		n += of
	}
	return n
}

func (t *tally) String() string {
	return fmt.Sprintf("%d connections made, %d open at the end, %d MB sent, answers by status %v", t.Dialled, t.Open, t.Sent/1e6, t.Statuses)
}

// attack runs in a process of its own: it reads an assault from in, prints a line when all connections have sent something, goes on
// until in ends, and prints its tally as JSON.
func attack(in io.Reader, out io.Writer) error {
	var a assault
	d := json.NewDecoder(in)
	if err := d.Decode(&a); err != nil {
		return fmt.Errorf("reading the assault: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	one := map[string]func(assault, int, *tally) error{flood: floodOn, trickle: trickleOn, deaf: deafOn}[a.Kind]
	if one == nil || len(a.Requests) == 0 {
		return fmt.Errorf("an assault of the kind %q with %d requests", a.Kind, len(a.Requests))
	}
	if a.Kind == deaf {
		for i, r := range a.Requests {
			a.Requests[i] = bytes.Repeat(r, 200)
		}
	}
	t := &tally{Statuses: map[int]int{}}
	for i := range a.Connections {
		go func() {
			for {
				if err := one(a, i, t); err != nil {
					time.Sleep(redialAfter / 100)
				}
			}
		}()
	}
	for start := time.Now(); time.Since(start) < maxBeginning; time.Sleep(10 * time.Millisecond) {
		begun := false
		t.change(func() { begun = t.Dialled >= a.Connections && (a.Kind != flood || t.answers() > 0) })
		if begun {
			break
		}
	}
	if _, err := fmt.Fprintln(out, "begun"); err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return err
	}
	t.mu.Lock() // for ever: the connections end with the process
	return json.NewEncoder(out).Encode(t)
}

// dialOn opens a connection of an attacker; the returned function closes it.
func dialOn(a assault, t *tally) (c *client, end func(), err error) {
	c, err = dial(a.Address)
	if err != nil {
		return nil, nil, err
	}
	c.limit = maxAnswer
	t.change(func() { t.Dialled++; t.Open++ })
	return c, func() {
		c.close()
		t.change(func() { t.Open-- })
	}, nil
}

func floodOn(a assault, i int, t *tally) error {
	c, end, err := dialOn(a, t)
	if err != nil {
		return err
	}
	defer end()
	for ; ; i++ {
		request := a.Requests[i%len(a.Requests)]
		answer, err := c.do(request, nil)
		if err != nil {
			return err
		}
		t.change(func() {
			t.Statuses[answer.status]++
			t.Sent += int64(len(request))
		})
	}
}

// trickleOn sends a request and then a byte every 20 seconds, until the server answers or ends the connection.
func trickleOn(a assault, i int, t *tally) error {
	c, end, err := dialOn(a, t)
	if err != nil {
		return err
	}
	defer end()
	n, err := c.conn.Write(a.Requests[i%len(a.Requests)])
	t.change(func() { t.Sent += int64(n) })
	if err == nil {
		for {
			if err := c.conn.SetReadDeadline(time.Now().Add(trickleEvery)); err != nil {
				return err
			}
			if _, err = c.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if _, err = c.conn.Write([]byte(" ")); err != nil {
				break
			}
		}
	}
	if err == nil {
		answer, err := c.read(false)
		if err == nil {
			t.change(func() { t.Statuses[answer.status]++ })
		}
	}
	time.Sleep(redialAfter)
	return nil
}

// deafOn sends requests without reading, until the server ends the connection.
func deafOn(a assault, i int, t *tally) error {
	c, end, err := dialOn(a, t)
	if err != nil {
		return err
	}
	defer end()
	all := a.Requests[i%len(a.Requests)]
	for at := 0; ; {
		if err := c.conn.SetWriteDeadline(time.Now().Add(redialAfter)); err != nil {
			return err
		}
		n, err := c.conn.Write(all[at:])
		at = (at + n) % len(all)
		t.change(func() { t.Sent += int64(n) })
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		time.Sleep(redialAfter / 10)
	}
	time.Sleep(redialAfter)
	return nil
}

// beside runs what while an attacker is at work, and returns what the attacker has done.
func (b *bench) beside(a assault, what func() error) (t *tally, err error) {
	cmd := exec.Command(b.self, "attack", "-")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the attacker: %w", err)
	}
	defer func() {
		if ended := cmd.Wait(); ended != nil && err == nil {
			err = fmt.Errorf("the attacker: %w: %s", ended, problems.String())
		}
	}()
	defer in.Close()
	if err := json.NewEncoder(in).Encode(a); err != nil {
		return nil, err
	}
	var line [len("begun\n")]byte
	if _, err := io.ReadFull(out, line[:]); err != nil {
		return nil, fmt.Errorf("waiting for the attacker: %w", err)
	}
	time.Sleep(b.length / 6) // so that the attack has its full effect
	if err := what(); err != nil {
		return nil, err
	}
	if err := in.Close(); err != nil {
		return nil, err
	}
	t = &tally{}
	if err := json.NewDecoder(out).Decode(t); err != nil {
		return nil, fmt.Errorf("reading the tally of the attacker: %w", err)
	}
	if t.Dialled == 0 || a.Kind == flood && t.answers() == 0 {
		return nil, fmt.Errorf("the attacker has done nothing: %s", t)
	}
	return t, nil
}
