package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Limits of a line, in bytes unless stated otherwise. Even with every byte escaped, a line stays below maxLine.
const (
	maxText      = 1024 // of a text without a limit of its own
	maxMessage   = 2048 // of errorMessage
	maxWord      = 64   // of an account, type or region
	maxResources = 10   // number of resources
	maxParam     = 1024 // of a text in Params; of a longer one, keptOfParam bytes are kept, with its length and digest
	keptOfParam  = 512
	maxElements  = 100      // number of elements of a list in Params
	maxParams    = 64 << 10 // of all members of a Params
	maxLine      = 512 << 10
)

// Params is an ordered list of names and values, such as the parameters of a request, stored in the encoded
// form of the line. The zero Params is empty and ready to use; it is encoded as null. Content beyond a limit is
// omitted: a text that was cut ends with "… (N bytes, sha256:DIGEST)", of the whole text, and the member "omitted" is true if
// a list was cut or a value was left out.
type Params struct {
	b       []byte // members without the braces: "a":1,"b":2
	omitted bool
}

// String adds a text.
func (p *Params) String(name, value string) {
	mark := p.name(name)
	p.b = appendParam(p.b, value)
	p.check(mark)
}

// Strings adds a list of texts.
func (p *Params) Strings(name string, values []string) {
	mark := p.name(name)
	p.b = append(p.b, '[')
	for i := range p.clampElements(len(values)) {
		if i > 0 {
			p.b = append(p.b, ',')
		}
		p.b = appendParam(p.b, values[i])
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

// Bool adds a boolean.
func (p *Params) Bool(name string, value bool) {
	mark := p.name(name)
	p.b = strconv.AppendBool(p.b, value)
	p.check(mark)
}

// Object adds a value that has members.
func (p *Params) Object(name string, value Params) {
	mark := p.name(name)
	p.b = value.appendObject(p.b)
	p.check(mark)
}

// Objects adds a list of values that have members, for example imageIds.
func (p *Params) Objects(name string, values []Params) {
	mark := p.name(name)
	p.b = append(p.b, '[')
	for i := range p.clampElements(len(values)) {
		if i > 0 {
			p.b = append(p.b, ',')
		}
		p.b = values[i].appendObject(p.b)
	}
	p.b = append(p.b, ']')
	p.check(mark)
}

// Raw adds a value that is encoded as JSON already.
func (p *Params) Raw(name string, value []byte) {
	mark := p.name(name)
	p.b = appendRaw(p.b, value)
	p.check(mark)
}

// appendParam appends a text. A long text, such as a manifest or a policy, is cut: its length and digest identify it.
func appendParam(dst []byte, value string) []byte {
	if len(value) <= maxParam {
		return appendString(dst, value, maxParam)
	}
	dst = appendString(dst, value, keptOfParam)
	dst = dst[:len(dst)-1] // the quotation mark
	dst = strconv.AppendInt(append(dst, " ("...), int64(len(value)), 10)
	sum := sha256.Sum256([]byte(value))
	dst = hex.AppendEncode(append(dst, " bytes, sha256:"...), sum[:])
	return append(dst, `)"`...)
}

// Digest returns parameters with the length and the digest of the parameters p in place of their content.
func (p *Params) Digest() Params {
	text := p.appendJSON(nil)
	sum := sha256.Sum256(text)
	out := Params{omitted: true}
	out.Int("bytes", int64(len(text)))
	out.String("sha256", hex.EncodeToString(sum[:]))
	return out
}

// Len returns the length of the parameters in JSON, in bytes.
func (p *Params) Len() int { return len(p.b) }

// JSON returns all members as one JSON object, or "null" if there are none.
func (p *Params) JSON() string { return string(p.appendJSON(nil)) }

// name begins a member, and returns its offset for check.
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

// check removes the member that begins at mark if it makes the whole too large.
func (p *Params) check(mark int) {
	if len(p.b) > maxParams {
		p.b, p.omitted = p.b[:mark], true
	}
}

// clampElements returns n, or maxElements if n is greater, and then marks the parameters as incomplete.
func (p *Params) clampElements(n int) int {
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
