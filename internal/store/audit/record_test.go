package audit_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// params compares parameters by their encoded form.
var params = cmp.Comparer(func(a, b audit.Params) bool { return a.JSON() == b.JSON() })

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// full returns a record with a value in every field.
func full() audit.Record {
	r := audit.Record{
		EventID: audit.ID{1, 2, 3}, SharedEventID: audit.ID{4, 5}, Time: noon, Source: "ecr.amazonaws.com", Name: "BatchGetImage",
		Type: audit.TypeAPICall, Region: "eu-west-1", Account: "111122223333", SourceIP: "ecr.amazonaws.com", UserAgent: "ecr.amazonaws.com",
		RequestID: "0123-4567", ErrorCode: "AccessDenied", ErrorMessage: "User: \"x\"\tis not authorized", ReadOnly: true,
		Identity: audit.Identity{
			Type: audit.AssumedRole, PrincipalID: "AROA:session", ARN: "arn:aws:sts::444455556666:assumed-role/puller/session",
			Account:     "444455556666",
			AccessKeyID: "ASIAEXAMPLE", UserName: "who", InvokedBy: "ecr.amazonaws.com", IdentityProvider: "https://idp.example",
			Session: &audit.Session{
				Issuer: audit.Issuer{Type: "Role", PrincipalID: "AROA", ARN: "arn:aws:iam::444455556666:role/puller",
					Account: "444455556666", UserName: "puller"},
				CreatedAt: noon.Add(-time.Hour), MFA: true, FederatedProvider: "https://idp.example", SourceIdentity: "alice",
			},
		},
		Resources: []audit.Resource{
			{Account: "111122223333", ARN: "arn:aws:ecr:eu-west-1:111122223333:repository/team/app", Type: "AWS::ECR::Repository"},
			{Account: "111122223333", ARN: "arn:aws:ecr:eu-west-1:111122223333:repository/team/other"},
		},
	}
	var id audit.Params
	id.String("imageTag", "1.0")
	r.Request.String("repositoryName", "team/app")
	r.Request.Objects("imageIds", []audit.Params{id, {}})
	r.Request.Strings("acceptedMediaTypes", []string{"a/b", "c\nd"})
	r.Request.Int("maxResults", -7)
	r.Response.Object("image", id)
	r.Additional.Bool("mounted", true)
	r.Service.Int("lines", 1<<62)
	return r
}

const fullLine = `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA:session",` +
	`"arn":"arn:aws:sts::444455556666:assumed-role/puller/session","accountId":"444455556666","accessKeyId":"ASIAEXAMPLE","userName":"who",` +
	`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA","arn":"arn:aws:iam::444455556666:role/puller","accountId":"444455556666","userName":"puller"},` +
	`"webIdFederationData":{"federatedProvider":"https://idp.example","attributes":{}},"attributes":{"creationDate":"2026-01-02T11:00:00Z","mfaAuthenticated":"true"},` +
	`"sourceIdentity":"alice"},"invokedBy":"ecr.amazonaws.com","identityProvider":"https://idp.example"},` +
	`"eventTime":"2026-01-02T12:00:00Z","eventSource":"ecr.amazonaws.com","eventName":"BatchGetImage","awsRegion":"eu-west-1",` +
	`"sourceIPAddress":"ecr.amazonaws.com","userAgent":"ecr.amazonaws.com","errorCode":"AccessDenied","errorMessage":"User: \"x\"\u0009is not authorized",` +
	`"requestParameters":{"repositoryName":"team/app","imageIds":[{"imageTag":"1.0"},{}],"acceptedMediaTypes":["a/b","c\u000ad"],"maxResults":-7},` +
	`"responseElements":{"image":{"imageTag":"1.0"}},"additionalEventData":{"mounted":true},"requestID":"0123-4567",` +
	`"eventID":"01020300-0000-0000-0000-000000000000","readOnly":true,` +
	`"resources":[{"accountId":"111122223333","type":"AWS::ECR::Repository","ARN":"arn:aws:ecr:eu-west-1:111122223333:repository/team/app"},` +
	`{"accountId":"111122223333","ARN":"arn:aws:ecr:eu-west-1:111122223333:repository/team/other"}],` +
	`"eventType":"AwsApiCall","serviceEventDetails":{"lines":4611686018427387904},"managementEvent":true,"recipientAccountId":"111122223333",` +
	`"sharedEventID":"04050000-0000-0000-0000-000000000000","eventCategory":"Management"}`

const emptyLine = `{"eventVersion":"1.11","userIdentity":{"type":"Unknown"},"eventTime":"2026-01-02T12:00:00Z","eventSource":"","eventName":"",` +
	`"awsRegion":"","sourceIPAddress":"","userAgent":"","requestParameters":null,"responseElements":null,` +
	`"eventID":"00000000-0000-0000-0000-000000000000","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"","eventCategory":"Management"}`

func TestLine(t *testing.T) {
	t.Parallel()
	empty := audit.Record{Time: noon.In(time.FixedZone("", 3600)).Add(999 * time.Millisecond)}
	for _, c := range []struct {
		r      audit.Record
		want   string
		parsed audit.Record
	}{
		{full(), fullLine, full()},
		{empty, emptyLine, audit.Record{Time: noon, Type: audit.TypeAPICall, Identity: audit.Identity{Type: audit.Unknown}}},
	} {
		got := string(c.r.AppendJSON([]byte("before")))
		if d := cmp.Diff("before"+c.want, got); d != "" {
			t.Errorf("the line (-want +got):\n%s", d)
		}
		back, err := audit.Parse([]byte(c.want))
		if d := cmp.Diff(c.parsed, back, params); err != nil || d != "" {
			t.Errorf("Parse: %v (-want +got):\n%s", err, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "{", "null x", fullLine[:len(fullLine)-1], fullLine + "{", strings.Replace(fullLine, "01020300-", "0102030-0", 1),
		strings.Replace(fullLine, "01020300-0000-0000-0000-0", "01020300x0000-0000-0000-0", 1),
		strings.Replace(fullLine, "01020300-0000-0000-0000-0", "01020300-0000x0000-0000-0", 1),
		strings.Replace(fullLine, "01020300-0000-0000-0000-0", "01020300-0000-0000x0000-0", 1),
		strings.Replace(fullLine, "01020300-0000-0000-0000-0", "01020300-0000-0000-0000x0", 1),
		strings.Replace(fullLine, "01020300-", "1020300-", 1), strings.Replace(fullLine, "04050000-", "x4050000-", 1),
		strings.Replace(fullLine, "01020300-", "x1020300-", 1), strings.Replace(fullLine,
			`"responseElements":{"image":{"imageTag":"1.0"}}`, `"responseElements":[1]`, 1),
	} {
		if r, err := audit.Parse([]byte(text)); err == nil {
			t.Errorf("Parse(%.40q…): got %+v, want an error", text, r)
		}
	}
}

// An event has a line for each account that it concerns, each with its own id and all with one shared id. The
// lines are the same in each call.
func TestAppendLines(t *testing.T) {
	t.Parallel()
	r := audit.Record{EventID: audit.NewID(), Time: noon, Account: "999999999999"}
	for _, c := range []struct {
		accounts []string
		want     string
	}{
		{nil, "999999999999"},
		{[]string{""}, "999999999999"},
		{[]string{"111122223333"}, "111122223333"},
		{[]string{"111122223333", "111122223333", ""}, "111122223333"},
		{[]string{"", "111122223333", "444455556666"}, "111122223333 444455556666"},
		{[]string{"111122223333", "444455556666", "111122223333", "777788889999"}, "111122223333 444455556666 777788889999"},
	} {
		text := r.AppendLines(nil, c.accounts...)
		if again := r.AppendLines(nil, c.accounts...); string(again) != string(text) {
			t.Errorf("%q: two calls differ:\n%s%s", c.accounts, text, again)
		}
		var accounts []string
		ids, shared := map[audit.ID]bool{}, map[audit.ID]bool{}
		for line := range strings.Lines(string(text)) {
			one, err := audit.Parse([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			accounts = append(accounts, one.Account)
			ids[one.EventID], shared[one.SharedEventID] = true, true
		}
		if got := strings.Join(accounts, " "); got != c.want {
			t.Errorf("%q: got lines of %q, want %q", c.accounts, got, c.want)
		}
		if len(ids) != len(accounts) || len(shared) != 1 || shared[audit.ID{}] != (len(accounts) == 1) {
			t.Errorf("%q: event ids %v, shared ids %v; want one event id each, and a shared one for several", c.accounts, ids, shared)
		}
		for id := range shared {
			if ids[id] {
				t.Errorf("%q: the shared id is also an event id", c.accounts)
			}
		}
	}
}

// With any content of a request, a record stays one line of bounded length that can be parsed.
func TestBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\x00", 1<<20)
	r := audit.Record{
		Source: long, Name: long, Type: long, Region: long, Account: long, SourceIP: long, UserAgent: long, RequestID: long,
		ErrorCode: long, ErrorMessage: long,
		Identity: audit.Identity{
			Type: audit.IdentityType(long), PrincipalID: long, ARN: long, Account: long, AccessKeyID: long, UserName: long,
			InvokedBy: long, IdentityProvider: long,
			Session: &audit.Session{Issuer: audit.Issuer{Type: long, PrincipalID: long, ARN: long, Account: long, UserName: long},
				FederatedProvider: long, SourceIdentity: long},
		},
	}
	var list []string
	var objects []audit.Params
	for range 1000 {
		r.Resources = append(r.Resources, audit.Resource{Account: long, ARN: long, Type: long})
		list = append(list, "element")
		objects = append(objects, audit.Params{})
	}
	for _, p := range []*audit.Params{&r.Request, &r.Response, &r.Additional, &r.Service} {
		p.String("text", long)
		p.Strings("list", list)
		p.Objects("objects", objects)
		for range 10 {
			p.String("text", long)
		}
		p.Int("last", 1)
	}
	line := r.AppendJSON(nil)
	if len(line) > 512<<10 || strings.Contains(string(line), "\n") {
		t.Errorf("got a line of %d bytes, want one of at most 512 KiB", len(line))
	}
	back, err := audit.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := back.UserAgent, long[:1024]+"…"; got != want {
		t.Errorf("a long text: got %d bytes, want 1024 and the mark", len(got))
	}
	var p struct {
		List, Objects []any
		Last          int
		Omitted       bool
	}
	if err := json.Unmarshal([]byte(back.Request.JSON()), &p); err != nil || len(p.List) != 100 || len(p.Objects) != 100 ||
		!p.Omitted || p.Last != 1 {
		t.Errorf("parameters: got %d and %d elements, omitted %t, last %d, %v; want 100, 100, true and 1", len(p.List),
			len(p.Objects), p.Omitted, p.Last, err)
	}
	if n := len(back.Request.JSON()); n > 64<<10+20 {
		t.Errorf("parameters have %d bytes, want at most 64 KiB", n)
	}
}

// A long parameter, such as a manifest or a policy, is cut, with its length and digest.
func TestLongParameterIsCutWithItsDigest(t *testing.T) {
	t.Parallel()
	long, short := strings.Repeat("é", 1000), strings.Repeat("x", 1024)
	var p audit.Params
	p.String("one", long)
	p.String("short", short)
	p.Strings("list", []string{long})
	want := fmt.Sprintf("%s… (2000 bytes, sha256:%x)", strings.Repeat("é", 256), sha256.Sum256([]byte(long)))
	var got struct {
		One, Short string
		List       []string
	}
	if err := json.Unmarshal([]byte(p.JSON()), &got); err != nil || got.One != want || got.Short != short || got.List[0] != want {
		t.Errorf("got %+v, %v, want %q and all of the short one", got, err, want)
	}
	d := p.Digest()
	if want := fmt.Sprintf(`{"bytes":%d,"sha256":"%x","omitted":true}`, len(p.JSON()), sha256.Sum256([]byte(p.JSON()))); d.JSON() != want {
		t.Errorf("the digest is %s, want %s", d.JSON(), want)
	}
}

// Clip counts the bytes of a text as it is written, with escapes, and cuts between characters.
func TestClip(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", strings.Repeat("x", 5000), strings.Repeat("é", 5000), strings.Repeat("\xff", 5000),
		strings.Repeat("\u202e", 99), "x" + strings.Repeat("😀", 99)} {
		got := audit.Clip(text, 100)
		r := audit.Record{UserAgent: got}
		line := string(r.AppendJSON(nil))
		_, value, _ := strings.Cut(line, `"userAgent":"`)
		value, _, _ = strings.Cut(value, `"`)
		whole := len(text) <= 100 && got == text
		if len(value) > 100 || !whole && (!strings.HasSuffix(got, "…") || !strings.HasPrefix(text, strings.TrimSuffix(got, "…"))) {
			t.Errorf("Clip of %.20q…: got %q, %d bytes in the line, want at most 100 of its beginning", text, got, len(value))
		}
		if !whole && len(value) < 80 || utf8.ValidString(text) != utf8.ValidString(got) {
			t.Errorf("Clip of %.20q…: got %q, %d bytes in the line, want at least 80, and whole characters", text, got, len(value))
		}
	}
}

// A text is cut at the boundary between two characters.
func TestCutsBetweenCharacters(t *testing.T) {
	t.Parallel()
	for pad := range 5 {
		r := audit.Record{UserAgent: strings.Repeat("x", pad) + strings.Repeat("😀", 500)}
		back, err := audit.Parse(r.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		body, marked := strings.CutSuffix(back.UserAgent, "…")
		if !marked || len(body) > 1024 || len(body) <= 1020 || strings.Contains(body, "\ufffd") {
			t.Errorf("after %d: got %d bytes that end with %q, want up to 1024 of whole characters", pad, len(body),
				back.UserAgent[len(back.UserAgent)-8:])
		}
	}
}

// Characters that would change the display of a terminal are escaped.
func TestNothingHidden(t *testing.T) {
	t.Parallel()
	const bad = "\x1b[2J\u009b2J\u202eabc\u2066\u2028\x7f\u200b\ufeff"
	r := audit.Record{UserAgent: bad}
	raw, err := json.Marshal(bad + "é")
	if err != nil {
		t.Fatal(err)
	}
	r.Additional.Raw("raw", raw)
	line := string(r.AppendJSON(nil))
	if i := strings.IndexFunc(line, func(c rune) bool { return strings.ContainsRune(bad, c) && c > 'z' || c < ' ' }); i >= 0 {
		t.Errorf("the line has %q", line[i:i+4])
	}
	back, err := audit.Parse([]byte(line))
	if err != nil || back.UserAgent != bad {
		t.Errorf("back: got %q, %v, want %q", back.UserAgent, err, bad)
	}
	var members map[string]string
	if err := json.Unmarshal([]byte(back.Additional.JSON()), &members); err != nil || members["raw"] != bad+"é" {
		t.Errorf("the raw value: got %q, %v, want %q", members["raw"], err, bad+"é")
	}
}

// The escaped characters are whole ranges; their neighbours are written as they are.
func TestRangesOfEscapedCharacters(t *testing.T) {
	t.Parallel()
	for c, escaped := range map[rune]bool{
		0x1f: true, ' ': false, '~': false, 0x7f: true, 0x80: true, 0x9f: true, 0xa0: false, 0x200a: false, 0x200b: true, 0x200f: true,
		0x2010: false, 0x2027: false, 0x2028: true, 0x202e: true, 0x202f: false, 0x205f: false, 0x2060: true, 0x206f: true, 0x2070: false,
		0xfefe: false, 0xfeff: true, 0xff00: false,
	} {
		r := audit.Record{UserAgent: "<" + string(c) + ">"}
		want := "<" + string(c) + ">"
		if escaped {
			want = fmt.Sprintf(`<\u%04x>`, c)
		}
		r.Additional.Raw("raw", []byte(`"<`+string(c)+`>"`))
		line := string(r.AppendJSON(nil))
		if !strings.Contains(line, `"userAgent":"`+want+`"`) {
			t.Errorf("U+%04X: got the line %s, want %s", c, line, want)
		}
		if c >= ' ' && !strings.Contains(line, `"raw":"`+want+`"`) { // below, JSON has no such character in a text
			t.Errorf("U+%04X in a raw value: got the line %s, want %s", c, line, want)
		}
	}
}

// The length of a line that a record reports is that of its lines for two accounts.
func TestLineLenIsThatOfALineOfTwo(t *testing.T) {
	t.Parallel()
	for _, r := range []audit.Record{full(), {Time: noon, EventID: audit.NewID()}} {
		r.SharedEventID = audit.ID{}
		for line := range strings.Lines(string(r.AppendLines(nil, "111122223333", "444455556666"))) {
			if got := r.LineLen(); got != len(line) {
				t.Errorf("got the length %d, want %d of %s", got, len(line), line)
			}
		}
	}
}

// FuzzText compares with encoding/json: any text, encoded and decoded, has the same value as there.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\/\b\f\n\r\t", "\xff\xc0\x80\xed\xa0\x80", "é😀\u2028\x7f\u0085", "<>&",
		"\\\"", `a\`, "\xe2\x80"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, s string) {
		if len(s) > 1024 || len(name) > 64 {
			t.Skip("beyond the limits, which other tests cover")
		}
		r := audit.Record{EventID: audit.ID{1}, Time: noon, Name: s, RequestID: s, Account: name,
			Identity: audit.Identity{Type: audit.Root, ARN: s}}
		r.Request.String(name, s)
		r.Request.Strings("list", []string{s, name})
		back, err := audit.Parse(r.AppendJSON(nil))
		if err != nil {
			t.Fatalf("%q, %q: %v", name, s, err)
		}
		standard := func(s string) (out string) {
			text, err := json.Marshal(s)
			if err == nil {
				err = json.Unmarshal(text, &out)
			}
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		want := standard(s)
		for what, got := range map[string]string{"eventName": back.Name, "requestID": back.RequestID, "arn": back.Identity.ARN} {
			if got != want {
				t.Errorf("%s of %q: got %q, want %q", what, s, got, want)
			}
		}
		var p map[string]any
		if err := json.Unmarshal([]byte(back.Request.JSON()), &p); err != nil {
			t.Fatal(err)
		}
		if name != "list" {
			if d := cmp.Diff(map[string]any{standard(name): want, "list": []any{want, standard(name)}}, p); d != "" && standard(name) != "list" {
				t.Errorf("parameters of %q, %q (-want +got):\n%s", name, s, d)
			}
		}
	})
}

func TestNewID(t *testing.T) {
	t.Parallel()
	seen := map[audit.ID]bool{}
	for range 100 {
		id := audit.NewID()
		if s := id.String(); seen[id] || len(s) != 36 || s[14] != '4' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("got %s, want a new UUID of version 4", s)
		}
		seen[id] = true
	}
}

// BenchmarkRecord measures filling and encoding a record, the cost of a line per request.
func BenchmarkRecord(b *testing.B) {
	dst := make([]byte, 0, 4096)
	session := full().Identity.Session
	b.ReportAllocs()
	for b.Loop() {
		r := audit.Record{
			EventID: audit.NewID(), Time: noon, Source: "ecr.amazonaws.com", Name: "BatchGetImage", Region: "eu-west-1",
			SourceIP: "ecr.amazonaws.com", UserAgent: "docker/27.0 go/go1.22 kernel/6.1 os/linux arch/amd64",
			RequestID: "0b0f2f0e-6a45-4c6c-9a2e-1fd2b37b5e1c", ReadOnly: true,
			Identity: audit.Identity{Type: audit.AssumedRole, PrincipalID: "AROA:session",
				ARN: "arn:aws:sts::444455556666:assumed-role/puller/session", Account: "444455556666", AccessKeyID: "ASIAEXAMPLE", Session: session},
		}
		r.Request.String("repositoryName", "team/app")
		r.Request.String("registryId", "111122223333")
		r.Request.String("imageDigest", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
		dst = r.AppendLines(dst[:0], "111122223333")
	}
	b.ReportMetric(float64(len(dst)), "bytes/line")
}
