package metatest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// testCharts: the charts of the releases that a channel offers are found by their names, those of the newest version first.
func testCharts(fx *Fixture) {
	a, channels := fx.Application("shop")
	beta := channels[0]
	chart := func(label, version string) meta.ReleaseChart {
		return meta.ReleaseChart{Name: label, Version: version, Path: label + ".tgz", Signed: version == "2.0.0"}
	}
	for _, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		r, err := fx.PutRelease(fx.Ctx, meta.Release{Application: a.ID, Files: []byte("x"), Spec: "json", Charts: []meta.ReleaseChart{
			chart("web", "0.1.0")}})
		fx.Must(err)
		r.Charts = []meta.ReleaseChart{chart("web", version), chart("db", "7.0.0")} // those before are replaced
		r, err = fx.PutRelease(fx.Ctx, r)
		fx.Must(err)
		_, err = fx.Promote(fx.Ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: version}, []meta.Channel{beta}, nil)
		fx.Must(err)
	}
	_, err := fx.Demote(fx.Ctx, beta.ID, 3, false)
	fx.Must(err)
	for _, one := range []struct {
		label  string
		pinned int64
		want   []string
	}{{"web", 0, []string{"2.0.0", "1.0.0"}}, {"web", 1, []string{"1.0.0"}}, {"db", 0, []string{"7.0.0", "7.0.0"}}, {"none", 0, nil}} {
		all, err := fx.OfferedCharts(fx.Ctx, beta.ID, one.label, one.pinned, 5)
		fx.Must(err)
		var got []string
		for _, o := range all {
			got = append(got, o.Version)
			if o.Path != one.label+".tgz" || o.Signed != (o.Version == "2.0.0") || o.Channel != beta.ID || o.Application != a.ID {
				fx.Errorf("a chart that is offered: got %+v", o)
			}
		}
		if !slices.Equal(got, one.want) {
			fx.Errorf("the charts %s up to %d: got %v, want %v", one.label, one.pinned, got, one.want)
		}
	}
}

// testInstances: an installation is one row, and a customer has a limited number of them.
func testInstances(fx *Fixture) {
	a, channels := fx.Application("shop")
	c := fx.customer(a, "c1", channels[0])
	put := func(id string, sequence int64) bool {
		is, err := fx.PutInstance(fx.Ctx, meta.Instance{Application: a.ID, Customer: c.ID, ID: id, Channel: channels[0].ID,
			Sequence: sequence}, nil)
		fx.Must(err)
		return is.First
	}
	if !put("east", 1) || put("east", 2) || !put("west", 1) {
		fx.Errorf("an installation is new the first time, and only then")
	}
	all, err := fx.Instances(fx.Ctx, a.ID, meta.InstanceKey{}, 5)
	fx.Must(err)
	rest, err := fx.Instances(fx.Ctx, a.ID, meta.InstanceKey{Customer: "c1", ID: "east"}, 5)
	fx.Must(err)
	if len(all) != 2 || all[0].ID != "east" || all[0].Sequence != 2 || all[0].FirstSeen.IsZero() || len(rest) != 1 || rest[0].ID != "west" {
		fx.Errorf("the installations are %+v, and after the first one %+v", all, rest)
	}
	for i := range meta.MaxInstances { // with a frozen clock, all of them were seen at the same time
		put(fmt.Sprint("more-", i), 1)
	}
	if all, err = fx.Instances(fx.Ctx, a.ID, meta.InstanceKey{}, 1000); err != nil || len(all) != meta.MaxInstances {
		fx.Errorf("got %d installations, %v, want %d: a new one replaces one", len(all), err, meta.MaxInstances)
	}
	_, err = fx.PutInstance(fx.Ctx, meta.Instance{Application: a.ID, Customer: "none", ID: "x"}, nil)
	if !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("an installation of no customer: got %v", err)
	}
	r, err := fx.PutRelease(fx.Ctx, meta.Release{Application: a.ID, Files: []byte("x"), Spec: "json", Images: []meta.ReleaseImage{
		{Repository: "shop/api", Tag: "1"}}})
	fx.Must(err)
	images, err := fx.ReleaseImages(fx.Ctx, a.ID, r.Sequence)
	fx.Must(err)
	if len(images) != 1 || images[0].Tag != "1" {
		fx.Errorf("the images of a release: got %+v", images)
	}
	_, err = fx.Promote(fx.Ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: "1"}, channels[:1], nil)
	fx.Must(err)
	for after, want := range map[int64]int{0: 1, 1: 0} {
		if n, err := fx.VersionsAfter(fx.Ctx, channels[0].ID, after, 0); err != nil || n != want {
			fx.Errorf("the versions after %d: got %d, %v, want %d", after, n, err, want)
		}
	}
}

// testApplicationHosts: a host is one of one application, goes with it, and each change is one of identities.
func testApplicationHosts(fx *Fixture) {
	a, _ := fx.Application("shop")
	b, _ := fx.Application("other")
	put := func(of meta.Application, host string) error {
		_, err := fx.PutApplicationHost(fx.Ctx, meta.ApplicationHost{Host: host, Account: Account, Application: of.ID, CreatedBy: "by"})
		return err
	}
	before := fx.IdentityGeneration()
	fx.Must(put(a, "images.example.com"))
	if fx.IdentityGeneration() == before {
		fx.Errorf("a host was added, and requests keep those before")
	}
	fx.Must(put(a, "images.example.com")) // again
	fx.Must(put(b, "b.example.com"))
	if err := put(b, "images.example.com"); !errors.Is(err, fault.ObjectAlreadyExists) {
		fx.Errorf("a host of another application: got %v", err)
	}
	if err := put(meta.Application{ID: "none"}, "c.example.com"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("a host of no application: got %v", err)
	}
	for i := 1; i < meta.MaxHosts; i++ {
		fx.Must(put(a, fmt.Sprintf("h%d.example.com", i)))
	}
	if err := put(a, "more.example.com"); !errors.Is(err, fault.LimitExceeded) {
		fx.Errorf("too many hosts: got %v", err)
	}
	all, err := fx.ApplicationHosts(fx.Ctx, "")
	of, err2 := fx.ApplicationHosts(fx.Ctx, b.ID)
	if err != nil || err2 != nil || len(all) != meta.MaxHosts+1 || len(of) != 1 || of[0].Host != "b.example.com" || of[0].Account != Account ||
		of[0].Application != b.ID || of[0].CreatedAt.IsZero() || of[0].CreatedBy != "by" {
		fx.Errorf("the hosts: got %+v, of one application %+v, %v, %v", all, of, err, err2)
	}
	if err := fx.DeleteApplicationHost(fx.Ctx, b.ID, "images.example.com"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("deleting a host of another application: got %v", err)
	}
	before = fx.IdentityGeneration()
	fx.Must(fx.DeleteApplicationHost(fx.Ctx, b.ID, "b.example.com"))
	if fx.IdentityGeneration() == before {
		fx.Errorf("a host was deleted, and requests keep it")
	}
	fx.Must(fx.DeleteApplication(fx.Ctx, a, true))
	if all, err = fx.ApplicationHosts(fx.Ctx, ""); err != nil || len(all) != 0 {
		fx.Errorf("after the application is deleted: got %+v, %v", all, err)
	}
}
