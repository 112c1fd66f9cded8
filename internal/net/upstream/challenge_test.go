package upstream

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// Bearer finds the Bearer challenge among others, and values that have commas.
func TestBearer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		`Basic realm="x", bearer realm="https://a.test/t?x=1,2",Service="s",scope="repository:a:pull,push"`: {
			"realm": "https://a.test/t?x=1,2", "service": "s", "scope": "repository:a:pull,push"},
		`Basic realm="Bearer x=y"`: nil, `Bearer`: {}, ``: nil,
	} {
		if got := Bearer(http.Header{"Www-Authenticate": {text}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestParseChallenges(t *testing.T) {
	t.Parallel()
	p := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		values []string
		want   []challenge
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"Basic"}, []challenge{{"Basic", nil}}},
		{[]string{`Basic realm="a, b=c"`}, []challenge{{"Basic", p("realm", "a, b=c")}}},
		{[]string{`Bearer Realm = "https://a/" , service=b,scope="repository:a:pull,push repository:b:pull"`},
			[]challenge{{"Bearer", p("realm", "https://a/", "service", "b", "scope", "repository:a:pull,push repository:b:pull")}}},
		{[]string{`Basic realm="a", Bearer realm="b\"\\c",x=y`, "Negotiate"},
			[]challenge{{"Basic", p("realm", "a")}, {"Bearer", p("realm", `b"\c`, "x", "y")}, {"Negotiate", nil}}},
		{[]string{`Bearer realm="a",realm="b"`}, []challenge{{"Bearer", p("realm", "a")}}}, // the first is used
		{[]string{`Bearer realm="a`}, []challenge{{"Bearer", nil}}},
		{[]string{`Bearer realm="a\`}, []challenge{{"Bearer", nil}}},
		{[]string{`Bearer realm=`, `Basic x=y`}, []challenge{{"Bearer", nil}, {"Basic", p("x", "y")}}},
		{[]string{`"x"`, "\x00"}, nil},
	} {
		if got := parseChallenges(c.values); !reflect.DeepEqual(got, c.want) {
			t.Errorf("parseChallenges(%q): got %v, want %v", c.values, got, c.want)
		}
	}
	many := strings.Repeat("Basic realm=x, ", 100)
	if got := len(parseChallenges([]string{many, many})); got != maxChallenges {
		t.Errorf("%d challenges: got %d, want %d", 200, got, maxChallenges)
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/token",service="b"`)
	f.Add(`Basic realm="a", Bearer realm="b\"c"`)
	f.Fuzz(func(t *testing.T, text string) {
		all := parseChallenges([]string{text})
		if len(all) > maxChallenges {
			t.Fatalf("got %d challenges, want at most %d", len(all), maxChallenges)
		}
		for _, c := range all {
			if c.scheme == "" || len(c.params) > maxParams {
				t.Fatalf("got the challenge %v of %q", c, text)
			}
		}
	})
}
