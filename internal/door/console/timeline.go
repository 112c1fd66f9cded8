package console

import (
	"fmt"
	"math"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
)

// The measures of a timeline.
const (
	timelineLeft   = 190.0
	timelineRight  = 1096.0
	timelineTop    = 36.0
	timelineLane   = 56.0 // from one lane to the next
	timelineInside = 48.0 // of a lane
	timelineTick   = 64.0 // between two names of the axis, at least
)

// timelineTicks are the ages that the axis can name.
var timelineTicks = []struct {
	age  time.Duration
	text string
}{
	{time.Minute, "1 minute"}, {10 * time.Minute, "10 minutes"}, {time.Hour, "1 hour"}, {6 * time.Hour, "6 hours"}, {24 * time.Hour,
		"1 day"}, {3 * 24 * time.Hour, "3 days"},
	{7 * 24 * time.Hour, "1 week"}, {14 * 24 * time.Hour, "2 weeks"}, {30 * 24 * time.Hour, "30 days"}, {90 * 24 * time.Hour, "90 days"},
	{180 * 24 * time.Hour, "180 days"}, {365 * 24 * time.Hour, "1 year"}, {2 * 365 * 24 * time.Hour, "2 years"},
	{5 * 365 * 24 * time.Hour, "5 years"},
}

// timelineOf draws the images that each rule sees by the time of their pushes, with now at the right: a dot stays, a cross goes, a ring
// would go but is held. Rules that see no image have no lane. It returns nil without images.
func timelineOf(lanes []ecrintypes.LifecycleLane, now time.Time) *figure {
	oldest := 10 * time.Minute
	drawn := 0
	for _, l := range lanes {
		for _, m := range l.Marks {
			oldest = max(oldest, now.Sub(m.ImagePushedAt.Time))
		}
		for _, b := range l.Bins {
			oldest = max(oldest, now.Sub(b.StartTime.Time))
		}
		if l.Images > 0 {
			drawn++
		}
	}
	if drawn == 0 {
		return nil
	}
	bottom := timelineTop + float64(drawn)*timelineLane
	f := &figure{Name: "Preview on a timeline", Title: "Images by age and rule", ID: "timeline", Latest: true, Width: 1120,
		Height: int(bottom) + 12,
		Desc: fmt.Sprintf("%s, one for each rule that sees images and one for images that no rule sees, from %s ago at the left to now at the "+
			"right. In the shaded part of a lane images are due. The table below lists what goes.", many(int64(drawn), "lane", "lanes"),
			span(oldest))}
	at := func(t time.Time) float64 {
		return timelineRight - (timelineRight-timelineLeft)*lifecycle.Position(now.Sub(t), oldest)
	}
	f.path("l0", "M%s 28V%s", timelineRight, bottom-4)
	f.text("m", timelineRight, 18, "now")
	last := timelineRight
	for _, tick := range timelineTicks {
		if x := at(now.Add(-tick.age)); tick.age < oldest && last-x >= timelineTick {
			f.path("l0", "M%s 28V%s", x, bottom-4)
			f.text("m", x, 18, tick.text)
			last = x
		}
	}
	y := timelineTop
	for _, l := range lanes {
		if l.Images > 0 {
			f.lane(l, y, at)
			y += timelineLane
		}
	}
	return f
}

// lane draws one lane of a timeline.
func (f *figure) lane(l ecrintypes.LifecycleLane, y float64, at func(time.Time) float64) {
	title, words := l.Rule, l.Keeps
	if l.Description != "" {
		title += " " + l.Description
	}
	if l.Selects != "" {
		words = l.Selects + ": " + l.Keeps
	}
	if l.Rule == "" {
		title, words = "no rule", "stays"
	}
	f.text("b", 0, y+20, clipped(title, 24))
	f.text("", 0, y+36, clipped(words, 30))
	f.path("l0", "M%s %sH%s", timelineLeft, y+50, timelineRight)
	if cut := timeOf(l.CutAt); !cut.IsZero() {
		if x := at(cut); x > timelineLeft {
			f.rect("fbadw", timelineLeft, y, x-timelineLeft, timelineInside, "")
			f.path("lbad", "M%s %sv%s", x, y, timelineInside)
		}
	}
	for i, m := range l.Marks {
		x, cy := at(m.ImagePushedAt.Time), y+[]float64{12, 24, 36, 18, 30}[i%5]
		switch m.Fate {
		case ecrintypes.LifecycleFateGOES:
			f.path("lbad", "M%s %sl6.4 6.4m0-6.4l-6.4 6.4", x-3.2, cy-3.2)
		case ecrintypes.LifecycleFateHELD:
			f.circle("fok", x, cy, 3.5)
			f.circle("lok", x, cy, 6.5)
		default:
			f.circle("f1", x, cy, 3.5)
		}
	}
	most := int32(0)
	for _, b := range l.Bins {
		most = max(most, b.StayingImages+b.GoingImages+b.HeldImages)
	}
	for _, b := range l.Bins {
		all := b.StayingImages + b.GoingImages + b.HeldImages
		left, right := at(b.StartTime.Time), at(b.EndTime.Time)
		height := 4 + (timelineInside-6)*math.Log1p(float64(all))/math.Log1p(float64(most))
		foot := y + 50
		for _, part := range []struct {
			class string
			n     int32
		}{{"f1", b.StayingImages}, {"fok", b.HeldImages}, {"fbad", b.GoingImages}} {
			if part.n == 0 {
				continue
			}
			h := height * float64(part.n) / float64(all)
			foot -= h
			f.rect(part.class, left+1, foot, max(right-left-2, 1), h, fmt.Sprintf("%s: %d stay, %d go, %d are held", many(int64(all), "image",
				"images"), b.StayingImages, b.GoingImages, b.HeldImages))
		}
	}
}
