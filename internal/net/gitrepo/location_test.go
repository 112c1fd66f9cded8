package gitrepo_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
)

func TestParseLocation(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]gitrepo.Location{
		"https://git.example.com/team/config.git": {Scheme: "https",
			Host: "git.example.com", Path: "/team/config.git", Branch: "main"},
		"https://h:8443/c.git/sub/dir?ref=rel/1": {Scheme: "https",
			Host: "h", Port: "8443", Path: "/c.git", Folder: "sub/dir", Branch: "rel/1"},
		"https://h/c.git/?ref=x": {Scheme: "https",
			Host: "h", Path: "/c.git", Branch: "x"},
		"https://h/team/config": {Scheme: "https",
			Host: "h", Path: "/team/config", Branch: "main"},
		"git@h:team/c.git/sub?ref=dev": {Scheme: "ssh",
			User: "git", Host: "h", Path: "team/c.git", Folder: "sub", Branch: "dev"},
		"ssh://me@h:2222/srv/c.git": {Scheme: "ssh",
			User: "me", Host: "h", Port: "2222", Path: "/srv/c.git", Branch: "main"},
		"ssh://h/srv/c.git": {Scheme: "ssh",
			User: "git", Host: "h", Path: "/srv/c.git", Branch: "main"},
		"file:///srv/git/c.git/a": {Scheme: "file",
			Path: "/srv/git/c.git", Folder: "a", Branch: "main"},
		"https://h/a.gitlab/c.git": {Scheme: "https",
			Host: "h", Path: "/a.gitlab/c.git", Branch: "main"},
		"https://h/" + strings.Repeat("a", 200) + ".git?ref=m": {Scheme: "https",
			Host: "h", Path: "/" + strings.Repeat("a", 200) + ".git", Branch: "m"},
	} {
		got, err := gitrepo.ParseLocation(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v and %v, want %+v", text, got, err, want)
		}
		if again, err := gitrepo.ParseLocation(got.String()); err == nil && got.Path[0] == '/' && again != got {
			t.Errorf("%s: its long form %s is %+v", text, got, again)
		}
	}
	for _, text := range []string{"", "x", "http://h/c.git", "git://h/c.git", "https://u@h/c.git", "https://u:p@h/c.git", "https:///c.git",
		"https://h/", "https://h", "https://h:0/c.git", "https://h:99999/c.git", "ssh://u:p@h/c.git", "file://h/c.git", "file://relative",
		"file:///srv/../etc/c.git", "/srv/c.git", "https://h/c.git?ref=-x", "https://h/c.git?ref=a..b", "https://h/c.git?ref=a.lock",
		"https://h/c.git?ref=a&ref=b", "https://h/c.git?x=y", "https://h/c.git?ref=@{1}", "https://h/c.git/../x", "https://h/c.git/.git/hooks",
		"https://h/c.git/a//b", "https://h/c.git#x", "git@h:-oProxyCommand=x", "git@h:a'b.git", "git@h:a b.git", "git@-h:c.git:x",
		"-oX@h:c.git", "ssh://git@h/c'.git", "file:///srv/c.git/.GIT/x", "https://h/" + strings.Repeat("a", 600) + ".git", "ssh://-x@h/c.git"} {
		if got, err := gitrepo.ParseLocation(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	f.Add("https://h/c.git/a?ref=b")
	f.Add("git@h:c.git")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := gitrepo.ParseLocation(text)
		if err != nil {
			return
		}
		if !gitrepo.IsBranch(l.Branch) || l.Folder != "" && !gitrepo.IsPath(l.Folder) || strings.ContainsAny(l.Path, "'\"\\ \n") ||
			strings.HasPrefix(l.Path, "-") || l.Scheme != gitrepo.Local && l.Host == "" {
			t.Errorf("%q: got %+v", text, l)
		}
	})
}
