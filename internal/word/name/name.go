// Package name parses the values that identify resources: accounts, regions, repositories, tags, digests, ARNs.
//
// A value of one of these types is always valid, because only its parser makes it. The zero value means "none". The
// types are comparable and can be used as map keys.
package name

import (
	"encoding/hex"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// literal accepts only untyped constants, so that a run-time string cannot be passed to a Must function.
type literal string

// Account is an AWS account id of 12 decimal digits.
type Account struct{ s string }

// ParseAccount parses an account id. Errors: fault.InvalidParameter.
func ParseAccount(s string) (Account, error) {
	if len(s) != 12 || strings.Trim(s, "0123456789") != "" {
		return Account{}, fault.InvalidParameter.New("an account id has exactly 12 digits, got %q (%d characters)", Clip(s), len(s))
	}
	return Account{s}, nil
}

// MustAccount is ParseAccount for constants.
func MustAccount(s literal) Account { return must(ParseAccount(string(s))) }

func (a Account) String() string { return a.s }

// Region is a region name in the form of AWS, such as eu-west-1. It need not be a region that AWS has.
type Region struct{ s string }

var regionPattern = lazyregexp.New(`^[a-z]{2,10}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// ParseRegion parses a region name. Errors: fault.InvalidParameter.
func ParseRegion(s string) (Region, error) {
	if len(s) > 40 || !regionPattern.MatchString(s) {
		return Region{}, fault.InvalidParameter.New("a region looks like eu-west-1, got %q", Clip(s))
	}
	return Region{s}, nil
}

// MustRegion is ParseRegion for constants.
func MustRegion(s literal) Region { return must(ParseRegion(string(s))) }

func (r Region) String() string { return r.s }

// Registry is one account in one region.
type Registry struct {
	Account Account
	Region  Region
}

func (r Registry) String() string { return r.Account.s + "/" + r.Region.s }

// Repo is a repository name: 2 to 256 characters, segments of lower-case letters and digits joined by single
// separators, segments separated by "/".
type Repo struct{ s string }

// RepoPattern is the grammar of repository names, as in the errors of the ECR API.
const RepoPattern = `(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`

// ParseRepo parses a repository name. Errors: fault.NameInvalid.
// Source: ECR service model, shape RepositoryName.
func ParseRepo(s string) (Repo, error) {
	if len(s) < 2 || len(s) > 256 || !validRepo(s) {
		return Repo{},
			fault.NameInvalid.New("Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '%s''", RepoPattern)
	}
	return Repo{s}, nil
}

// validRepo reports whether s consists of alphanumeric runs joined by ".", "_", "__", a run of "-", or "/".
func validRepo(s string) bool {
	for i := 0; i < len(s); {
		if !lowerAlnum(s[i]) {
			return false
		}
		for i < len(s) && lowerAlnum(s[i]) {
			i++
		}
		if i == len(s) {
			return true
		}
		switch s[i] {
		case '/', '.':
			i++
		case '_':
			if i++; i < len(s) && s[i] == '_' {
				i++
			}
		case '-':
			for i < len(s) && s[i] == '-' {
				i++
			}
		default:
			return false
		}
	}
	return false // ends with a separator
}

func lowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// MustRepo is ParseRepo for constants.
func MustRepo(s literal) Repo { return must(ParseRepo(string(s))) }

func (r Repo) String() string { return r.s }

// Tag is an image tag: 1 to 128 characters of [A-Za-z0-9_.-]; the first is not "." or "-".
type Tag struct{ s string }

// ParseTag parses a tag. Errors: fault.TagInvalid.
// Source: OCI distribution specification, pulling manifests.
func ParseTag(s string) (Tag, error) {
	ok := len(s) >= 1 && len(s) <= 128
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = lowerAlnum(c) || 'A' <= c && c <= 'Z' || c == '_' || i > 0 && (c == '.' || c == '-')
	}
	if !ok {
		return Tag{},
			fault.TagInvalid.New("a tag has 1 to 128 of the characters A-Z a-z 0-9 _ . - and starts with none of . and -, got %q", Clip(s))
	}
	return Tag{s}, nil
}

// MustTag is ParseTag for constants.
func MustTag(s literal) Tag { return must(ParseTag(string(s))) }

func (t Tag) String() string { return t.s }

// Digest is a digest in the form ALGORITHM:HEX, with sha256 or sha512 in lower case.
type Digest struct{ s string }

// Algorithm is the hash function of a digest.
type Algorithm string

// The supported algorithms. Source: OCI image specification, registered algorithms.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// ParseAlgorithm parses the name of an algorithm. Errors: fault.DigestInvalid.
func ParseAlgorithm(s string) (Algorithm, error) {
	if a := Algorithm(s); a.hexLen() > 0 {
		return a, nil
	}
	return "", fault.DigestInvalid.New("digest algorithm %q is not supported: use sha256 or sha512", Clip(s))
}

func (a Algorithm) hexLen() int {
	switch a {
	case SHA256:
		return 64
	case SHA512:
		return 128
	}
	return 0
}

// ParseDigest parses a digest. Errors: fault.DigestInvalid.
func ParseDigest(s string) (Digest, error) {
	algorithm, value, _ := strings.Cut(s, ":")
	n := Algorithm(algorithm).hexLen()
	ok := n > 0 && len(value) == n
	for i := 0; ok && i < n; i++ {
		ok = '0' <= value[i] && value[i] <= '9' || 'a' <= value[i] && value[i] <= 'f'
	}
	if !ok {
		return Digest{}, fault.DigestInvalid.New("a digest is sha256: and 64, or sha512: and 128, lower-case hexadecimal digits, got %q", Clip(s))
	}
	return Digest{s}, nil
}

// MustDigest is ParseDigest for constants.
func MustDigest(s literal) Digest { return must(ParseDigest(string(s))) }

// NewDigest returns the digest of a hash sum. It panics if the length of sum is not that of the algorithm.
func NewDigest(a Algorithm, sum []byte) Digest {
	if len(sum)*2 != a.hexLen() {
		panic("name: hash sum of the wrong length for " + string(a))
	}
	return Digest{string(a) + ":" + hex.EncodeToString(sum)}
}

func (d Digest) String() string { return d.s }

// Algorithm returns the part before the colon.
func (d Digest) Algorithm() Algorithm {
	a, _, _ := strings.Cut(d.s, ":")
	return Algorithm(a)
}

// Hex returns the part after the colon.
func (d Digest) Hex() string {
	_, h, _ := strings.Cut(d.s, ":")
	return h
}

// Reference identifies a manifest in a repository by exactly one of a tag and a digest.
type Reference struct {
	Tag    Tag
	Digest Digest
}

// ParseReference parses the <reference> of a manifest URL. Errors: fault.DigestInvalid, fault.TagInvalid.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Reference{Tag: t}, err
}

func (r Reference) String() string {
	if r.Digest != (Digest{}) {
		return r.Digest.s
	}
	return r.Tag.s
}

// Clip shortens a value of a client for an error text, to at most 80 bytes and "…".
func Clip(s string) string {
	const maxClip = 80
	if len(s) <= maxClip {
		return s
	}
	return strings.ToValidUTF8(s[:maxClip], "") + "…"
}

// Printable returns the printable ASCII characters of a text of another side in one line: a blank for each tab and line feed, and
// nothing for other characters. It does not shorten the text.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return -1
		}
		return r
	}, text)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
