package audit

import "strconv"

// Bounds of a line, in bytes unless said otherwise. With every byte escaped, all of them together stay below maxLine.
const (
	maxText      = 1024     // of most texts
	maxMessage   = 2048     // of errorMessage
	maxWord      = 64       // of accounts, types and regions
	maxResources = 10       // how many of them
	maxParam     = 4096     // of one text in Params
	maxElements  = 100      // of one list in Params: how many
	maxParams    = 64 << 10 // of a whole Params
	maxLine      = 512 << 10
)

// Params is an ordered list of names and values, such as the parameters of a request. It keeps them in the form in which
// the line has them. The zero Params is empty and ready to use; in the line it is null. What goes beyond a bound is left
// out: texts end with "…", and of a list or value that is dropped the member "omitted" tells.
type Params struct {
	b       []byte // members without the braces: "a":1,"b":2
	omitted bool
}

// String adds a text.
func (p *Params) String(name, value string) {
	mark := p.name(name)
	p.b = appendString(p.b, value, maxParam)
	p.check(mark)
}

// Strings adds a list of texts.
func (p *Params) Strings(name string, values []string) {
	mark := p.name(name)
	p.b = append(p.b, '[')
	for i := range p.most(len(values)) {
		if i > 0 {
			p.b = append(p.b, ',')
		}
		p.b = appendString(p.b, values[i], maxParam)
	}
	p.b = append(p.b, ']')
	p.check(mark)
}

// Int adds a number.
func (p *Params) Int(name string, value int64) {
	mark := p.name(name)
	p.b = strconv.AppendInt(p.b, value, 10)
	p.check(mark)
}

// Bool adds a truth value.
func (p *Params) Bool(name string, value bool) {
	mark := p.name(name)
	p.b = strconv.AppendBool(p.b, value)
	p.check(mark)
}

// Object adds a value that has members itself.
func (p *Params) Object(name string, value Params) {
	mark := p.name(name)
	p.b = value.appendObject(p.b)
	p.check(mark)
}

// Objects adds a list of such values, for example imageIds.
func (p *Params) Objects(name string, values []Params) {
	mark := p.name(name)
	p.b = append(p.b, '[')
	for i := range p.most(len(values)) {
		if i > 0 {
			p.b = append(p.b, ',')
		}
		p.b = values[i].appendObject(p.b)
	}
	p.b = append(p.b, ']')
	p.check(mark)
}

// Raw adds a value that is JSON already.
func (p *Params) Raw(name string, value []byte) {
	mark := p.name(name)
	p.b = appendRaw(p.b, value)
	p.check(mark)
}

// JSON is the whole as one JSON object, "null" when it is empty.
func (p *Params) JSON() string { return string(p.appendJSON(nil)) }

// name begins a member and tells where, for check.
func (p *Params) name(name string) (mark int) {
	if p.b == nil {
		p.b = make([]byte, 0, 384)
	}
	mark = len(p.b)
	if mark > 0 {
		p.b = append(p.b, ',')
	}
	p.b = append(appendString(p.b, name, maxWord), ':')
	return mark
}

// check takes a member back that makes the whole too large.
func (p *Params) check(mark int) {
	if len(p.b) > maxParams {
		p.b, p.omitted = p.b[:mark], true
	}
}

func (p *Params) most(n int) int {
	if n > maxElements {
		n, p.omitted = maxElements, true
	}
	return n
}

func (p *Params) empty() bool { return len(p.b) == 0 && !p.omitted }

func (p *Params) appendJSON(dst []byte) []byte {
	if p.empty() {
		return append(dst, "null"...)
	}
	return p.appendObject(dst)
}

func (p *Params) appendObject(dst []byte) []byte {
	dst = append(append(dst, '{'), p.b...)
	switch {
	case p.omitted && len(p.b) > 0:
		dst = append(dst, `,"omitted":true`...)
	case p.omitted:
		dst = append(dst, `"omitted":true`...)
	}
	return append(dst, '}')
}
