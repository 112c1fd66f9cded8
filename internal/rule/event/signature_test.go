package event_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

var (
	oldSecret = secret.New("the old secret of the webhook")
	newSecret = secret.New("the new secret of the webhook")
	sent      = time.Unix(1_767_352_345, 0)
)

func sign(t testing.TB, body string, secrets ...secret.String) string {
	t.Helper()
	header, err := event.Sign([]byte(body), sent, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// TestSignature has a value that was computed with openssl dgst -sha256 -hmac.
func TestSignature(t *testing.T) {
	t.Parallel()
	const want = "t=1767352345,v1=f004d4dd354b58f3b944c0be5fe436980bbe50938f41d9889c4a49cf66527fdd"
	if got := sign(t, `{"version":"0"}`, oldSecret); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	both := sign(t, `{"version":"0"}`, newSecret, oldSecret)
	if !strings.HasSuffix(both, want[len("t=1767352345"):]) || strings.Count(both, ",v1=") != 2 {
		t.Errorf("got %s, want two signatures, of which the second ends %s", both, want)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const body = `{"version":"0"}`
	good, both := sign(t, body, oldSecret), sign(t, body, newSecret, oldSecret)
	v1 := good[strings.Index(good, ",v1="):]
	for what, c := range map[string]struct {
		header string
		body   string
		now    time.Time
		want   error
	}{
		"good":                        {good, body, sent, nil},
		"at the end of the tolerance": {good, body, sent.Add(5 * time.Minute), nil},
		"clock behind":                {good, body, sent.Add(-5 * time.Minute), nil},
		"replayed later":              {good, body, sent.Add(5*time.Minute + time.Second), fault.SignatureMismatch},
		"clock far behind":            {good, body, sent.Add(-5*time.Minute - time.Second), fault.SignatureMismatch},
		"rotation, old secret second": {both, body, sent, nil},
		"unknown members":             {"v0=x, " + good + ",v2=y,z", body, sent, nil},
		"upper case":                  {"t=1767352345,v1=" + strings.ToUpper(v1[4:]), body, sent, nil},
		"other body":                  {good, body + " ", sent, fault.SignatureMismatch},
		"other time":                  {"t=1767352346" + v1, body, sent, fault.SignatureMismatch},
		"time with a leading zero":    {"t=01767352345" + v1, body, sent, fault.SignatureMismatch},
		"other secret":                {sign(t, body, newSecret), body, sent, fault.SignatureMismatch},
		"no header":                   {"", body, sent, fault.MissingCredentials},
		"no time":                     {v1[1:], body, sent, fault.IncompleteSignature},
		"two times":                   {"t=1," + good, body, sent, fault.IncompleteSignature},
		"negative time":               {"t=-1" + v1, body, sent, fault.IncompleteSignature},
		"long time":                   {"t=" + strings.Repeat("9", 19) + v1, body, sent, fault.IncompleteSignature},
		"no signature":                {"t=1767352345", body, sent, fault.IncompleteSignature},
		"short signature":             {good[:len(good)-2], body, sent, fault.IncompleteSignature},
		"not hexadecimal":             {good[:len(good)-1] + "g", body, sent, fault.IncompleteSignature},
		"nine signatures":             {"t=1767352345" + strings.Repeat(v1, 9), body, sent, fault.IncompleteSignature},
		"eight signatures":            {"t=1767352345" + strings.Repeat(v1, 8), body, sent, nil},
		"long header":                 {good + "," + strings.Repeat("x", 1024), body, sent, fault.IncompleteSignature},
	} {
		err := event.Verify(c.header, []byte(c.body), c.now, event.SignatureTolerance, oldSecret)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
}

// TestUnusableSecrets: a secret that somebody could guess does not sign, and verifies nothing.
func TestUnusableSecrets(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]secret.String{
		nil, {secret.New("")}, {secret.New("15 bytes long..")}, {oldSecret, secret.String{}}, make([]secret.String, 9),
	} {
		if header, err := event.Sign(nil, sent, secrets...); err == nil {
			t.Errorf("%d secrets: got %s, want an error", len(secrets), header)
		}
		if err := event.Verify(sign(t, "", oldSecret), nil, sent, time.Minute, secrets...); err == nil {
			t.Errorf("%d secrets: got no error of Verify, want one", len(secrets))
		}
	}
}

// TestSignaturesVerify: what one side signs with any of its secrets, the other verifies if it has one of them.
func TestSignaturesVerify(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := []secret.String{}
		for i := range 5 {
			secrets = append(secrets, secret.New(fmt.Sprintf("secret number %d ....", i)))
		}
		mine := rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 1, 4, rapid.ID).Draw(t, "sender")
		theirs := rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 1, 4, rapid.ID).Draw(t, "receiver")
		var with, by []secret.String
		want := false
		for _, i := range mine {
			with = append(with, secrets[i])
			for _, j := range theirs {
				want = want || i == j
			}
		}
		for _, j := range theirs {
			by = append(by, secrets[j])
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0)
		header, err := event.Sign(body, at, with...)
		if err != nil {
			t.Fatal(err)
		}
		if err := event.Verify(header, body, at, 0, by...); (err == nil) != want {
			t.Fatalf("signed with %v, verified with %v: got %v, want success %t", mine, theirs, err, want)
		}
	})
}

func FuzzVerify(f *testing.F) {
	good := sign(f, "body", oldSecret)
	f.Add(good, "body")
	f.Add("t=1,v1=00", "")
	f.Add("t=,v1=,,=", "x")
	f.Fuzz(func(t *testing.T, header, body string) {
		err := event.Verify(header, []byte(body), sent, event.SignatureTolerance, oldSecret)
		if err == nil && (body != "body" || !strings.Contains(strings.ToLower(header), good[len("t=1767352345,"):])) {
			t.Errorf("header %q verifies for body %q", header, body)
		}
		if err != nil && fault.From(err).Code == fault.Internal {
			t.Errorf("header %q: got the error %v without a code", header, err)
		}
	})
}
