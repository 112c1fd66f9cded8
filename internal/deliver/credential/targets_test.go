package credential_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	one := credential.Credential{Host: "a-b.c:5100", Username: "AWS", Password: secret.New("x"),
		ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	two := credential.Credential{Host: "d.e", Username: "AWS", Password: secret.New("y")}
	for _, c := range []struct {
		format string
		all    []credential.Credential
		want   string
	}{
		{"user-pass", []credential.Credential{one}, "AWS:x\n"},
		{"password", []credential.Credential{one}, "x\n"},
		{"json", []credential.Credential{one},
			"{\n  \"host\": \"a-b.c:5100\",\n  \"username\": \"AWS\",\n  \"password\": \"x\",\n  \"expiresAt\": \"2026-01-02T03:04:05Z\"\n}\n"},
		{"dockerconfigjson", []credential.Credential{one, two},
			"{\n\t\"auths\": {\n\t\t\"a-b.c:5100\": {\n\t\t\t\"auth\": \"QVdTOng=\"\n\t\t},\n\t\t\"d.e\": {\n\t\t\t\"auth\": \"QVdTOnk=\"\n\t\t}\n\t}\n}\n"},
		{"github-actions", []credential.Credential{one}, "registry=a-b.c:5100\ndocker_username_a_b_c_5100=AWS\ndocker_password_a_b_c_5100=x\n"},
		{"user-pass", []credential.Credential{one, two}, ""},
		{"xml", []credential.Credential{one}, ""},
	} {
		got, err := credential.Format(c.format, c.all)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", c.format, got, err, c.want)
		}
	}
}

// TestMergeDockerConfig: what is not the registry's stays, and its other spellings go.
func TestMergeDockerConfig(t *testing.T) {
	t.Parallel()
	before := `{"credsStore":"x","auths":{"ghcr.io":{"auth":"Zzz","email":"a<b"},"https://A.b/v1/":{"auth":"old"},"a.b":{"identitytoken":"i"}},"other":{"z":[1.50,9007199254740993]}}`
	one := credential.Credential{Host: "a.b", Username: "AWS", Password: secret.New("x")}
	got, err := credential.MergeDockerConfig([]byte(before), []credential.Credential{one}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var flat strings.Builder
	for line := range strings.Lines(string(got)) {
		flat.WriteString(strings.TrimSpace(line))
	}
	want := `{"auths": {"a.b": {"auth": "QVdTOng="},"ghcr.io": {"auth": "Zzz","email": "a<b"}},"credsStore": "x","other": {"z": [1.50,9007199254740993]}}`
	if flat.String() != want {
		t.Errorf("got %s, want %s", flat.String(), want)
	}
	for _, bad := range []string{"x", "[]", "null", `{"auths":[]}`, `{"auths":"x"}`, strings.Repeat(" ", 5<<20)} {
		if _, err := credential.MergeDockerConfig([]byte(bad), nil, nil); err == nil {
			t.Errorf("%.40s: got no error", bad)
		}
	}
}

// What is right already stays byte by byte, in both forms, so that a pull secret is not written again; a host that is taken out goes in
// every spelling; and errors have nothing of a text that may be a secret.
func TestMergeDockerConfigAgain(t *testing.T) {
	t.Parallel()
	one := []credential.Credential{{Host: "a.b", Username: "AWS", Password: secret.New("x")}}
	for _, same := range []string{`{"auths": {"a.b":{"auth":"QVdTOng="}}}`,
		`{"auths":{"a.b":{"username":"AWS","password":"x","auth":"QVdTOng="},"c:1":{}}}`} {
		if got, err := credential.MergeDockerConfig([]byte(same), one, []string{"gone"}); err != nil || string(got) != same {
			t.Errorf("got %s and %v, want the same as %s", got, err, same)
		}
	}
	const had = `{"auths":{"https://gone:5/v1/":{"auth":"x"},"gone:5":{"auth":"x"},"a.b":{"auth":"QVdTOng=","identitytoken":"i"}}}`
	got, err := credential.MergeDockerConfig([]byte(had), one, []string{"gone:5"})
	if hosts, hostsErr := credential.DockerConfigHosts(got); err != nil || hostsErr != nil || strings.Join(hosts, " ") != "a.b" ||
		strings.Contains(string(got), "identitytoken") {
		t.Errorf("got %s, %v and the hosts %q, %v; want a.b without a token that would be preferred", got, err, hosts, hostsErr)
	}
	if _, err := credential.DockerConfigHosts([]byte(`Secret`)); !errors.Is(err, credential.ErrNotDockerConfig) ||
		strings.Contains(err.Error(), "Secret") {
		t.Errorf("got %v, want an error without the text", err)
	}
}

func FuzzDockerConfig(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://a.b/v1/":{"auth":"x"},"c":null},"credHelpers":{"a.b":"y"}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		one := []credential.Credential{{Host: "a.b", Username: "AWS", Password: secret.New("x")}}
		got, err := credential.MergeDockerConfig(content, one, nil)
		if err != nil {
			return
		}
		again, err := credential.MergeDockerConfig(got, one, nil)
		if err != nil || string(again) != string(got) {
			t.Errorf("a second merge gives %q, %v, want %q", again, err, got)
		}
	})
}

// TestDockerFile: the file keeps its mode and its link, and a broken one is not touched.
func TestDockerFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	err := os.WriteFile(path, []byte(`{"credHelpers":{"a.b":"ecr-login"}}`), 0o640)
	if err = errors.Join(err, os.Symlink("real.json", link)); err != nil {
		t.Fatal(err)
	}
	said := ""
	d := &credential.DockerFile{Path: link, Log: func(format string, _ ...any) { said += format }}
	all := []credential.Credential{{Host: "a.b", Username: "AWS", Password: secret.New("x")}}
	if err := d.Deliver(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("got the mode %v, %v, want 0640", info.Mode(), err)
	}
	if to, err := os.Readlink(link); err != nil || to != "real.json" {
		t.Errorf("got %q, %v, want the link", to, err)
	}
	if !strings.Contains(said, "names a credential helper") {
		t.Errorf("got the log %q, want a word about the helper", said)
	}
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Deliver(t.Context(), all); err == nil {
		t.Error("a broken file: got no error")
	}
	if got, _ := os.ReadFile(path); string(got) != "broken" {
		t.Errorf("a broken file was changed to %q", got)
	}
}

// TestRefresherWeek: for seven days in which one of a hundred calls fails, and the API is away for 30 minutes a day, the target always
// has a credential that lives, and one that the registry refuses never gets there.
func TestRefresherWeek(t *testing.T) {
	t.Parallel()
	at := newClock()
	start := at.now()
	s := &issuer{clock: at, life: 12 * time.Hour}
	path := filepath.Join(t.TempDir(), "config.json")
	file := &credential.DockerFile{Path: path}
	current, delivered, calls := map[string]credential.Credential{}, 0, 0
	ctx, stop := context.WithCancel(t.Context())
	r := &credential.Refresher{Hosts: []string{"a.b", "c.d", "broken.host"}, Now: at.now, Jitter: func() float64 { return 0.5 },
		Log: func(string, ...any) {},
		Source: sourceFunc(func(ctx context.Context, host string) (credential.Credential, error) {
			calls++
			into := at.now().Sub(start) % (24 * time.Hour)
			if host == "broken.host" || calls%100 == 0 || into > 5*time.Hour && into < 5*time.Hour+30*time.Minute {
				return credential.Credential{}, errors.New("the API is away")
			}
			return s.Credential(ctx, host)
		}),
		Verify: func(_ context.Context, c credential.Credential) error {
			if calls%10 == 3 {
				return errors.New("the registry refuses it")
			}
			return nil
		},
		Deliver: func(ctx context.Context, all []credential.Credential) error {
			for _, c := range all {
				current[c.Host] = c
			}
			delivered += len(all)
			return file.Deliver(ctx, all)
		},
		Wait: func(ctx context.Context, d time.Duration) error {
			at.move(d)
			for _, host := range []string{"a.b", "c.d"} {
				if c := current[host]; c.Ended(at.now()) {
					t.Errorf("after %s the credential of %s has ended", at.now().Sub(start), host)
					stop()
				}
			}
			if at.now().Sub(start) > 7*24*time.Hour {
				stop()
			}
			return ctx.Err()
		},
	}
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	if delivered < 2*28 || delivered > 2*40 {
		t.Errorf("got %d deliveries in 7 days for two hosts, want about 30 for each", delivered)
	}
	content, err := os.ReadFile(path)
	var got struct {
		Auths map[string]struct{ Auth string }
	}
	if err = errors.Join(err, json.Unmarshal(content, &got)); err != nil || len(got.Auths) != 2 ||
		got.Auths["a.b"].Auth != current["a.b"].Auth().Reveal() {
		t.Errorf("the file has %s (%v), want the two hosts with their last credentials", content, err)
	}
}

type sourceFunc func(ctx context.Context, host string) (credential.Credential, error)

func (f sourceFunc) Credential(ctx context.Context, host string) (credential.Credential, error) {
	return f(ctx, host)
}

// TestHostFiles: containerd and k3s get the registry, its mirrors first, and the authority.
func TestHostFiles(t *testing.T) {
	t.Parallel()
	h := credential.HostFile{Host: "a.b:5100", Mirrors: []string{"https://m.b", "http://localhost:5000"}, CA: `/etc/"x"/ca.pem`}
	text, err := h.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Server string
		Host   map[string]struct {
			Capabilities []string
			CA           string
		}
	}
	if _, err := toml.Decode(string(text), &got); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if got.Server != "https://a.b:5100" || len(got.Host) != 3 || got.Host["https://m.b"].CA != h.CA ||
		got.Host["http://localhost:5000"].CA != "" ||
		len(got.Host["https://m.b"].Capabilities) != 2 || len(got.Host["https://a.b:5100"].Capabilities) != 3 {
		t.Errorf("got %+v", got)
	}
	yaml, err := credential.K3s([]credential.HostFile{h})
	const want = `mirrors:
    a.b:5100:
        endpoint:
            - https://m.b
            - http://localhost:5000
            - https://a.b:5100
configs:
    a.b:5100:
        tls:
            ca_file: /etc/"x"/ca.pem
    m.b:
        tls:
            ca_file: /etc/"x"/ca.pem
`
	if err != nil || string(yaml) != want {
		t.Errorf("got %s, %v, want %s", yaml, err, want)
	}
	for _, bad := range []string{"m.b", "ftp://m.b", "https://u@m.b", "https://m.b?x", "https://"} {
		if _, err := (credential.HostFile{Host: "a.b", Mirrors: []string{bad}}).Containerd(); err == nil {
			t.Errorf("the mirror %q: got no error", bad)
		}
	}
}

// What docker and the kubelet take from a configuration of docker for a registry: by the key, by another spelling of it, and of the kubelet
// by a pattern or a path.
func TestLoginsOfADockerConfig(t *testing.T) {
	t.Parallel()
	auth := func(user string) string { return base64.StdEncoding.EncodeToString([]byte(user + ":p")) }
	content := fmt.Appendf(nil, `{"auths":{"a.test":{"auth":%q},"https://a.test/v1/":{"auth":%q},"http://b.test:5100/v2/":{"username":"b",
"password":"p"},"empty.test":{},"https://empty.test":{"auth":%q},"broken.test":{"auth":"!"},"number.test":7,"a.test/team":{"auth":%q},
"a.test/team/app":{"auth":%q},"*.dkr.ecr.*.amazonaws.com":{"auth":%q},"unpadded.test":{"auth":%q},"zero.test":{"auth":%q}}}`,
		auth("a"), auth("v1"), auth("e"), auth("team"), auth("app"), auth("AWS"), strings.TrimRight(auth("xy"), "="),
		base64.StdEncoding.EncodeToString([]byte("z:p\x00\x00")))
	for host, want := range map[string]string{"a.test": "a", "b.test:5100": "b", "b.test": "", "empty.test": "e", "broken.test": "",
		"number.test": "", "other.test": "", "000000000000.dkr.ecr.us-east-1.amazonaws.com": "", "unpadded.test": "xy", "zero.test": "z"} {
		c, ok := credential.DockerLogin(content, host)
		if c.Username != want || ok != (want != "") || ok && c.Password.Reveal() != "p" {
			t.Errorf("docker, %s: got %q, %t, want %q", host, c.Username, ok, want)
		}
	}
	for of, want := range map[string]string{"a.test/team/app": "app team a v1", "a.test/team/other": "team a v1", "a.test/x": "a v1",
		"b.test:5100/x": "b", "b.test/x": "", "empty.test/x": "e", "000000000000.dkr.ecr.us-east-1.amazonaws.com/x": "AWS",
		"dkr.ecr.us-east-1.amazonaws.com/x": "", "unpadded.test/x": "xy"} {
		host, repository, _ := strings.Cut(of, "/")
		var users []string
		for _, c := range credential.KubeletLogins(content, host, repository) {
			users = append(users, c.Username)
		}
		if got := strings.Join(users, " "); got != want {
			t.Errorf("the kubelet, %s: got %q, want %q", of, got, want)
		}
	}
	if all := credential.KubeletLogins([]byte("[]"), "a.test", "x"); all != nil {
		t.Errorf("no configuration: got %+v, want none", all)
	}
}
