package metatest

import (
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
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
		_, err = fx.Promote(fx.Ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: version}, []meta.Channel{beta})
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
