package policy

import (
	"iter"
	"net/netip"
	"strconv"
	"time"
)

// Context holds the condition keys of a request. Names of keys are case-insensitive. The zero value has no keys and is
// ready to use. A Context must not be modified while a decision reads it.
type Context struct {
	Time     time.Time  // of the request: aws:CurrentTime and aws:EpochTime; the zero Time means unknown
	SourceIP netip.Addr // the client's address: aws:SourceIp; the zero Addr means unknown
	items    []item
}

// item is a key with one value or with a list of at least one value.
type item struct {
	key  string // in lower case
	one  string
	list []string // nil for a key with one value
}

// The keys that have fields of their own.
const (
	currentTime = "aws:currenttime"
	epochTime   = "aws:epochtime"
	sourceIP    = "aws:sourceip"
)

// principalARN is the key of the ARN of the caller: of the role, in a session of a role.
const principalARN = "aws:principalarn"

// Clone returns an independent context with the same keys: a key that is set in one of them is not set in the other.
// The lists of values are shared.
func (c *Context) Clone() Context {
	own := *c
	own.items = append(make([]item, 0, len(c.items)+cloneRoom), c.items...)
	return own
}

// cloneRoom is the number of keys that can be added to a clone without another allocation: a request adds its keys to
// those of its caller.
const cloneRoom = 16

// Set sets a key to one value, in place of the values that it had. aws:CurrentTime, aws:EpochTime and aws:SourceIp set
// the fields Time and SourceIP if the value can be read as a time or an address; a time is a date of ISO 8601 or
// seconds since 1970. A key in lower case saves an allocation.
func (c *Context) Set(key, value string) {
	key = Fold(key)
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

// SetList sets a key with several values, such as aws:TagKeys. Without values it removes the key.
func (c *Context) SetList(key string, values ...string) {
	key = Fold(key)
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

// Values returns the values of a key, or nil if the context does not have the key.
func (c *Context) Values(key string) []string {
	g, ok := c.find(Fold(key))
	switch {
	case !ok:
		return nil
	case g.item != nil && g.item.list != nil:
		return g.item.list
	}
	return []string{g.text()}
}

// IsList reports whether a key has a list of values, even if the list has one value.
func (c *Context) IsList(key string) bool {
	g, ok := c.find(Fold(key))
	return ok && g.item != nil && g.item.list != nil
}

// contextValue is the value of a key in a context: an item, or one of the typed fields.
type contextValue struct {
	item    *item
	when    time.Time
	seconds bool // as a text or number, the time is in seconds since 1970
	from    netip.Addr
}

// find returns the value of a key, whose name is in lower case. A request has a few dozen short keys at most: a linear
// search is faster than a map, and the slice is cheaper to build.
func (c *Context) find(key string) (contextValue, bool) {
	if c == nil {
		return contextValue{}, false
	}
	for i := range c.items {
		if c.items[i].key == key {
			return contextValue{item: &c.items[i]}, true
		}
	}
	switch key {
	case currentTime, epochTime:
		return contextValue{when: c.Time, seconds: key == epochTime}, !c.Time.IsZero()
	case sourceIP:
		return contextValue{from: c.SourceIP.Unmap()}, c.SourceIP.IsValid()
	}
	return contextValue{}, false
}

// text returns the value of a key for a policy variable. A key with a list of values has none.
func (c *Context) text(key string) (string, bool) {
	g, ok := c.find(key)
	if !ok || g.item != nil && g.item.list != nil {
		return "", false
	}
	return g.text(), true
}

// text returns a value that is not a list, as text.
func (g *contextValue) text() string {
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

// All returns an iterator over the keys and their values, each key once and in no particular order. Names are in lower
// case.
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
