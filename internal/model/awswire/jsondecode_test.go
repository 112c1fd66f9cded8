package awswire_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// allKinds has one member of every kind. Its tags have the form of those of generated types.
type allKinds struct {
	Text    string              `json:"text"`
	Kind    kind                `json:"kind,omitzero"`
	Clear   *string             `json:"clear,omitzero"`
	Small   *int32              `json:"small,omitzero"`
	Large   int64               `json:"large,omitzero"`
	Ratio   *float64            `json:"ratio,omitzero"`
	Flag    *bool               `json:"flag,omitzero"`
	When    *awswire.Time       `json:"when,omitzero"`
	Blob    []byte              `json:"blob,omitzero"`
	List    []string            `json:"list,omitzero"`
	Labels  map[kind]string     `json:"labels,omitzero"`
	Inner   *allKinds           `json:"inner,omitzero"`
	Many    []allKinds          `json:"many,omitzero"`
	Sorted  map[string]allKinds `json:"sorted,omitzero"`
	Needed  []string            `json:"-"`
	Capital map[string]string   `json:"Key,omitzero"`
}

type kind string

func at(ms int64) *awswire.Time { return &awswire.Time{Time: time.UnixMilli(ms).UTC()} }

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want allKinds
	}{
		{`{"text":"a"}`, allKinds{Text: "a"}},
		{" \r\n\t{ \"text\" : \"\" } \n", allKinds{}},
		{`{"text":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"}`, allKinds{Text: "\"\\/\b\f\n\r\té😀é😀"}},
		{`{"\u0074ext":"escaped name"}`, allKinds{Text: "escaped name"}},
		{`{"text":"","small":-2147483648,"large":9223372036854775807}`, allKinds{Small: new(int32(-1 << 31)), Large: 1<<63 - 1}},
		{`{"text":"","ratio":-1.5e-3,"flag":false}`, allKinds{Ratio: new(-0.0015), Flag: new(false)}},
		{`{"text":"","flag":true,"clear":""}`, allKinds{Flag: new(true), Clear: new("")}},
		{`{"text":"","clear":null,"small":null,"list":null,"inner":null}`, allKinds{}},
		{`{"text":"","when":1563223656}`, allKinds{When: at(1563223656000)}},
		{`{"text":"","when":1.563223656123E9}`, allKinds{When: at(1563223656123)}},
		{`{"text":"","when":-0.5}`, allKinds{When: at(-500)}},
		{`{"text":"","blob":"AAEC/w=="}`, allKinds{Blob: []byte{0, 1, 2, 255}}},
		{`{"text":"","blob":"AAEC\/w=="}`, allKinds{Blob: []byte{0, 1, 2, 255}}},
		{`{"text":"","blob":""}`, allKinds{Blob: []byte{}}},
		{`{"text":"","list":[]}`, allKinds{List: []string{}}},
		{`{"text":"","list":["a", "b"]}`, allKinds{List: []string{"a", "b"}}},
		{`{"text":"","labels":{"x":"1","y":"2"}}`, allKinds{Labels: map[kind]string{"x": "1", "y": "2"}}},
		{`{"text":"","labels":{}}`, allKinds{Labels: map[kind]string{}}},
		{`{"text":"","inner":{"text":"in","kind":"K"},"many":[{"text":"m"}],"sorted":{"k":{"text":"s"}}}`,
			allKinds{Inner: &allKinds{Text: "in", Kind: "K"}, Many: []allKinds{{Text: "m"}}, Sorted: map[string]allKinds{"k": {Text: "s"}}}},
	} {
		var got allKinds
		if err := awswire.DecodeJSON([]byte(c.body), &got, awswire.Options{}); err != nil {
			t.Errorf("DecodeJSON(%s): %v", c.body, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("DecodeJSON(%s) (-want +got):\n%s", c.body, d)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"inner":`, 30) + "1" + strings.Repeat("}", 30)
	for _, c := range []struct {
		body string
		want fault.Code
		text string // part of the public text
	}{
		{``, fault.InvalidParameter, "Invalid parameter at 'text' failed to satisfy constraint: 'Member must not be null'"},
		{`{}`, fault.InvalidParameter, "'text' failed to satisfy constraint: 'Member must not be null'"},
		{`{"text":null}`, fault.InvalidParameter, "'text' failed to satisfy constraint: 'Member must not be null'"},
		{`{"text":"","many":[{"text":""},{}]}`, fault.InvalidParameter, "'many.2.member.text' failed"},
		{`{"text":"","inner":{}}`, fault.InvalidParameter, "'inner.text' failed"},
		{`{"text":"","other":1}`, fault.InvalidParameter, "Invalid parameter at 'other' failed to satisfy constraint: 'Unknown member'"},
		{`{"Text":"a"}`, fault.InvalidParameter, "'Text' failed to satisfy constraint: 'Unknown member'"},
		{`{"text":"","key":{}}`, fault.InvalidParameter, "'key' failed to satisfy constraint: 'Unknown member'"},
		{`{"text":"","Needed":[]}`, fault.InvalidParameter, "'Needed' failed to satisfy constraint: 'Unknown member'"},
		{`{"text":"a","text":"b"}`, fault.MalformedRequest, "member 'text': given twice"},
		{`{"text":null,"text":"b"}`, fault.MalformedRequest, "given twice"},
		{`{"text":"a","\u0074ext":"b"}`, fault.MalformedRequest, "given twice"},
		{`{"text":"","labels":{"a":"1","a":"2"}}`, fault.MalformedRequest, "given twice"},
		{`{"text":"a"}{}`, fault.MalformedRequest, "data after the end"},
		{`{"text":"a"} x`, fault.MalformedRequest, "data after the end"},
		{`[]`, fault.MalformedRequest, "expected an object"},
		{`null`, fault.MalformedRequest, "expected an object"},
		{`"text"`, fault.MalformedRequest, "expected an object"},
		{"\ufeff{}", fault.MalformedRequest, "expected an object"},
		{`{"text":"a"`, fault.MalformedRequest, "expected ','"},
		{`{"text":"a",}`, fault.MalformedRequest, "expected a string"},
		{`{"text" "a"}`, fault.MalformedRequest, "expected ':'"},
		{`{text:"a"}`, fault.MalformedRequest, "expected a string"},
		{`{"text":"a`, fault.MalformedRequest, "without a closing quote"},
		{`{"text":"a\`, fault.MalformedRequest, "without a closing quote"},
		{"{\"text\":\"a\nb\"}", fault.MalformedRequest, "control character"},
		{`{"text":"\x"}`, fault.MalformedRequest, "invalid escape"},
		{`{"text":"\u12g4"}`, fault.MalformedRequest, "invalid escape"},
		{`{"text":"\ud800"}`, fault.MalformedRequest, "invalid Unicode"},
		{`{"text":"\ud800\u0041"}`, fault.MalformedRequest, "invalid Unicode"},
		{"{\"text\":\"\xff\"}", fault.MalformedRequest, "invalid Unicode"},
		{"{\"text\":\"\\n\xff\"}", fault.MalformedRequest, "invalid Unicode"},
		{`{"text":1}`, fault.MalformedRequest, "member 'text': expected a string"},
		{`{"text":"","small":"1"}`, fault.MalformedRequest, "member 'small': expected a whole number of 32 bits"},
		{`{"text":"","small":2147483648}`, fault.MalformedRequest, "32 bits"},
		{`{"text":"","small":1.0}`, fault.MalformedRequest, "32 bits"},
		{`{"text":"","small":01}`, fault.MalformedRequest, "expected ','"},
		{`{"text":"","small":+1}`, fault.MalformedRequest, "32 bits"},
		{`{"text":"","small":-}`, fault.MalformedRequest, "32 bits"},
		{`{"text":"","ratio":1.}`, fault.MalformedRequest, "expected a number"},
		{`{"text":"","ratio":1e}`, fault.MalformedRequest, "expected a number"},
		{`{"text":"","ratio":1e999}`, fault.MalformedRequest, "expected a number"},
		{`{"text":"","ratio":NaN}`, fault.MalformedRequest, "expected a number"},
		{`{"text":"","flag":"true"}`, fault.MalformedRequest, "expected true or false"},
		{`{"text":"","flag":truely}`, fault.MalformedRequest, "expected ','"},
		{`{"text":"","when":"2026-01-01T00:00:00Z"}`, fault.MalformedRequest, "seconds since 1970"},
		{`{"text":"","when":1e18}`, fault.MalformedRequest, "seconds since 1970"},
		{`{"text":"","blob":"A"}`, fault.MalformedRequest, "expected base64"},
		{`{"text":"","blob":"AB=="}`, fault.MalformedRequest, "expected base64"},
		{`{"text":"","blob":[1]}`, fault.MalformedRequest, "expected a string"},
		{`{"text":"","list":{}}`, fault.MalformedRequest, "expected a list"},
		{`{"text":"","list":[null]}`, fault.MalformedRequest, "member 'list.1.member': expected a string"},
		{`{"text":"","labels":[]}`, fault.MalformedRequest, "expected an object"},
		{deep, fault.MalformedRequest, "nested too deeply"},
	} {
		var got allKinds
		err := awswire.DecodeJSON([]byte(c.body), &got, awswire.Options{})
		if !errors.Is(err, c.want) || !strings.Contains(fault.From(err).Public, c.text) {
			t.Errorf("DecodeJSON(%s): got %v, want %v with %q", c.body, err, c.want, c.text)
		}
	}
}

// An error text must not contain parts of the body, which may hold secrets.
func TestDecodeJSONErrorsHideContent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"text":"SECRET`, `{"text":"SECRET\ud800"}`, `{"text":"","blob":"SECRET!"}`,
		`{"text":"","small":"SECRET"}`} {
		if err := awswire.DecodeJSON([]byte(body), &allKinds{}, awswire.Options{}); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("DecodeJSON(%s): error %v", body, err)
		}
	}
}

func TestDecodeJSONIgnoresUnknown(t *testing.T) {
	t.Parallel()
	opts := awswire.Options{IgnoreUnknown: true}
	var got allKinds
	body := `{"x":{"a":[1,-2.5e+3,"s\n",true,false,null,{}]},"text":"a","inner":{"text":"b","y":[]}}`
	if err := awswire.DecodeJSON([]byte(body), &got, opts); err != nil {
		t.Fatalf("DecodeJSON(%s): %v", body, err)
	}
	if d := cmp.Diff(allKinds{Text: "a", Inner: &allKinds{Text: "b"}}, got); d != "" {
		t.Errorf("DecodeJSON(%s) (-want +got):\n%s", body, d)
	}
	for _, body := range []string{
		`{"text":"","x":}`, `{"text":"","x":[1,]}`, `{"text":"","x":{1:2}}`, `{"text":"","x":tru}`, "{\"text\":\"\",\"x\":\"\xff\"}",
		`{"text":"","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		if err := awswire.DecodeJSON([]byte(body), &got, opts); !errors.Is(err, fault.MalformedRequest) {
			t.Errorf("DecodeJSON(%s): got %v, want %v", body, err, fault.MalformedRequest)
		}
	}
}

func TestDecodeJSONLimits(t *testing.T) {
	t.Parallel()
	err := awswire.DecodeJSON([]byte(`{"text":"1234567890"}`), &allKinds{}, awswire.Options{MaxBytes: 20})
	if !errors.Is(err, fault.RequestTooLarge) {
		t.Errorf("21 bytes with a limit of 20: got %v, want %v", err, fault.RequestTooLarge)
	}
	err = awswire.DecodeJSON([]byte(`{"text":"","inner":{"text":""}}`), &allKinds{}, awswire.Options{MaxDepth: 1})
	if !errors.Is(err, fault.MalformedRequest) {
		t.Errorf("depth 2 with a limit of 1: got %v, want %v", err, fault.MalformedRequest)
	}
	many := `{"text":"","list":[` + strings.Repeat(`"",`, 100_000) + `""]}`
	if err := awswire.DecodeJSON([]byte(many), &allKinds{}, awswire.Options{}); !errors.Is(err, fault.MalformedRequest) {
		t.Errorf("100001 elements: got %v, want %v", err, fault.MalformedRequest)
	}
}

// The result must not refer to the caller's buffer, which may be reused.
func TestDecodeJSONCopies(t *testing.T) {
	t.Parallel()
	body := []byte(`{"text":"hello","blob":"AAEC","list":["x"]}`)
	var got allKinds
	if err := awswire.DecodeJSON(body, &got, awswire.Options{}); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if d := cmp.Diff(allKinds{Text: "hello", Blob: []byte{0, 1, 2}, List: []string{"x"}}, got); d != "" {
		t.Errorf("after the body was overwritten (-want +got):\n%s", d)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"text":"a\ud83d\ude00\u0000","kind":"k","clear":"","small":1,"large":-2,"ratio":0.5,"flag":true}`), false)
	f.Add([]byte(`{"text":"","when":1.5e9,"blob":"AAE=","list":["a"],"labels":{"k":"v"},"Key":{}}`), false)
	f.Add([]byte(`{"text":"","inner":{"text":"","many":[{"text":""}]},"sorted":{"a":{"text":"é"}},"x":[null,{"y":1}]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, ignore bool) {
		var got allKinds
		if awswire.DecodeJSON(body, &got, awswire.Options{IgnoreUnknown: ignore}) != nil {
			return
		}
		if len(body) > 0 && !json.Valid(body) && strings.TrimSpace(string(body)) != "" {
			t.Fatalf("DecodeJSON accepted %q, which is not JSON", body)
		}
		text, err := awswire.AppendJSON(nil, &got)
		if err != nil {
			t.Fatalf("AppendJSON(%+v): %v", got, err)
		}
		var again, plain allKinds
		if err := awswire.DecodeJSON(text, &again, awswire.Options{}); err != nil {
			t.Fatalf("DecodeJSON of the encoded %s: %v", text, err)
		}
		if !reflect.DeepEqual(got, again) {
			t.Fatalf("got %+v, again %+v, by way of %s", got, again, text)
		}
		if err := json.Unmarshal(text, &plain); err != nil || !reflect.DeepEqual(got, plain) {
			t.Fatalf("encoding/json reads %s as %+v (%v), want %+v", text, plain, err, got)
		}
	})
}

func BenchmarkDecodeLayerPart(b *testing.B) {
	body := []byte(`{"repositoryName":"a/b","uploadId":"00000000-0000-0000-0000-000000000000","partFirstByte":0,"partLastByte":20971519,"layerPartBlob":"` +
		base64.StdEncoding.EncodeToString(make([]byte, 20<<20)) + `"}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var in ecrtypes.UploadLayerPartRequest
		if err := awswire.DecodeJSON(body, &in, awswire.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
