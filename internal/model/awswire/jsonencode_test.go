package awswire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
)

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	type required struct {
		List   []string          `json:"list"`
		Map    map[string]string `json:"map"`
		Blob   []byte            `json:"blob"`
		When   awswire.Time      `json:"when"`
		Number int32             `json:"number"`
	}
	for _, c := range []struct {
		in   any
		want string
	}{
		{allKinds{}, `{"text":""}`},
		{&allKinds{Text: "<a> & \"b\"\\\x00\x1f\n\r\t\u2028é😀\xff"}, `{"text":"<a> & \"b\"\\\u0000\u001f\n\r\t` + "\u2028é😀\ufffd" + `"}`},
		{allKinds{List: []string{}, Labels: map[kind]string{}, Blob: []byte{}}, `{"text":"","blob":"","list":[],"labels":{}}`},
		{allKinds{List: []string{"a", "b"}, Labels: map[kind]string{"y": "1", "x": "2"}},
			`{"text":"","list":["a","b"],"labels":{"x":"2","y":"1"}}`},
		{allKinds{Clear: new(""), Small: new(int32(0)), Flag: new(false), Ratio: new(1e21)},
			`{"text":"","clear":"","small":0,"ratio":1e+21,"flag":false}`},
		{allKinds{Inner: &allKinds{}, Many: []allKinds{{Kind: "k"}, {}}},
			`{"text":"","inner":{"text":""},"many":[{"text":"","kind":"k"},{"text":""}]}`},
		{allKinds{When: at(1563223656123), Blob: []byte{0, 1, 255}}, `{"text":"","when":1563223656.123,"blob":"AAH/"}`},
		{required{When: *at(-1500)}, `{"list":[],"map":{},"blob":"","when":-1.500,"number":0}`},
		{&awswire.Empty{}, `{}`},
	} {
		var got bytes.Buffer
		if err := awswire.EncodeJSON(&got, c.in); err != nil || got.String() != c.want {
			t.Errorf("EncodeJSON(%+v) (%v):\n got %s\nwant %s", c.in, err, got.String(), c.want)
		}
	}
	for _, in := range []any{allKinds{Ratio: new(math.NaN())}, allKinds{Ratio: new(math.Inf(1))}, nil, make(chan int),
		[]any{allKinds{}, 1i}, map[string]any{"a": nil}} {
		if b, err := awswire.AppendJSON(nil, in); err == nil {
			t.Errorf("AppendJSON(%v) = %s, want an error", in, b)
		}
	}
}

func TestEncodeJSONError(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	want := `{"__type":"KmsException","message":"no \"key\"","kmsError":"x"}`
	if err := awswire.EncodeJSONError(&got, "KmsException", `no "key"`, map[string]any{"kmsError": "x"}); err != nil || got.String() != want {
		t.Errorf("got %s (%v), want %s", got.String(), err, want)
	}
	if err := awswire.EncodeJSONError(&got, "E", "m", map[string]any{"x": struct{ c chan int }{}, "y": []any{nil}}); err == nil ||
		!strings.Contains(err.Error(), "member y") {
		t.Errorf("a member without JSON form: got %v, want an error that names it", err)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	if got := awswire.At(time.Time{}); got != nil {
		t.Errorf("At(zero) = %v, want nil", got)
	}
	for _, c := range []struct {
		in   time.Time
		want string
	}{
		{time.Unix(0, 0), "0.000"},
		{time.Unix(1563223656, 123_999_999), "1563223656.123"},
		{time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC), "-0.001"},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), "1767319445.000"},
	} {
		b, err := awswire.At(c.in).MarshalJSON()
		if err != nil || string(b) != c.want {
			t.Errorf("MarshalJSON(%v) = %s (%v), want %s", c.in, b, err, c.want)
		}
		var back awswire.Time
		if err := back.UnmarshalJSON(b); err != nil || back.UnixMilli() != c.in.UnixMilli() {
			t.Errorf("UnmarshalJSON(%s) = %v (%v), want %v", b, back, err, c.in)
		}
	}
	// The years 1 to 9999.
	for text, want := range map[string]bool{
		"-62135596800": true, "-62135596800.001": false, "253402300799.999": true, "253402300800": false, "NaN": false, "1e400": false,
	} {
		var got awswire.Time
		if err := got.UnmarshalJSON([]byte(text)); (err == nil) != want {
			t.Errorf("UnmarshalJSON(%s) = %v (%v), want it accepted: %v", text, got, err, want)
		}
	}
}

// A failed write of any piece, and a number without a JSON form, is an error.
func TestEncodeJSONErrors(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("é", 50_000)
	in := &allKinds{Text: text, Blob: []byte(text), List: []string{text, text}, Inner: &allKinds{Text: text},
		Capital: map[string]string{"a": text}}
	broken := errors.New("broken pipe")
	for n := 1; ; n++ {
		pieces := 0
		err := awswire.EncodeJSON(writerFunc(func(p []byte) (int, error) {
			if pieces++; pieces == n {
				return 0, broken
			}
			return len(p), nil
		}), in)
		if pieces < n { // all have succeeded
			if err != nil || n < 10 {
				t.Errorf("got %d pieces and %v, want more than ten and no error", pieces, err)
			}
			break
		}
		if !errors.Is(err, broken) {
			t.Errorf("piece %d cannot be written: got %v, want %v", n, err, broken)
		}
	}
	for _, ratio := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if err := awswire.EncodeJSON(io.Discard, &allKinds{Ratio: &ratio}); err == nil {
			t.Errorf("EncodeJSON accepted %v", ratio)
		}
		if b, err := awswire.AppendJSON(nil, &allKinds{Inner: &allKinds{Ratio: &ratio}}); err == nil {
			t.Errorf("AppendJSON(%v) = %s, want an error", ratio, b)
		}
	}
}

// Long strings and bytes are written in pieces, with the same result as in one: no character, no group of base64 is cut.
func TestEncodeJSONInPieces(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		strings.Repeat("a", 200_000), strings.Repeat("aé€😀", 30_000), strings.Repeat("😀", 50_000), strings.Repeat("\"\n\x01", 50_000),
		strings.Repeat("\x80", 60_000), strings.Repeat("é", 12_288) + "x", "x" + strings.Repeat("é", 50_000),
	} {
		var pieces [][]byte
		err := awswire.EncodeJSON(writerFunc(func(p []byte) (int, error) {
			pieces = append(pieces, bytes.Clone(p))
			return len(p), nil
		}), &allKinds{Text: text, Blob: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Text string
			Blob []byte
		}
		err = json.Unmarshal(bytes.Join(pieces, nil), &got)
		if want := string([]rune(text)); err != nil || got.Text != want || string(got.Blob) != text {
			t.Errorf("%.10q…: got another text or other bytes, %v", text, err)
		}
		for _, p := range pieces {
			if len(pieces) < 2 || len(p) > 200_000 {
				t.Errorf("%.10q…: got %d pieces, one of %d bytes; want more than one, each below 200,000", text, len(pieces), len(p))
			}
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
