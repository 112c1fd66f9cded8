package vendor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// hostOf returns the host of a request.
func hostOf(t *testing.T, text string) endpoint.Host {
	t.Helper()
	h, err := endpoint.NewMap([]string{"registry.example.com"}, name.Registry{Account: metatest.Account}).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The name of an image in decisions does not depend on how a manifest writes it.
func TestRepositoryOfAnImage(t *testing.T) {
	t.Parallel()
	s, fx, _, _ := open(t)
	a, err := s.CreateApplication(t.Context(), metatest.Account, "shop", "", "x")
	fx.Must(err)
	own := metatest.Account.String()
	for _, tt := range []struct{ request, image, want string }{
		{"localhost:5100", own + ".dkr.ecr.us-east-1.amazonaws.com/shop/api:1", "shop/api"},
		{"localhost:5100", own + ".dkr.ecr.eu-west-1.registry.example.com/shop/api:1", "shop/api"},
		{"localhost:5100", own + ".dkr.ecr.us-east-1.localhost:5100/shop/api", "shop/api"},
		{"localhost:5100", "localhost:5100/shop/api:1", "shop/api"},
		{"127.0.0.1:5100", "localhost:5100/shop/api:1", "shop/api"},
		{"127.0.0.1:5100", "localhost:5000/shop/api:1", "localhost:5000/shop/api"},
		{"ecrin.corp:8443", "ecrin.corp:8443/shop/api:1", "shop/api"},
		{"ecrin.corp:8443", "ecrin.corp/shop/api:1", "ecrin.corp/shop/api"},
		{"ecrin.corp", "localhost/shop/api:1", "localhost/shop/api"},
		{"ecrin.corp", "registry.example.com/shop/api:1", "shop/api"},
		{"ecrin.corp", "ecrin.corp/" + own + "/eu-west-1/shop/api", "shop/api"},
		{"ecrin.corp", "ecrin.corp/999999999999/eu-west-1/shop/api", "ecrin.corp/999999999999/eu-west-1/shop/api"},
		{"ecrin.corp", "999999999999.dkr.ecr.us-east-1.amazonaws.com/shop/api", "999999999999.dkr.ecr.us-east-1.amazonaws.com/shop/api"},
		{"ecrin.corp", "ecrin.corp/proxy/shop/ghcr.io/org/app:2", "ghcr.io/org/app"},
		{"ecrin.corp", "ecrin.corp/proxy/shop/redis", "docker.io/library/redis"},
		{"ecrin.corp", "nginx:1", "docker.io/library/nginx"},
		{"ecrin.corp", "docker.io/library/nginx", "docker.io/library/nginx"},
		{"ecrin.corp", "org/app", "docker.io/org/app"},
		{"ecrin.corp", "ghcr.io/org/app", "ghcr.io/org/app"},
	} {
		ref, err := rewrite.ParseReference(tt.image)
		fx.Must(err)
		if got, err := s.Repository(t.Context(), a, hostOf(t, tt.request), ref); got != tt.want || err != nil {
			t.Errorf("%s at %s: got %s, %v, want %s", tt.image, tt.request, got, err, tt.want)
		}
	}
}

func TestReleaseWithItsImages(t *testing.T) {
	t.Parallel()
	s, fx, _, _ := open(t)
	ctx := t.Context()
	a, err := s.CreateApplication(ctx, metatest.Account, "shop", "", "x")
	fx.Must(err)
	files := append(vendor.Definition(`My "App"`, "shop", "ecrin.corp/shop/api:1.0"),
		rewrite.File{Path: "chart/logo.png", Data: []byte{0xff, 0}})
	r, found, err := s.PutRelease(ctx, a, vendor.NewRelease{Files: files, Host: hostOf(t, "ecrin.corp"), By: "x"})
	fx.Must(err)
	if r.Sequence != 1 || len(found.Skipped) != 0 || len(found.Objects) != 3 || len(r.Images) != 1 ||
		r.Images[0] != (meta.ReleaseImage{Repository: "shop/api", Tag: "1.0"}) {
		t.Errorf("the release is %+v, and has %+v", r, found)
	}
	stored, err := fx.Release(ctx, a.ID, 1)
	fx.Must(err)
	back, err := vendor.Files(stored)
	fx.Must(err)
	if len(back) != 4 || back[0].Path != "application.yaml" || back[1].Path != "chart/logo.png" || string(back[1].Data) != "\xff\x00" {
		t.Errorf("the files are %+v", back)
	}
	stable, err := fx.Channel(ctx, a.ID, "stable")
	fx.Must(err)
	unstable, err := fx.Channel(ctx, a.ID, "unstable")
	fx.Must(err)
	stable, err = s.ChangeChannel(ctx, stable, meta.ChannelChange{SemverRequired: new(true)})
	fx.Must(err)
	_, _, err = s.Promote(ctx, a, vendor.Promotion{Release: 1, Channels: []meta.Channel{stable}, Label: "one"})
	if !errors.Is(err, fault.InvalidParameter) || !strings.Contains(err.Error(), "semantic versions") {
		t.Errorf("a label that is no version: got %v", err)
	}
	all, of, err := s.Promote(ctx, a, vendor.Promotion{Release: 1, Channels: []meta.Channel{stable, stable, unstable}, Label: "1.0.0"})
	if err != nil || len(all) != 2 || len(of) != 2 || all[0].Sequence != 1 || of[0].Slug != "stable" {
		t.Errorf("the promotions are %+v on %+v, %v", all, of, err)
	}
	if _, _, err := s.PutRelease(ctx, a, vendor.NewRelease{Sequence: 1, Files: files}); !errors.Is(err, fault.ObjectInUse) {
		t.Errorf("new files of a promoted release: got %v, want ObjectInUse", err)
	}
	on, _, err := fx.ChannelsOfImage(ctx, a.ID, "shop/api", []string{"1.0"}, "")
	if err != nil || len(on) != 2 {
		t.Errorf("the channels of the image: got %v, %v", on, err)
	}
}

func TestFilesThatAreNoRelease(t *testing.T) {
	t.Parallel()
	s, fx, _, _ := open(t)
	a, err := s.CreateApplication(t.Context(), metatest.Account, "shop", "", "x")
	fx.Must(err)
	many := make([]rewrite.File, vendor.MaxFiles+1)
	for i := range many {
		many[i].Path = fmt.Sprint(i)
	}
	file := func(path string) []rewrite.File { return []rewrite.File{{Path: path, Data: []byte("a: 1")}} }
	for what, files := range map[string][]rewrite.File{
		"none": nil, "too many": many, "too large": {{Path: "a", Data: make([]byte, vendor.MaxBytes+1)}}, "an empty path": file(""),
		"an absolute path": file("/etc/passwd"), "a path above": file("../a.yaml"), "a path through above": file("a/../../b.yaml"),
		"a path of Windows": file(`a\..\b.yaml`), "a drive": file("C:a.yaml"), "a folder": file("a/"), "a dot": file("./a"),
		"a line break": file("a\nb"), "a path twice": append(file("a"), file("a")...), "no text": file("\xff"),
		"a long path": file(strings.Repeat("a", 513)),
	} {
		if _, _, err := s.PutRelease(t.Context(), a, vendor.NewRelease{Files: files}); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: got %v, want InvalidParameter", what, err)
		}
	}
	if r, _, err := s.PutRelease(t.Context(), a, vendor.NewRelease{Files: many[:vendor.MaxFiles]}); err != nil || r.Sequence != 1 {
		t.Errorf("as many files as there may be: got %v, %v", r.Sequence, err)
	}
}
