package name_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// hostOf treats a host with a port, an address and localhost as a host of all registries, and an ECR host name as a
// host of one registry.
func hostOf(first string) name.HostKind {
	switch {
	case strings.Contains(first, ".dkr.ecr."):
		return name.RegistryHost
	case strings.Contains(first, ":"), first == "localhost", net.ParseIP(first) != nil:
		return name.AnyHost
	}
	return name.NoHost
}

func TestParseImageRef(t *testing.T) {
	t.Parallel()
	digest := name.MustDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	at := "@" + digest.String()
	repo, tag := name.MustRepo("team/app"), name.MustTag("1.0")
	reg := name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")}
	const ecr = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for s, want := range map[string]name.ImageRef{
		"app":                                       {Repo: name.MustRepo("app")},
		"team/app":                                  {Repo: repo},
		"team/app:1.0":                              {Repo: repo, Tag: tag},
		"team/app" + at:                             {Repo: repo, Digest: digest},
		"team/app:1.0" + at:                         {Repo: repo, Tag: tag, Digest: digest},
		"a.b/c:1.0":                                 {Repo: name.MustRepo("a.b/c"), Tag: tag},
		"111122223333/eu-west-1/team/app":           {Registry: reg, Repo: repo},
		"111122223333/eu-west-1/team/app:1.0":       {Registry: reg, Repo: repo, Tag: tag},
		"111122223333/app":                          {Repo: name.MustRepo("111122223333/app")},
		"2024/eu-west-1/app":                        {Repo: name.MustRepo("2024/eu-west-1/app")},
		"localhost/team/app":                        {Host: "localhost", Repo: repo},
		"localhost:5100/team/app:1.0":               {Host: "localhost:5100", Repo: repo, Tag: tag},
		"10.0.0.1/team/app" + at:                    {Host: "10.0.0.1", Repo: repo, Digest: digest},
		"[::1]:5100/team/app":                       {Host: "[::1]:5100", Repo: repo},
		"lab:5100/111122223333/eu-west-1/team/app":  {Host: "lab:5100", Registry: reg, Repo: repo},
		ecr + "/team/app:1.0":                       {Host: ecr, Repo: repo, Tag: tag},
		ecr + "/111122223333/eu-west-1/team/app":    {Host: ecr, Repo: name.MustRepo("111122223333/eu-west-1/team/app")},
		ecr + ":5100/team/app:1.0":                  {Host: ecr + ":5100", Repo: repo, Tag: tag},
		"localhost:5100/localhost/app":              {Host: "localhost:5100", Repo: name.MustRepo("localhost/app")},
		"111122223333/eu-west-1/2/eu-west-1/a":      {Registry: reg, Repo: name.MustRepo("2/eu-west-1/a")},
		"localhost/111122223333/eu-west-1/team/app": {Host: "localhost", Registry: reg, Repo: repo},
	} {
		got, err := name.ParseImageRef(s, hostOf)
		if err != nil || got != want {
			t.Errorf("ParseImageRef(%q) = %+v, %v; want %+v", s, got, err, want)
		}
		if got.String() != s {
			t.Errorf("ParseImageRef(%q).String() = %q", s, got)
		}
	}
	if got, err := name.ParseImageRef("localhost/app", nil); err != nil || got != (name.ImageRef{Repo: name.MustRepo("localhost/app")}) {
		t.Errorf("without hosts, localhost/app = %+v, %v; want a repository", got, err)
	}
}

func TestParseImageRefRefuses(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]fault.Code{
		"": fault.NameInvalid, "a": fault.NameInvalid, "/app": fault.NameInvalid, "app/": fault.NameInvalid, "Team/App": fault.NameInvalid,
		":1.0": fault.NameInvalid, "@sha256:00": fault.NameInvalid, "localhost:5100/": fault.NameInvalid, " app": fault.NameInvalid,
		"https://localhost:5100/app": fault.NameInvalid, "111122223333/eu-west-1/": fault.NameInvalid,
		"app:": fault.TagInvalid, "app:-x": fault.TagInvalid, "app:1.0:2.0": fault.TagInvalid,
		"app@": fault.DigestInvalid, "app@1.0": fault.DigestInvalid, "app@sha256:abc": fault.DigestInvalid,
		"app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855@x": fault.DigestInvalid,
		"1111222233334/eu-west-1/app":            fault.RegistryUnresolved,
		"lab:5100/11112222333/eu-west-1/app:1.0": fault.RegistryUnresolved,
	} {
		if got, err := name.ParseImageRef(s, hostOf); !errors.Is(err, want) || got != (name.ImageRef{}) {
			t.Errorf("ParseImageRef(%q) = %+v, %v; want %v", s, got, err, want)
		}
	}
}

func FuzzParseImageRef(f *testing.F) {
	for _, s := range []string{
		"team/app", "team/app:1.0", "localhost:5100/111122223333/eu-west-1/team/app:1.0", "1111222233334/eu-west-1/app", "app@sha256:abc",
		"app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "111122223333.dkr.ecr.eu-west-1.amazonaws.com/a/b:c", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := name.ParseImageRef(s, hostOf)
		if err != nil {
			if r != (name.ImageRef{}) || fault.From(err).Code == fault.Internal {
				t.Errorf("ParseImageRef(%q) = %+v, %v; want none and an error with a code", s, r, err)
			}
			return
		}
		if got := r.String(); got != s {
			t.Errorf("ParseImageRef(%q).String() = %q", s, got)
		}
	})
}
