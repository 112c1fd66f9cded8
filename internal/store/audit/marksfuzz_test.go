package audit

import "testing"

// FuzzMarks reads any text as marks: what is accepted is in order and inside of the file.
func FuzzMarks(f *testing.F) {
	f.Add([]byte(`{"size":9,"refused":{"many":false,"at":[0,5]},"changed":{"many":true,"at":null}}`), int64(9))
	f.Add([]byte(`{"size":9,"refused":{"at":[5,5]}}`), int64(9))
	f.Add([]byte(`{}`), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, size int64) {
		m, ok := parseMarks(text, size)
		if !ok {
			return
		}
		if m.size != size {
			t.Errorf("got the size %d, want %d", m.size, size)
		}
		for _, of := range m.of {
			before := int64(-1)
			for _, at := range of.At {
				if at <= before || at >= size {
					t.Errorf("got the offset %d after %d in %d bytes", at, before, size)
				}
				before = at
			}
		}
	})
}
