package name_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestParseAccount(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"000000000000": true, "111122223333": true,
		"": false, "11112222333": false, "1111222233334": false, "11112222333a": false, " 11122223333": false,
		"+11122223333": false, "١١١١٢٢": false, "111122223333\n": false,
	} {
		a, err := name.ParseAccount(s)
		if ok && (err != nil || a.String() != s) || !ok && (!errors.Is(err, fault.InvalidParameter) || a != (name.Account{})) {
			t.Errorf("ParseAccount(%q) = %q, %v; want accepted %t", s, a, err, ok)
		}
	}
}

func TestParseRegion(t *testing.T) {
	t.Parallel()
	for s, partition := range map[string]string{
		"us-east-1": "aws", "ap-southeast-3": "aws", "my-lab-1": "aws", "us-isolated-1": "aws", "eu-west-1": "aws",
		"cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "eusc-de-east-1": "aws-eusc",
		"us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b", "eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f",
	} {
		if r, err := name.ParseRegion(s); err != nil || r.String() != s || r.Partition() != partition {
			t.Errorf("ParseRegion(%q) = %q in %q, %v; want partition %s", s, r, r.Partition(), err, partition)
		}
	}
	for _, s := range []string{"", "us-east", "us", "1-us-east", "US-EAST-1", "us_east_1", "us-east-1 ", "us-east-123",
		"us-east-1\n", "us--east-1", "../us-east-1", strings.Repeat("a", 50) + "-b-1"} {
		if r, err := name.ParseRegion(s); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("ParseRegion(%q) = %q, %v; want InvalidParameter", s, r, err)
		}
	}
}

var (
	goodRepos = []string{"ab", "a1", "0", "team/app", "a/b/c/d", "a.b", "a_b", "a__b", "a-b", "a---b", "1.2.3",
		"blobs/uploads", strings.Repeat("a", 256)}
	badRepos = []string{"", "a", "A", "Team/app", "/a", "a/", "a//b", "-a", "a-", ".a", "a.", "a..b", "a._b", "a___b", "_a",
		"a-_b", "a b", "a:b", "a@b", "a/../b", "..", "a\\b", "a%2fb",
		"ä", "a\x00b", "a\n", strings.Repeat("a", 257)}
)

func TestParseRepo(t *testing.T) {
	t.Parallel()
	for _, s := range goodRepos {
		if s == "0" {
			continue // shorter than a repository name may be; valid as a segment only
		}
		if r, err := name.ParseRepo(s); err != nil || r.String() != s {
			t.Errorf("ParseRepo(%q) = %q, %v; want no error", s, r, err)
		}
	}
	for _, s := range badRepos {
		if r, err := name.ParseRepo(s); !errors.Is(err, fault.NameInvalid) || r != (name.Repo{}) {
			t.Errorf("ParseRepo(%q) = %q, %v; want NameInvalid", s, r, err)
		}
	}
}

// ParseRepo accepts exactly the names of this grammar that have 2 to 256 characters.
// Source: ECR service model, shape RepositoryName.
func FuzzParseRepo(f *testing.F) {
	const segment = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
	grammar := regexp.MustCompile(`^` + segment + `(?:/` + segment + `)*$`)
	for _, s := range append(goodRepos, badRepos...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := name.ParseRepo(s)
		if got, want := err == nil, len(s) >= 2 && len(s) <= 256 && grammar.MatchString(s); got != want {
			t.Errorf("ParseRepo(%q): %v, the grammar says %t", s, err, want)
		}
	})
}

var (
	goodTags = []string{"latest", "1", "_", "v1.2.3-rc_1", "A", strings.Repeat("x", 128)}
	badTags  = []string{"", ".a", "-a", "a b", "a:b", "a/b", "a+b", "ü", "a\x00", "a\n", strings.Repeat("x", 129)}
)

func TestParseTag(t *testing.T) {
	t.Parallel()
	for _, s := range goodTags {
		if tag, err := name.ParseTag(s); err != nil || tag.String() != s {
			t.Errorf("ParseTag(%q) = %q, %v; want no error", s, tag, err)
		}
	}
	for _, s := range badTags {
		if tag, err := name.ParseTag(s); !errors.Is(err, fault.TagInvalid) || tag != (name.Tag{}) {
			t.Errorf("ParseTag(%q) = %q, %v; want TagInvalid", s, tag, err)
		}
	}
}

var (
	hex64      = strings.Repeat("0123456789abcdef", 4)
	badDigests = []string{"", "sha256", "sha256:", "sha256:" + hex64[1:], "sha256:" + hex64 + "0",
		"sha256:" + strings.ToUpper(hex64), "SHA256:" + hex64, "sha512:" + hex64, "md5:" + hex64[:32],
		"sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("../", 21) + "a", ":" + hex64, "sha256::" +
			hex64[1:], "sha384:" + hex64 + hex64[:32], hex64}
)

func TestParseDigest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s, hex    string
		algorithm name.Algorithm
	}{
		{"sha256:" + hex64, hex64, name.SHA256},
		{"sha512:" + hex64 + hex64, hex64 + hex64, name.SHA512},
	} {
		if d, err := name.ParseDigest(c.s); err != nil || d.String() != c.s || d.Hex() != c.hex || d.Algorithm() != c.algorithm {
			t.Errorf("ParseDigest(%q) = %q, %q, %q, %v", c.s, d, d.Algorithm(), d.Hex(), err)
		}
	}
	for _, s := range badDigests {
		if d, err := name.ParseDigest(s); !errors.Is(err, fault.DigestInvalid) || d != (name.Digest{}) {
			t.Errorf("ParseDigest(%q) = %q, %v; want DigestInvalid", s, d, err)
		}
	}
	sum := make([]byte, 32)
	sum[0] = 0xab
	if d := name.NewDigest(name.SHA256, sum); d.String() != "sha256:ab"+strings.Repeat("0", 62) {
		t.Errorf("NewDigest = %s", d)
	}
	defer func() {
		if recover() == nil {
			t.Error("NewDigest of a short sum does not panic")
		}
	}()
	name.NewDigest(name.SHA512, sum)
}

// A reference is exactly one of a tag and a digest, and its String is the parsed text. An accepted text is safe in a
// path.
func FuzzParseReference(f *testing.F) {
	for _, s := range append(append(goodTags, badTags...), badDigests...) {
		f.Add(s)
	}
	f.Add("sha256:" + hex64)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := name.ParseReference(s)
		if err != nil {
			if !errors.Is(err, fault.TagInvalid) && !errors.Is(err, fault.DigestInvalid) {
				t.Errorf("ParseReference(%q): %v", s, err)
			}
			return
		}
		if (r.Tag == name.Tag{}) == (r.Digest == name.Digest{}) || r.String() != s || strings.ContainsAny(s, "/\\%\x00 ") || s == ".." {
			t.Errorf("ParseReference(%q) = %+v", s, r)
		}
	})
}

func TestRepositoryARN(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ account, region, want string }{
		{"111122223333", "eu-west-1", "arn:aws:ecr:eu-west-1:111122223333:repository/team/app"},
		{"111122223333", "cn-north-1", "arn:aws-cn:ecr:cn-north-1:111122223333:repository/team/app"},
	} {
		account, err1 := name.ParseAccount(c.account)
		region, err2 := name.ParseRegion(c.region)
		r := name.Registry{Account: account, Region: region}
		if got := r.RepositoryARN("team/app"); err1 != nil || err2 != nil || got != c.want {
			t.Errorf("RepositoryARN = %q, want %q", got, c.want)
		}
		if got, repo, err := name.ParseRepositoryARN(c.want); err != nil || got != r || repo.String() != "team/app" {
			t.Errorf("ParseRepositoryARN(%q) = %s, %s, %v", c.want, got, repo, err)
		}
	}
	for _, s := range badARNs {
		if _, _, err := name.ParseRepositoryARN(s); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("ParseRepositoryARN(%q): %v, want InvalidParameter", s, err)
		}
	}
}

var badARNs = []string{"", "arn", "arn:aws:ecr:eu-west-1:111122223333:repository",
	"arn:aws:ecr:eu-west-1:111122223333:repository/", "arn:aws:ecr:eu-west-1:111122223333:repository/A",
	"arn:aws:ecr:eu-west-1:1111222233334:repository/ab", "arn:aws-cn:ecr:eu-west-1:111122223333:repository/ab",
	"arn:aws:ecr:cn-north-1:111122223333:repository/ab",
	"arn:aws:s3:eu-west-1:111122223333:repository/ab", "arn:aws:ecr::111122223333:repository/ab",
	"ARN:aws:ecr:eu-west-1:111122223333:repository/ab", "arn:aws:ecr:eu-west-1:111122223333:repository/ab:x",
	"arn:aws:ecr:eu-west-1:111122223333:repository/*", " arn:aws:ecr:eu-west-1:111122223333:repository/ab"}

func FuzzParseRepositoryARN(f *testing.F) {
	f.Add("arn:aws:ecr:eu-west-1:111122223333:repository/team/app")
	for _, s := range badARNs {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, repo, err := name.ParseRepositoryARN(s); err == nil && r.RepositoryARN(repo.String()) != s {
			t.Errorf("ParseRepositoryARN(%q) has the ARN %q", s, r.RepositoryARN(repo.String()))
		}
	})
}

// Clip returns short and valid UTF-8.
func TestClip(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "short", strings.Repeat("x", 80), strings.Repeat("x", 5000), strings.Repeat("ü", 100),
		"x" + strings.Repeat("ü", 100)} {
		got := name.Clip(s)
		if len(s) <= 80 && got != s || len(got) > 90 || !utf8.ValidString(got) {
			t.Errorf("Clip of %d bytes is %q", len(s), got)
		}
	}
}
