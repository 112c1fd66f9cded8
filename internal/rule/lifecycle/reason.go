package lifecycle

import (
	"fmt"
	"strings"
	"time"
)

// Reason returns why the verdict is as it is, in one sentence without a full stop.
func (v *Verdict) Reason() string {
	verb := "expires"
	if v.Action == Archive || v.Action == None && v.Rule != nil && v.Rule.Action == Archive {
		verb = "archives"
	}
	switch {
	case v.Rule == nil:
		return "kept: no rule selects it"
	case v.Action != None && !v.Due:
		return fmt.Sprintf("goes with its subject %s, which %s %s", v.Other, v.Rule.Name(), verb)
	case v.Action != None:
		return fmt.Sprintf("%s %s it: %s", v.Rule.Name(), verb, v.conditions(true))
	case !v.Due:
		return fmt.Sprintf("kept by %s: %s", v.Rule.Name(), v.conditions(false))
	}
	due := fmt.Sprintf("%s would %s it (%s), but ", v.Rule.Name(), v.Rule.Action, v.conditions(true))
	switch v.Hold {
	case HeldByPin:
		return due + "it is pinned"
	case HeldByUse:
		return due + "it is in use"
	case HeldByRestoration:
		return due + "it is being restored from the archive"
	case HeldByPolicy:
		return due + "the extension protects one of its tags"
	case HeldByProtection:
		return due + "the repository has deletion protection for its images"
	case HeldByEntitlement:
		return due + "customers are entitled to it"
	case HeldByIndex:
		return due + "the index " + v.Other.String() + " contains it"
	}
	return due + "it stays with its subject " + v.Other.String()
}

// conditions returns the conditions of the rule that hold, or that do not.
func (v *Verdict) conditions(hold bool) string {
	var all []string
	for _, a := range v.Rule.Older {
		if v.e.older(a, v.number, v.ruling.moved) == hold {
			all = append(all, v.age(a, hold))
		}
	}
	if k := v.Rule.Keep; k != nil && (int(v.ruling.position) > k.Count) == hold {
		order := [...]string{"last pushed", "last pulled", "last tagged", "highest version"}[k.Order]
		group := ""
		if k.Group > 0 {
			group = fmt.Sprintf(" of the group %q", v.ruling.group)
		}
		all = append(all, fmt.Sprintf("it is number %d%s, %s first, and the rule keeps %d", v.ruling.position, group, order, k.Count))
	}
	return strings.Join(all, ", and ")
}

// age returns an age in words.
func (v *Verdict) age(a Age, exceeded bool) string {
	im := v.Image
	event := "pushed"
	if !im.ActivatedAt.IsZero() {
		event = "restored from the archive"
	}
	switch {
	case a.Clock == Pulled && im.pulled().Equal(im.PulledAt):
		event = "last pulled"
	case a.Clock == Pulled:
		event = "not pulled since it was " + event
	case a.Clock == TagMoved && len(im.Tags) > 0:
		event = "last tagged"
	case a.Clock == TagMoved && !im.UntaggedAt.IsZero():
		event = "untagged"
	case a.Clock == Archival:
		event = "archived"
	}
	at := v.e.clock(a.Clock, v.number, v.ruling.moved)
	if at == 0 {
		return event + " at an unknown time"
	}
	more := "more"
	if !exceeded {
		more = "not more"
	}
	age := v.e.now.Sub(time.UnixMicro(at))
	return fmt.Sprintf("%s %s ago, %s than %s", event, inWords(age), more, plural(int64(a.Days), "day"))
}

// inWords returns a duration in days, and in hours below two days.
func inWords(d time.Duration) string {
	if d < 48*time.Hour {
		return plural(int64(d/time.Hour), "hour")
	}
	return plural(int64(d/(24*time.Hour)), "day")
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
