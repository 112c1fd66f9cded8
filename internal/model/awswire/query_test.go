package awswire_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func form(t *testing.T, query string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDecodeQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		want  allKinds
	}{
		{"Action=Do&Version=2011-06-15&text=a%20b", allKinds{Text: "a b"}},
		{"text=a&X-Amz-Signature=1&X-Amz-Security-Token=2", allKinds{Text: "a"}},
		{"text=&small=-1&large=5&ratio=0.5&flag=true&clear=&kind=K",
			allKinds{Small: new(int32(-1)), Large: 5, Ratio: new(0.5), Flag: new(true), Clear: new(""), Kind: "K"}},
		{"text=&when=2019-07-15T21:47:36.123Z&blob=AAEC", allKinds{When: at(1563227256123), Blob: []byte{0, 1, 2}}},
		{"text=&list.member.1=a&list.member.2=b", allKinds{List: []string{"a", "b"}}},
		{"text=&list=", allKinds{List: []string{}}},
		{"text=&labels.entry.1.key=k&labels.entry.1.value=v&labels.entry.2.key=l&labels.entry.2.value=",
			allKinds{Labels: map[kind]string{"k": "v", "l": ""}}},
		{"text=&labels=", allKinds{Labels: map[kind]string{}}},
		{"text=&inner.text=in&many.member.1.text=m&many.member.1.list.member.1=x&sorted.entry.1.key=k&sorted.entry.1.value.text=s",
			allKinds{Inner: &allKinds{Text: "in"}, Many: []allKinds{{Text: "m", List: []string{"x"}}},
				Sorted: map[string]allKinds{"k": {Text: "s"}}}},
		{"text=&" + manyMembers(12), allKinds{List: strings.Split("1 2 3 4 5 6 7 8 9 10 11 12", " ")}},
	} {
		var got allKinds
		if err := awswire.DecodeQuery(form(t, c.query), &got, awswire.Options{}); err != nil {
			t.Errorf("DecodeQuery(%s): %v", c.query, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("DecodeQuery(%s) (-want +got):\n%s", c.query, d)
		}
	}
}

func manyMembers(n int) string {
	var parts []string
	for i := 1; i <= n; i++ {
		parts = append(parts, fmt.Sprintf("list.member.%d=%d", i, i))
	}
	return strings.Join(parts, "&")
}

func TestDecodeQueryRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		want  fault.Code
		text  string
	}{
		{"", fault.InvalidParameter, "Invalid parameter at 'text' failed to satisfy constraint: 'Member must not be null'"},
		{"text=&inner.kind=k", fault.InvalidParameter, "'inner.text' failed"},
		{"text=&many.member.1.kind=k", fault.InvalidParameter, "'many.1.member.text' failed"},
		{"text=&other=1", fault.InvalidParameter, "Invalid parameter at 'other' failed to satisfy constraint: 'Unknown member'"},
		{"Text=a", fault.InvalidParameter, "'Text' failed to satisfy constraint: 'Unknown member'"},
		{"text=&inner.text=&inner.x.y=1", fault.InvalidParameter, "'inner.x' failed"},
		{"text=&%ff=1", fault.InvalidParameter, "'?' failed"},
		{"text=a&text=b", fault.MalformedRequest, "'text': given more than once"},
		{"text=%ff", fault.MalformedRequest, "not valid Unicode"},
		{"text.x=1", fault.MalformedRequest, "'text': expected a value"},
		{"text=1&text.x=1", fault.MalformedRequest, "'text': expected a value"},
		{"text=&inner=x", fault.MalformedRequest, "'inner': expected members"},
		{"text=&list=x", fault.MalformedRequest, "expected .member.N"},
		{"text=&list.1=x", fault.MalformedRequest, "expected .member.N"},
		{"text=&list.member=x", fault.MalformedRequest, "expected .member.N"},
		{"text=&list=&list.member.1=x", fault.MalformedRequest, "expected .member.N"},
		{"text=&list.member.0=x", fault.MalformedRequest, "member.1 among the positions"},
		{"text=&list.member.2=x", fault.MalformedRequest, "member.1 among the positions"},
		{"text=&list.member.01=x", fault.MalformedRequest, "member.1 among the positions"},
		{"text=&list.member.1=x&list.member.999999999=x", fault.MalformedRequest, "member.2 among the positions"},
		{"text=&list.member.1=x&list.entry.1=x", fault.MalformedRequest, "expected .member.N"},
		{"text=&labels.entry.1.key=k", fault.MalformedRequest, "expected .key and .value"},
		{"text=&labels.entry.1.value=k", fault.MalformedRequest, "expected .key and .value"},
		{"text=&labels.entry.1.key=k&labels.entry.1.value=v&labels.entry.1.x=y", fault.MalformedRequest, "expected .key and .value"},
		{"text=&labels.entry.1.key=k&labels.entry.1.value=v&labels.entry.2.key=k&labels.entry.2.value=v", fault.MalformedRequest, "twice"},
		{"text=&small=2147483648", fault.MalformedRequest, "'small': expected a whole number of 32 bits"},
		{"text=&small=", fault.MalformedRequest, "32 bits"},
		{"text=&flag=True", fault.MalformedRequest, "expected true or false"},
		{"text=&ratio=x", fault.MalformedRequest, "expected a number"},
		{"text=&when=yesterday", fault.MalformedRequest, "not a time"},
		{"text=&blob=!", fault.MalformedRequest, "expected base64"},
		{"text=&inner" + strings.Repeat(".inner", 60) + "=1", fault.MalformedRequest, "nested too deeply"},
	} {
		var got allKinds
		err := awswire.DecodeQuery(form(t, c.query), &got, awswire.Options{})
		if !errors.Is(err, c.want) || !strings.Contains(fault.From(err).Public, c.text) {
			t.Errorf("DecodeQuery(%s): got %v, want %v with %q", c.query, err, c.want, c.text)
		}
	}
}

func TestDecodeQueryOptions(t *testing.T) {
	t.Parallel()
	var got allKinds
	err := awswire.DecodeQuery(form(t, "text=a&x.y=1&inner.text=b&inner.z=2"), &got, awswire.Options{IgnoreUnknown: true})
	if d := cmp.Diff(allKinds{Text: "a", Inner: &allKinds{Text: "b"}}, got); err != nil || d != "" {
		t.Errorf("with unknown members ignored: %v (-want +got):\n%s", err, d)
	}
	if err := awswire.DecodeQuery(form(t, "text=12345"), &got, awswire.Options{MaxBytes: 8}); !errors.Is(err, fault.RequestTooLarge) {
		t.Errorf("9 bytes with a limit of 8: got %v, want %v", err, fault.RequestTooLarge)
	}
	if err := awswire.DecodeQuery(form(t, "text=12345"), &got, awswire.Options{MaxBytes: 9}); err != nil {
		t.Errorf("9 bytes with a limit of 9: %v", err)
	}
	many := url.Values{"text": {""}}
	for i := range 10_000 {
		many.Set(fmt.Sprintf("list.member.%d", i+1), "")
	}
	if err := awswire.DecodeQuery(many, &got, awswire.Options{}); !errors.Is(err, fault.MalformedRequest) {
		t.Errorf("10001 parameters: got %v, want %v", err, fault.MalformedRequest)
	}
}

func TestEncodeQueryXML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		out  any
		want string
	}{
		{nil, ""},
		{&awswire.Empty{}, ""},
		{&ststypes.GetCallerIdentityResponse{}, "<DoResult></DoResult>"},
		{&ststypes.GetCallerIdentityResponse{Account: "1<2"}, "<DoResult><Account>1&lt;2</Account></DoResult>"},
		{allKinds{Text: "t", Large: -1, Ratio: new(0.5), Flag: new(false), When: at(1563223656120), Blob: []byte{0, 1, 2},
			List: []string{"a", "b"}, Labels: map[kind]string{"y": "2", "x": "1"}, Inner: &allKinds{Text: "in"}, Many: []allKinds{}},
			"<DoResult><text>t</text><large>-1</large><ratio>0.5</ratio><flag>false</flag><when>2019-07-15T20:47:36.120Z</when><blob>AAEC</blob>" +
				"<list><member>a</member><member>b</member></list>" +
				"<labels><entry><key>x</key><value>1</value></entry><entry><key>y</key><value>2</value></entry></labels>" +
				"<inner><text>in</text></inner><many></many></DoResult>"},
	} {
		want := `<DoResponse xmlns="https://example.com/doc/">` + c.want +
			"<ResponseMetadata><RequestId>r&amp;1</RequestId></ResponseMetadata></DoResponse>"
		var got bytes.Buffer
		if err := awswire.EncodeQueryXML(&got, "Do", "https://example.com/doc/", "r&1", c.out); err != nil || got.String() != want {
			t.Errorf("EncodeQueryXML(%+v) (%v):\n got %s\nwant %s", c.out, err, got.String(), want)
		}
	}
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("Action=A&text=a&small=1&flag=true&when=2019-07-15T21:47:36Z&blob=AAEC&list.member.1=a")
	f.Add("text=&labels.entry.1.key=k&labels.entry.1.value=v&inner.text=&many.member.1.text=&list=")
	f.Add("text=&sorted.entry.1.key=k&sorted.entry.1.value.text=s&ratio=1e3&large=-1&Key=")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		var got, again allKinds
		if awswire.DecodeQuery(values, &got, awswire.Options{}) != nil {
			return
		}
		text, err := awswire.AppendJSON(nil, &got)
		if err != nil {
			return // NaN is a number in a query and not in JSON
		}
		if err := awswire.DecodeJSON(text, &again, awswire.Options{}); err != nil || !cmp.Equal(got, again) {
			t.Fatalf("%q: got %+v, by way of JSON %s %+v (%v)", query, got, text, again, err)
		}
		var answer bytes.Buffer
		if err := awswire.EncodeQueryXML(&answer, "Do", "ns", "id", &got); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(&answer); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%q becomes XML that is not well-formed: %v", query, err)
			}
		}
	})
}
