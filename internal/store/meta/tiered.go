package meta

import (
	"encoding/binary"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// tiered is a shelf whose further values are in a spill.
type tiered[K comparable, V any] struct {
	shelf[K, V]
	spill *spill
	form  form[K, V]
}

// form is how the values of a cache are written to a spill.
type form[K comparable, V any] interface {
	key(K) []byte
	// encode returns nil for a value that is not kept.
	encode(V) []byte
	decode([]byte) (V, bool)
}

// generations are those of both tiers.
type generations struct{ shelf, spill uint64 }

func (t *tiered[K, V]) get(k K) (v V, gen generations, ok bool) {
	v, gen.shelf, ok = t.shelf.get(k)
	if ok || t.spill == nil {
		return v, gen, ok
	}
	text, g, found := t.spill.get(t.form.key(k))
	gen.spill = g
	if !found {
		return v, gen, false
	}
	v, ok = t.form.decode(text)
	return v, gen, ok
}

// put keeps v in memory while there is room, and then in the file.
func (t *tiered[K, V]) put(k K, v V, gen generations) {
	if t.spill == nil || t.shelf.room() {
		t.shelf.put(k, v, gen.shelf)
		return
	}
	if text := t.form.encode(v); text != nil {
		t.spill.put(t.form.key(k), text, gen.spill)
	}
}

func (t *tiered[K, V]) generations() generations {
	g := generations{shelf: t.shelf.generation()}
	if t.spill != nil {
		t.spill.mu.RLock()
		defer t.spill.mu.RUnlock()
		g.spill = t.spill.gen
	}
	return g
}

func (t *tiered[K, V]) drop(keys ...K) {
	t.shelf.drop(keys...)
	switch {
	case t.spill == nil:
	case len(keys) == 0:
		t.spill.reset()
	default:
		all := make([][]byte, len(keys))
		for i, k := range keys {
			all[i] = t.form.key(k)
		}
		t.spill.drop(all...)
	}
}

// bodyForm writes manifests.
type bodyForm struct{}

func (bodyForm) key(d name.Digest) []byte          { return []byte(d.String()) }
func (bodyForm) encode(body []byte) []byte         { return body }
func (bodyForm) decode(text []byte) ([]byte, bool) { return text, true }

// headForm writes heads of manifests: four texts, each after its length.
type headForm struct{}

func (headForm) key(k headKey) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(k.repository))
	if k.ref.Tag != (name.Tag{}) {
		return append(append(b, 't'), k.ref.Tag.String()...)
	}
	return append(append(b, 'd'), k.ref.Digest.String()...)
}

func (headForm) encode(h ManifestHead) []byte {
	b := binary.AppendVarint(nil, h.Size)
	for _, text := range []string{h.Digest.String(), h.MediaType, h.Subject.String()} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return b
}

func (headForm) decode(b []byte) (h ManifestHead, ok bool) {
	size, n := binary.Varint(b)
	if n <= 0 {
		return h, false
	}
	var texts [3]string
	b = b[n:]
	for i := range texts {
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return h, false
		}
		texts[i], b = string(b[n:n+int(length)]), b[n+int(length):]
	}
	h.Size, h.MediaType = size, texts[1]
	var err error
	if h.Digest, err = name.ParseDigest(texts[0]); err != nil {
		return h, false
	}
	if texts[2] != "" {
		h.Subject, err = name.ParseDigest(texts[2])
	}
	return h, err == nil
}
