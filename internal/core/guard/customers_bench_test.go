package guard_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// BenchmarkEntitlement decides pulls of 1,000 customers in turn, each with entitlements of its own, from a repository of 10,000 tags: by a
// tag, by the digest of an image that has all of them, and by both from a channel that offers a release with the image.
func BenchmarkEntitlement(b *testing.B) {
	f := newFixture(b)
	a, err := f.meta.PutApplication(b.Context(), meta.Application{ID: "shop", Account: home, Slug: "shop", Sealed: []byte("x")},
		[]meta.Channel{{ID: "stable", Slug: "stable"}})
	f.must(err)
	f.repository(home, "app", "")
	ask := f.tagged(numberedTags("1.", 10_000)...)
	r, err := f.meta.PutRelease(b.Context(), meta.Release{Application: a.ID, Files: []byte("x"),
		Images: []meta.ReleaseImage{{Repository: "app", Tag: "1.-00007"}}})
	f.must(err)
	channels, err := f.meta.Channels(b.Context(), a.ID)
	f.must(err)
	_, err = f.meta.Promote(b.Context(), meta.Promotion{Application: a.ID, Release: r.Sequence, Label: "1"}, channels[:1], nil)
	f.must(err)
	for _, kind := range []struct {
		name, rule string
		tag        bool
	}{
		{"tag", `{"repositories":["app"],"tags":["1.*"]}`, true},
		{"digest", `{"repositories":["app"],"tags":["1.*"]}`, false},
		{"channel", `{"repositories":["app"],"channels":["stable"]}`, true},
		{"channel and digest", `{"repositories":["app"],"channels":["stable"]}`, false},
	} {
		var customers [1000]identity.Caller
		for i := range customers {
			id := fmt.Sprintf("%s-%d", kind.name, i)
			_, err := f.meta.PutCustomer(b.Context(), meta.Customer{ID: id, Application: a.ID, Account: home, Name: id, Sealed: []byte("x"),
				LicenseHash: id, Details: "{}"})
			f.must(err)
			for n, rule := range []string{`{"repositories":["other/*"]}`, kind.rule} {
				_, err = f.meta.PutEntitlement(b.Context(), meta.Entitlement{ID: fmt.Sprintf("%s-%d", id, n), Application: a.ID, Customer: id,
					Rule: rule})
				f.must(err)
			}
			customers[i] = identity.Caller{Kind: identity.Customer, Account: home, ARN: meta.CustomerARN(home, "shop", id), UserID: id,
				Application: a.ID}
		}
		one := f.resolved(ask)
		if kind.tag {
			one.Image.Reference = name.Reference{Tag: tagNamed("1.-00007"), Digest: one.Image.Digest}
		}
		for _, c := range customers {
			f.must(f.guard.Decide(b.Context(), c, ask.From, new(guard.Record), one))
		}
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime()
			for i := 0; b.Loop(); i++ {
				f.must(f.guard.Decide(b.Context(), customers[i%len(customers)], ask.From, new(guard.Record), one))
			}
			b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op") // other processes of the machine do not count
		})
	}
}

// processorTime returns the processor time that the process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
