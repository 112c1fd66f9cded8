package credential_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"registry.example.com":                                   "registry.example.com",
		"Registry.Example.com:5100":                              "registry.example.com:5100",
		"https://registry.example.com:443/v2/":                   "registry.example.com",
		"http://localhost:5100":                                  "localhost:5100",
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/a:v1": "111122223333.dkr.ecr.eu-west-1.amazonaws.com",
		"https://index.docker.io/v1/":                            "index.docker.io",
		"[::1]:5100":                                             "[::1]:5100",
		" 127.0.0.1:80\n":                                        "127.0.0.1:80",
		"":                                                       "", "https://": "", "a b": "", "host:": "", "host:0": "",
		"host:65536": "", "host:x": "",
		"-a":        "",
		"user@host": "", "host:080": "", "a..b": "", strings.Repeat("a", 300): "", "[::1%eth0]:1": "", "::1": "",
	} {
		got, err := credential.ParseHost(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseHost(%q): got %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestMatchHost: the rule of the kubelet for matchImages.
func TestMatchHost(t *testing.T) {
	t.Parallel()
	const image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"*.dkr.ecr.*.amazonaws.com", image, true},
		{"*.dkr.ecr.eu-*.amazonaws.com", image, true},
		{"*.amazonaws.com", image, false},
		{"*.dkr.ecr.*.amazonaws.com.cn", image, false},
		{"registry.example.com", "registry.example.com:5100", false},
		{"registry.example.com:5100", "registry.example.com:5100", true},
		{"*.example.com:5100", "registry.example.com:5101", false},
		{"*", "localhost", true},
		{"*", "a.b", false},
	} {
		if got := credential.MatchHost(c.pattern, c.host); got != c.want {
			t.Errorf("MatchHost(%q, %q): got %t, want %t", c.pattern, c.host, got, c.want)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, text := range []string{"https://a.b:5100/x", "[::1]:1", "a..b", "*.dkr.ecr.*.amazonaws.com"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		host, err := credential.ParseHost(text)
		if err != nil {
			return
		}
		again, err := credential.ParseHost(host)
		if err != nil || again != host {
			t.Errorf("ParseHost(%q) gives %q, and that gives %q, %v", text, host, again, err)
		}
		credential.MatchHost(pattern, host)
		if !strings.ContainsAny(host, "[]") && !credential.MatchHost(host, host) {
			t.Errorf("%q does not match itself", host)
		}
	})
}
