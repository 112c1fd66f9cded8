package metatest

import (
	"errors"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// newObject returns an object of a kind that names cloud integrations.
func newObject(kind, label string, clouds ...string) meta.Object {
	o := meta.Object{Account: Account, Kind: kind, Name: label, Settings: `{}`, Sealed: []byte("x")}
	for _, cloud := range clouds {
		o.Uses = append(o.Uses, meta.ObjectName{Kind: meta.KindCloud, Name: cloud})
	}
	return o
}

// testObjects: an object is stored once, changed only with its version, and not deleted while an object or an integration names it.
func testObjects(fx *Fixture) {
	put := func(o meta.Object, want fault.Code) meta.Object {
		fx.Helper()
		got, err := fx.PutObject(fx.Ctx, o)
		if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			fx.Fatalf("PutObject(%s): got the error %v, want %v", o.ARN(), err, want)
		}
		return got
	}
	cloud := put(newObject(meta.KindCloud, "aws"), 0)
	put(newObject(meta.KindCloud, "aws"), fault.ObjectAlreadyExists)
	cluster := put(newObject(meta.KindCluster, "c", "aws"), 0)
	put(newObject(meta.KindCluster, "d", "missing"), fault.ObjectNotFound)
	old := cluster
	cluster.Settings, cluster.Uses = `{"x":1}`, []meta.ObjectName{{Kind: meta.KindCloud, Name: "aws"}}
	cluster = put(cluster, 0)
	put(old, fault.TargetChanged)
	fx.Must(fx.ObjectTested(fx.Ctx, old, "of an old version"))
	fx.Must(fx.ObjectTested(fx.Ctx, cloud, "broken"))
	got, err := fx.Object(fx.Ctx, Account, meta.KindCluster, "c")
	if err != nil || got.Settings != `{"x":1}` || got.Error != "" || !got.TestedAt.IsZero() {
		fx.Errorf("the cluster: got %+v and %v, want its new settings and no test", got, err)
	}
	if all, err := fx.Objects(fx.Ctx, Account, meta.KindCloud); err != nil || len(all) != 1 || all[0].Error != "broken" {
		fx.Errorf("the cloud integrations: got %+v and %v, want one with the problem of its test", all, err)
	}
	put(newObject(meta.KindRuntime, "west"), 0)
	i := meta.Integration{Account: Account, Name: "mirror", Sealed: []byte("x"),
		Uses: []meta.ObjectName{{Kind: meta.KindRuntime, Name: "east"}}}
	if _, err := fx.CreateIntegration(fx.Ctx, i, 0); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("an integration for a runtime that does not exist: got %v, want %v", err, fault.ObjectNotFound)
	}
	i.Uses[0].Name = "west"
	i, err = fx.CreateIntegration(fx.Ctx, i, 0)
	fx.Must(err)
	for _, one := range []struct{ kind, label string }{{meta.KindCloud, "aws"}, {meta.KindRuntime, "west"}} {
		if err := fx.DeleteObject(fx.Ctx, Account, one.kind, one.label); !errors.Is(err, fault.ObjectInUse) {
			fx.Errorf("deleting the %s %s, which is used: got %v, want %v", one.kind, one.label, err, fault.ObjectInUse)
		}
	}
	fx.Must(fx.DeleteIntegration(fx.Ctx, i))
	fx.Must(fx.DeleteObject(fx.Ctx, Account, meta.KindRuntime, "west"))
	fx.Must(fx.DeleteObject(fx.Ctx, Account, meta.KindCluster, "c"))
	fx.Must(fx.DeleteObject(fx.Ctx, Account, meta.KindCloud, "aws"))
	if err := fx.DeleteObject(fx.Ctx, Account, meta.KindCloud, "aws"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("deleting it again: got %v, want %v", err, fault.ObjectNotFound)
	}
}
