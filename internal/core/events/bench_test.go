package events_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The time from the storing of events of different images until a webhook on this machine has them, for each event.
func BenchmarkDelivery(b *testing.B) {
	r := hooktest.New(b)
	i := start(b, events.Options{Keep: 1 << 30, KeepFor: 1 << 60}, r)
	w, _ := i.hook("deploy", r.URL, "")
	var all []event.Event
	for n := range b.N {
		o := event.Origin{ID: event.ID{byte(n), byte(n >> 8)}, Registry: metatest.Registry, Time: i.clock.now()}
		im := event.Image{Repository: name.MustRepo("team/app"), Digest: metatest.Digest(fmt.Sprint(n))}
		all = append(all, event.ImagePushed(o, im, nil)...)
	}
	if err := i.store.RecordEvents(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	i.run()
	i.until("all events", func() bool { return i.webhook(w.ID).Delivered == int64(b.N) })
}
