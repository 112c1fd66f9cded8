package gitrepo

import (
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// The schemes of locations.
const (
	HTTPS = "https"
	SSH   = "ssh"
	Local = "file" // a bare repository of the machine of the server
)

// Location says where files are kept: a repository, a branch of it, and a folder of its tree.
type Location struct {
	Scheme string
	User   string // of SSH
	Host   string // name or address; "" for Local
	Port   string // "" for that of the scheme
	Path   string // of the repository, with its leading slash except in the short form of SSH
	Branch string
	Folder string // without slashes at its ends; "" for the root
}

// defaultBranch is the branch of a location without ref.
const defaultBranch = "main"

const (
	maxURL    = 512 // bytes
	maxBranch = 200 // bytes
	maxPart   = 255 // bytes of a part of a path
)

// only reports whether a text has nothing but ASCII letters, digits and the characters of more, and is not empty.
func only(text, more string) bool {
	for _, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(more, c) >= 0) {
			return false
		}
	}
	return text != ""
}

// plainPath reports whether a path needs no quotes in a command of SSH but single ones, and no escapes.
func plainPath(path string) bool {
	for _, c := range []byte(path) {
		if c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '\\' {
			return false
		}
	}
	return path != ""
}

// isUser reports whether a text can be the name of a user of SSH.
func isUser(name string) bool { return only(name, "._-") && !strings.ContainsAny(name[:1], ".-") }

// short parses USER@HOST:PATH[?QUERY], the short form of SSH.
func short(text string) (l Location, path, query string, ok bool) {
	rest, query, _ := strings.Cut(text, "?")
	who, path, ok := strings.Cut(rest, ":")
	user, host, ok2 := strings.Cut(who, "@")
	if !ok || !ok2 || !isUser(user) || !only(host, ".-") || strings.ContainsAny(text, "#") || strings.Contains(path, ":") {
		return l, "", "", false
	}
	return Location{Scheme: SSH, User: user, Host: host}, path, query, true
}

// ParseLocation parses REPOSITORY.git[/FOLDER][?ref=BRANCH], where the repository is https://HOST/PATH, ssh://[USER@]HOST/PATH,
// USER@HOST:PATH, or file:///PATH. Without ".git" in it there is no folder; the default branch is main.
//
// Errors: one whose text is for the owner of the location.
func ParseLocation(text string) (l Location, err error) {
	l, path, query, ok := short(text)
	if !ok {
		u, err := url.Parse(text)
		if err != nil || u.Fragment != "" || u.Opaque != "" || len(text) > maxURL {
			return l, errors.New("must be https://HOST/PATH.git, ssh://USER@HOST/PATH.git or USER@HOST:PATH.git, with /FOLDER and ?ref=BRANCH if you like")
		}
		l, path, query = Location{Scheme: u.Scheme, Host: u.Hostname(), Port: u.Port()}, u.Path, u.RawQuery
		if err := l.checkHost(u); err != nil {
			return l, err
		}
	}
	l.Path = path
	if before, after, ok := strings.Cut(path+"/", ".git/"); ok {
		l.Path, l.Folder = before+".git", strings.Trim(after, "/")
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values) > 1 || len(values) == 1 && len(values["ref"]) != 1 {
		return l, errors.New("has no parameter but ref, the branch")
	}
	if l.Branch = values.Get("ref"); l.Branch == "" {
		l.Branch = defaultBranch
	}
	return l, l.check()
}

// checkHost checks the parts of a URL around its path, and takes the user of SSH.
func (l *Location) checkHost(u *url.URL) error {
	switch l.Scheme {
	case HTTPS:
		if u.User != nil || l.Host == "" {
			return errors.New("must be https://HOST/PATH.git: the user name and the token are given on their own")
		}
	case SSH:
		l.User = u.User.Username()
		if _, has := u.User.Password(); has || l.Host == "" {
			return errors.New("must be ssh://USER@HOST/PATH.git: the key is given on its own")
		}
	case Local:
		if l.Host != "" || u.User != nil || !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) != u.Path {
			return errors.New("must be file:///PATH of a bare repository")
		}
	default:
		return errors.New("must begin with https://, ssh:// or file://: git:// and http:// have no protection")
	}
	return nil
}

func (l *Location) check() error {
	if l.Scheme == SSH && l.User == "" {
		l.User = "git"
	}
	if l.Port != "" {
		if n, err := strconv.ParseUint(l.Port, 10, 16); err != nil || n == 0 {
			return errors.New("must have a valid port")
		}
	}
	switch {
	case l.Scheme == SSH && !isUser(l.User):
		return errors.New("has a user name with characters that are not allowed")
	case strings.Trim(l.Path, "/") == "" || !plainPath(l.Path):
		return errors.New("must have the path of a repository, without blanks, quotes and backslashes")
	case strings.HasPrefix(l.Path, "-"):
		return errors.New("must have a path that does not begin with -")
	case !IsBranch(l.Branch):
		return errors.New("must have the name of a branch as its ref, such as main")
	case l.Folder != "" && !IsPath(l.Folder):
		return errors.New("must have a folder without empty, . and .. parts")
	}
	return nil
}

// IsBranch reports whether a text can be the name of a branch.
func IsBranch(name string) bool {
	if len(name) > maxBranch || !only(name, "._/@-") || strings.ContainsAny(name[:1], "@-") {
		return false
	}
	if strings.Contains(name, "@{") || strings.Contains(name, "..") || strings.HasSuffix(name, ".") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// IsPath reports whether a text can be the path of a file in a tree: no part of it is empty, . or .., or .git in any case, and it is
// printable ASCII.
func IsPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") || len(part) > maxPart || !plainPath(part) {
			return false
		}
	}
	return true
}

// String returns the location in its long form.
func (l Location) String() string {
	u := url.URL{Scheme: l.Scheme, Host: l.Host, Path: l.Path}
	if l.Port != "" {
		u.Host += ":" + l.Port
	}
	if l.User != "" {
		u.User = url.User(l.User)
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	if l.Folder != "" {
		u.Path += "/" + l.Folder
	}
	u.RawQuery = url.Values{"ref": {l.Branch}}.Encode()
	return u.String()
}
