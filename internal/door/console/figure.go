package console

import (
	"fmt"
	"strconv"
)

// figure is a picture of shapes with classes, for inline SVG: the style sheet has the colours.
type figure struct {
	Name        string // of the part around it, which scrolls
	Title, Desc string
	ID          string // of title and description
	Latest      bool   // its end is of now, and is seen first where it does not fit
	Width       int
	Height      int
	Rects       []figureRect
	Paths       []figurePath
	Circles     []figureCircle
	Texts       []figureText
}

// The shapes of a figure, with their numbers as SVG has them.
type (
	figureRect   struct{ Class, X, Y, W, H, Title string }
	figurePath   struct{ Class, D string }
	figureCircle struct{ Class, X, Y, R string }
	figureText   struct{ Class, X, Y, Text string }
)

// number returns a number with at most one decimal.
func number(v float64) string {
	text := strconv.FormatFloat(v, 'f', 1, 64)
	if len(text) > 2 && text[len(text)-2:] == ".0" {
		return text[:len(text)-2]
	}
	return text
}

func (f *figure) rect(class string, x, y, w, h float64, title string) {
	f.Rects = append(f.Rects, figureRect{class, number(x), number(y), number(w), number(h), title})
}

func (f *figure) path(class, format string, at ...float64) {
	all := make([]any, len(at))
	for i, v := range at {
		all[i] = number(v)
	}
	f.Paths = append(f.Paths, figurePath{class, fmt.Sprintf(format, all...)})
}

func (f *figure) circle(class string, x, y, r float64) {
	f.Circles = append(f.Circles, figureCircle{class, number(x), number(y), number(r)})
}

func (f *figure) text(class string, x, y float64, text string) {
	f.Texts = append(f.Texts, figureText{class, number(x), number(y), text})
}

// clipped returns a text of others for a picture: its first characters.
func clipped(text string, most int) string {
	all := []rune(shown(text))
	if len(all) > most {
		return string(all[:most-1]) + "…"
	}
	return string(all)
}
