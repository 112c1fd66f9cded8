package lifecycle_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// manyImages returns images with three tags each. Every tenth is an index of the three before it, and every tenth a referrer.
func manyImages(n int) []lifecycle.Image {
	all := make([]lifecycle.Image, n)
	for i := range all {
		d := digest(fmt.Sprint(i))
		all[i] = lifecycle.Image{
			Digest: d, Bytes: 1 << 20, PushedAt: now.Add(-time.Duration(i*7919%n) * time.Minute),
			PulledAt: now.Add(-time.Duration(i*31%n) * time.Minute),
			Tags: []lifecycle.Tag{
				{Name: fmt.Sprintf("team%d-branch%d-%d", i%20, i%300, i)}, {Name: d.Hex()[:40]}, {Name: fmt.Sprintf("v%d.%d.%d", i%5, i%97, i)},
			},
		}
		switch {
		case i%10 == 9:
			all[i].Children = []name.Digest{all[i-1].Digest, all[i-2].Digest, all[i-3].Digest}
		case i%10 == 5:
			all[i].Subject, all[i].Tags = all[i-1].Digest, nil
		}
	}
	return all
}

func benchmark(b *testing.B, p *lifecycle.Policy, n int) { benchmarkImages(b, p, manyImages(n)) }

func benchmarkImages(b *testing.B, p *lifecycle.Policy, all []lifecycle.Image) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for b.Loop() {
		if _, err := lifecycle.Evaluate(context.Background(), p, all, now); err != nil {
			b.Fatal(err)
		}
	}
	// On a machine that does other work, the time of the processor says more than that of the clock.
	b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// cpuTime returns the time for which the processor has worked for this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// manyRules returns 50 rules: ages and counts by prefix, by suffix, by two patterns, untagged and any.
func manyRules() string {
	var rules []string
	for i := range 48 {
		switch i % 4 {
		case 0:
			rules = append(rules, ecrRule(i+1, tagged(fmt.Sprintf("team%d-*", i/2))+count(100)))
		case 1:
			rules = append(rules, ecrRule(i+1, tagged(fmt.Sprintf("*-branch%d-*", i))+since("Pushed", 10+i)))
		case 2:
			rules = append(rules, ecrRule(i+1, tagged(fmt.Sprintf("v*.%d*", i), fmt.Sprintf("*.%d.*", i))+count(10)))
		case 3:
			rules = append(rules, ecrRuleWith(i+1, tagged(fmt.Sprintf("v%d.*", i), fmt.Sprintf("*%d", i))+since("Pulled", 20), archive))
		}
	}
	return ecrPolicy(append(rules, ecrRule(49, untagged+since("Pushed", 1)), ecrRule(50, anyTag+count(50_000)))...)
}

func BenchmarkEvaluate(b *testing.B) {
	b.Run("100000 images, 50 rules", func(b *testing.B) { benchmark(b, mustParse(b, manyRules()), 100_000) })
	b.Run("100000 images, 1 rule", func(b *testing.B) { benchmark(b, mustParse(b, ecrPolicy(ecrRule(1, anyTag+count(10)))), 100_000) })
	b.Run("100000 images, 30 KB of patterns without prefix", func(b *testing.B) {
		var rules []string
		for i := range 50 {
			var patterns []string
			for j := range 40 {
				patterns = append(patterns, fmt.Sprintf("*%x*%x*", i, j))
			}
			rules = append(rules, ecrRule(i+1, tagged(patterns...)+count(1)))
		}
		text := ecrPolicy(rules...)
		b.Logf("%d characters", len(text))
		benchmark(b, mustParse(b, text), 100_000)
	})
	b.Run("100000 images, 26 KB of pairs that all tags have", func(b *testing.B) {
		const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		var rules []string
		for i := range 50 {
			var patterns []string
			for j := range 40 {
				n := i*40 + j
				patterns = append(patterns, fmt.Sprintf("*%c*%c*", letters[n/62], letters[n%62]))
			}
			rules = append(rules, ecrRule(i+1, tagged(patterns...)+count(i+1)))
		}
		all := manyImages(100_000)
		for i := range all {
			if len(all[i].Tags) > 0 {
				all[i].Tags[1].Name = letters[i%62:] + letters + letters[:i%62]
			}
		}
		benchmarkImages(b, mustParse(b, ecrPolicy(rules...)), all)
	})
	b.Run("100000 images, 50 rules of the extension", func(b *testing.B) {
		var rules []string
		for i := range 50 {
			rule := extRule(fmt.Sprintf(`"tagStatus":"tagged","tags":{"regexp":"(?P<branch>team%d-.+)-[0-9]+"},"exclude":[{"semver":"^%d.1"}]`, i, i%5),
				`"daysSince":{"pulled":10,"tagMoved":5},"keep":{"count":5,"group":"branch"}`)
			if i%2 == 1 {
				rule = extRule(fmt.Sprintf(`"tagStatus":"tagged","tags":{"semver":"%d.%d.x","regexp":"v?([0-9]+\\.[0-9]+).*"}`, i%5, i),
					`"keep":{"count":2,"group":"1","order":"version"}`)
			}
			rules = append(rules, strings.Replace(rule, `"priority":1`, fmt.Sprintf(`"priority":%d`, i+1), 1))
		}
		benchmark(b, mustExtend(b, extended(rules...)), 100_000)
	})
}

func BenchmarkParse(b *testing.B) {
	text := manyRules()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		mustParse(b, text)
	}
}
