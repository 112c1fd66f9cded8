package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// turn returns the next request of a connection, as stream does; failed says that the last one was refused.
type turn func(failed bool) (header []byte, body io.Reader, err error)

// A share is what some of the connections of an honest client do.
type share struct {
	name        string
	connections int
	want        int // the status of a good response
	turns       func(connection int) turn
}

const (
	// honestPause is between two requests of a connection of an honest client. Without it, the client alone would take all of the
	// processors, and the rate beside any other load would only show how they are shared.
	honestPause           = 5 * time.Millisecond
	requestsPerConnection = 200 // of an honest client, so that it connects again beside an attack
	maxHonestWait         = 15 * time.Second
)

// conduct is what an honest client has seen.
type conduct struct {
	good, limited, failed int
	waits                 []time.Duration // of all requests, with the connecting before some of them; sorted
	first                 error           // of those that failed
}

// measure returns the figures; took is the duration of the load.
func (c *conduct) measure(took time.Duration) measure {
	slices.Sort(c.waits)
	o := outcome{waits: c.waits}
	return measure{Value: float64(c.good) / took.Seconds(), P50: ms(o.at(.5)), P99: ms(o.at(.99)),
		Limited: float64(c.limited), Failed: float64(c.failed)}
}

// work does the shares for the duration length, and returns what each has seen. Responses of any kind are counted and do not end it.
func work(address string, length time.Duration, shares []share) (map[string]*conduct, time.Duration, error) {
	var mu sync.Mutex
	all := map[string]*conduct{}
	var broken error
	start := time.Now()
	var wg sync.WaitGroup
	for _, s := range shares {
		all[s.name] = &conduct{}
		for i := range s.connections {
			wg.Go(func() {
				c, err := s.work(address, i, start.Add(length))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					broken = fmt.Errorf("making a request: %w", err)
				}
				all[s.name].add(c)
			})
		}
	}
	wg.Wait()
	return all, time.Since(start), broken
}

func (c *conduct) add(o *conduct) {
	c.good, c.limited, c.failed = c.good+o.good, c.limited+o.limited, c.failed+o.failed
	c.waits = append(c.waits, o.waits...)
	if c.first == nil {
		c.first = o.first
	}
}

// work is that of one connection, which is made anew after an error and after some requests.
func (s share) work(address string, i int, end time.Time) (*conduct, error) {
	o := &conduct{}
	next := s.turns(i)
	var c *client
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	failed := false
	for n := 1; time.Now().Before(end); n++ {
		header, body, err := next(failed)
		if err != nil {
			return o, err
		}
		began := time.Now()
		if c == nil {
			if c, err = dial(address); err == nil {
				c.limit = maxHonestWait
			}
		}
		var a answer
		if err == nil {
			a, err = c.do(header, body)
		}
		o.waits = append(o.waits, time.Since(began))
		failed = true
		switch {
		case err != nil:
			o.fail(err)
		case a.status == s.want:
			o.good++
			failed = false
		case a.status == http.StatusTooManyRequests:
			o.limited++
		default:
			o.fail(fmt.Errorf("status %d, not %d: %s", a.status, s.want, a.head))
		}
		if c != nil && (failed || n%requestsPerConnection == 0) {
			c.close()
			c = nil
		}
		time.Sleep(honestPause)
	}
	return o, nil
}

func (c *conduct) fail(err error) {
	c.failed++
	if c.first == nil {
		c.first = err
	}
}
