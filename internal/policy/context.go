package policy

import (
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Context holds the condition keys of a request. Names have no case. The zero value has no keys and is ready to use; it
// must not be changed while a decision reads it.
type Context struct {
	Time     time.Time  // of the request: aws:CurrentTime and aws:EpochTime; the zero Time is none
	SourceIP netip.Addr // the client's address: aws:SourceIp; the zero Addr is none
	items    []item
}

// item is a key. It has one value or, as a list, any number but zero.
type item struct {
	key  string // lower-cased
	one  string
	list []string // nil for a key of one value
}

// The keys that have fields of their own.
const (
	currentTime = "aws:currenttime"
	epochTime   = "aws:epochtime"
	sourceIP    = "aws:sourceip"
)

// Clone gives a context of its own with the same keys: what is set in one is not seen in the other. Lists are shared.
func (c *Context) Clone() Context {
	own := *c
	own.items = append(make([]item, 0, len(c.items)+cloneRoom), c.items...)
	return own
}

// cloneRoom is for the keys that a request adds to those of its caller.
const cloneRoom = 16

// Set gives a key one value, in place of what it had. aws:CurrentTime, aws:EpochTime and aws:SourceIp set the fields when
// the value can be read as one; a time is RFC 3339 or seconds since 1970. A key in lower case costs least.
func (c *Context) Set(key, value string) {
	key = strings.ToLower(key)
	switch key {
	case currentTime, epochTime:
		if t, ok := readDate(value); ok {
			c.Time = t
			return
		}
	case sourceIP:
		if a, err := netip.ParseAddr(value); err == nil {
			c.SourceIP = a.Unmap()
			return
		}
	}
	c.put(item{key: key, one: value})
}

// SetList gives a key of several values, such as aws:TagKeys, its values. Without values the key is absent.
func (c *Context) SetList(key string, values ...string) {
	key = strings.ToLower(key)
	if len(values) == 0 {
		c.remove(key)
		return
	}
	c.put(item{key: key, list: values})
}

func (c *Context) put(it item) {
	c.remove(it.key)
	c.items = append(c.items, it)
}

func (c *Context) remove(key string) {
	for i := range c.items {
		if c.items[i].key == key {
			c.items = append(c.items[:i], c.items[i+1:]...)
			return
		}
	}
}

// Values gives the values of a key, or none.
func (c *Context) Values(key string) []string {
	g, ok := c.find(strings.ToLower(key))
	switch {
	case !ok:
		return nil
	case g.item != nil && g.item.list != nil:
		return g.item.list
	}
	return []string{g.text()}
}

// given is what a request has for a key: an item, or one of the typed fields.
type given struct {
	item    *item
	when    time.Time
	seconds bool // as text and number, when is in seconds since 1970
	from    netip.Addr
}

// find looks a key up, by its lower-cased name. A request has a few dozen short keys at most: going through them is
// faster than a map, and making them costs less.
func (c *Context) find(key string) (given, bool) {
	if c == nil {
		return given{}, false
	}
	for i := range c.items {
		if c.items[i].key == key {
			return given{item: &c.items[i]}, true
		}
	}
	switch key {
	case currentTime, epochTime:
		return given{when: c.Time, seconds: key == epochTime}, !c.Time.IsZero()
	case sourceIP:
		return given{from: c.SourceIP.Unmap()}, c.SourceIP.IsValid()
	}
	return given{}, false
}

// text is the value of a key for a policy variable.
func (c *Context) text(key string) (string, bool) {
	g, ok := c.find(key)
	if !ok || g.item != nil && g.item.list != nil {
		return "", false
	}
	return g.text(), true
}

// text is the only value as text.
func (g *given) text() string {
	switch {
	case g.item != nil:
		return g.item.one
	case g.from.IsValid():
		return g.from.String()
	case g.seconds:
		return strconv.FormatInt(g.when.Unix(), 10)
	}
	return g.when.UTC().Format(time.RFC3339)
}

// All goes through the keys and their values, each key once, in no order; names are lower-cased.
func (c *Context) All() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		if c == nil {
			return
		}
		for i := range c.items {
			if !yield(c.items[i].key, c.Values(c.items[i].key)) {
				return
			}
		}
		for _, key := range [...]string{currentTime, epochTime, sourceIP} {
			if values := c.Values(key); len(values) > 0 && !yield(key, values) {
				return
			}
		}
	}
}
