package rewrite_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// upstreams are what follows proxy/SLUG/, where aws is the name of a registry.
var upstreams = map[string]rewrite.Upstream{
	"redis":                             {Host: "docker.io", Path: "library/redis"},
	"docker.io/library/redis":           {Host: "docker.io", Path: "library/redis"},
	"docker.io/redis":                   {Host: "docker.io", Path: "library/redis"},
	"library/redis":                     {Host: "docker.io", Path: "library/redis"},
	"index.docker.io/library/redis":     {Host: "docker.io", Path: "library/redis"},
	"registry-1.docker.io/org/img":      {Host: "docker.io", Path: "org/img"},
	"org/img":                           {Host: "docker.io", Path: "org/img"},
	"ghcr.io/org/img":                   {Host: "ghcr.io", Path: "org/img"},
	"GHCR.io/org/img":                   {Host: "ghcr.io", Path: "org/img"},
	"localhost/img":                     {Host: "localhost", Path: "img"},
	"host:5000/img":                     {Host: "host:5000", Path: "img"},
	"aws/demo-apps/nginx":               {Registry: "aws", Path: "demo-apps/nginx"},
	"aws":                               {Host: "docker.io", Path: "library/aws"},
	"awsome/nginx":                      {Host: "docker.io", Path: "awsome/nginx"},
	"docker.io":                         {},
	"ghcr.io/":                          {},
	"":                                  {},
	"/redis":                            {},
	"ghcr.io//x":                        {},
	"ghcr.io/../x":                      {},
	"ghcr.io/A":                         {},
	"user@ghcr.io/x":                    {},
	"ghcr.io/x?y":                       {},
	"ghcr.io@evil.example/x":            {},
	"1.dkr.ecr.us-east-2.example.com/x": {Host: "1.dkr.ecr.us-east-2.example.com", Path: "x"},
}

func TestUpstreams(t *testing.T) {
	for text, want := range upstreams {
		got, ok := rewrite.ParseUpstream(text, func(first string) bool { return first == "aws" })
		if got != want || ok != (want != rewrite.Upstream{}) {
			t.Errorf("%q: got %+v, %t, want %+v", text, got, ok, want)
		}
	}
}

func FuzzUpstream(f *testing.F) {
	for text := range upstreams {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, ok := rewrite.ParseUpstream(text, func(first string) bool { return first == "aws" })
		if !ok {
			return
		}
		if (u.Host == "") == (u.Registry == "") || u.Path == "" {
			t.Errorf("%q: got %+v", text, u)
		}
		if u.Host != "" && u.Host != rewrite.Hub { // the written name is the same image
			again, ok := rewrite.ParseUpstream(u.Host+"/"+u.Path, func(string) bool { return false })
			if !ok || again != u {
				t.Errorf("%q: got %+v, and again %+v, %t", text, u, again, ok)
			}
		}
	})
}
