package metatest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// happened returns the events of the registry after an ID, each as its detail type without the name of the service, action, repository or
// digest, and tag.
func happened(fx *Fixture, after int64) (all []string, last int64) {
	fx.Helper()
	events, err := fx.Events(fx.Ctx, Registry, after, 1000)
	fx.Must(err)
	last = after
	ids := map[string]bool{}
	for _, e := range events {
		var body struct {
			ID         string `json:"id"`
			DetailType string `json:"detail-type"`
			Account    string `json:"account"`
			Detail     map[string]any
		}
		fx.Must(json.Unmarshal([]byte(e.Body), &body))
		if e.ID <= last || ids[body.ID] || body.Account != Account.String() {
			fx.Errorf("event %s: got the ID %d after %d and account %s, want new ones of %s", e.Body, e.ID, last, body.Account, Account)
		}
		last, ids[body.ID] = e.ID, true
		text := []string{body.DetailType}
		for _, key := range []string{"action-type", "policy-type", "repository-name", "image-digest", "image-tag", "principal"} {
			if v, ok := body.Detail[key].(string); ok {
				text = append(text, v)
			}
		}
		all = append(all, strings.Join(text, " "))
	}
	return all, last
}

// Each change of contract §7.1 and of ecrin's own kinds has its events, in their order. A change that changes nothing, or is refused, has
// none.
func testEvents(fx *Fixture) {
	last := int64(0)
	want := func(what string, want ...string) {
		fx.Helper()
		var got []string
		got, last = happened(fx, last)
		fx.Equal(got, want, "the events of %s", what)
	}
	r := fx.Repo("team/app")
	want("a new repository", "Ecrin Repository Action CREATE team/app")
	fx.Blob(r, "one")
	p := As(ImageOf("one"), "v1", "v2")
	fx.Push(r, p)
	push := "ECR Image Action PUSH team/app " + p.Digest.String()
	want("a push of two tags", push+" v1", push+" v2")
	fx.Push(r, As(p, "v1"))
	fx.Push(r, As(p))
	want("pushes that change nothing")
	fx.Push(r, As(p, "v1", "v3"))
	want("a push that moves one of its tags", push+" v3")
	fx.Want(fx.PutImage(fx.Ctx, r, As(ImageOf("unknown"), "v4")), fault.LayersNotFound, "a push without its layer")
	want("a push that is refused before it changes anything")
	bare := fx.Image(r, "two")
	want("a push without a tag", "ECR Image Action PUSH team/app "+bare.Digest.String())
	fx.Blob(r, "sig")
	sig := ReferrerOf(p.Digest, "application/a", "sig")
	fx.Push(r, As(sig, "sig"))
	want("the push of a referrer", "ECR Referrer Action PUSH team/app "+sig.Digest.String()+" sig")

	_, err := fx.DeleteTag(fx.Ctx, r, Tag("v1").Tag, name.Digest{}, true, Principal)
	fx.Must(err)
	deleted := "ECR Image Action DELETE team/app " + p.Digest.String()
	want("the removal of a tag", deleted+" v1")
	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, []string{"v2"}, Principal)
	fx.Want(err, fault.TargetChanged, "the deletion of an image with another tag")
	want("a deletion that is refused after it has changed rows")
	_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	want("the deletion of an image", deleted+" v2", deleted+" v3")
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("sig").Tag, name.Digest{}, true, Principal)
	fx.Must(err)
	want("the deletion of a referrer with its last tag", "ECR Referrer Action DELETE team/app "+sig.Digest.String()+" sig")
	_, err = fx.DeleteImage(fx.Ctx, r, bare.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	want("the deletion of an untagged image", "ECR Image Action DELETE team/app "+bare.Digest.String())
	fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, As(p, "v9").Tags, Principal, false))
	want("the restoration of an image", push+" v9")

	fx.Must(fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: `{"Secret": "text"}`}))
	fx.Must(fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{}))
	fx.Must(fx.SetMutability(fx.Ctx, r, meta.Mutability{Mode: meta.Immutable}))
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{Text: `{"Secret": "text"}`}))
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{}))
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{}))
	want("policies", "Ecrin Policy Action SET REPOSITORY team/app", "Ecrin Policy Action DELETE REPOSITORY team/app",
		"Ecrin Policy Action SET TAG_MUTABILITY team/app", "Ecrin Policy Action SET REGISTRY", "Ecrin Policy Action DELETE REGISTRY")

	ctx := audit.WithLine(fx.Ctx, audit.NewLine(func() []byte { return nil }).By(func() string { return Principal }))
	fx.Must(fx.DeleteRepository(ctx, r, true))
	fx.Must(fx.RestoreRepository(ctx, r, r.Name))
	want("a repository", "Ecrin Repository Action DELETE team/app "+Principal, "Ecrin Repository Action RESTORE team/app "+Principal)
}

// Events of a context are stored with the first change that succeeds, once.
func testAttachedEvents(fx *Fixture) {
	r := fx.Repo("team/app")
	_, last := happened(fx, 0)
	o := event.Origin{ID: event.ID{1}, Registry: Registry, Time: time.Now()}
	p := ImageOf("one")
	ctx := meta.WithEvents(fx.Ctx, event.Replicated(o, event.Image{Repository: r.Name, Digest: p.Digest}, Tag("v1").Tag, Registry, true))
	fx.Want(fx.PutImage(ctx, r, As(p, "v1")), fault.LayersNotFound, "a push without its layer")
	got, last := happened(fx, last)
	fx.Equal(got, []string{}, "the events of a refused change")
	fx.Blob(r, "one")
	fx.Must(fx.PutImage(ctx, r, As(p, "v1")))
	fx.Must(fx.PutImage(ctx, r, As(p, "v2")))
	got, _ = happened(fx, last)
	d := p.Digest.String()
	fx.Equal(got, []string{"ECR Image Action PUSH team/app " + d + " v1", "ECR Replication Action REPLICATE team/app " + d + " v1",
		"ECR Image Action PUSH team/app " + d + " v2"}, "the events of two changes with a context")
}

// Old events are deleted by their age, and of each registry all but the newest. Those of other registries stay.
func testDeleteEvents(fx *Fixture) {
	other := name.Registry{Account: Account, Region: name.MustRegion("us-east-1")}
	for i := range 7 {
		for _, reg := range []name.Registry{Registry, other} {
			if reg == other && i > 1 {
				continue
			}
			o := event.Origin{ID: event.ID{byte(i)}, Registry: reg, Time: time.Now()}
			fx.Must(fx.RecordEvents(fx.Ctx, []event.Event{event.WebhookTested(o, fmt.Sprint("n", i), "")}))
		}
	}
	n, err := fx.DeleteEvents(fx.Ctx, time.UnixMilli(1), 3)
	fx.Must(err)
	fx.Equal(n, int64(4), "events deleted beyond the newest three")
	left, err := fx.Events(fx.Ctx, Registry, 0, 10)
	fx.Must(err)
	others, err := fx.Events(fx.Ctx, other, 0, 10)
	fx.Must(err)
	if len(left) != 3 || !strings.Contains(left[0].Body, `"n4"`) || len(others) != 2 {
		fx.Errorf("left: got %v and %v, want the last three and both of the other registry", left, others)
	}
	n, err = fx.DeleteEvents(fx.Ctx, farAway, 100)
	fx.Must(err)
	fx.Equal(n, int64(5), "events deleted by age")
}
