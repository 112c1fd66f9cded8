package look

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxShown = 256  // characters of a text that others wrote that are shown at once
	maxTold  = 2048 // of a text that tells what was wrong, or why
)

// Shown returns a text that others wrote as a page shows it: characters that are not seen, that turn the direction or that end a line have
// their numbers in their place, and after 256 characters the text is cut.
func Shown(text string) string { return shownTo(text, maxShown) }

// Told is Shown for the text of an error, or of a decision, whose end says as much as its beginning.
func Told(text string) string { return shownTo(text, maxTold) }

func shownTo(text string, most int) string {
	var b strings.Builder
	n := 0
	for _, c := range text {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if hidden(c) {
			fmt.Fprintf(&b, "U+%04X", c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func hidden(c rune) bool {
	return c == unicode.ReplacementChar || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Zl, c) ||
		unicode.Is(unicode.Zp, c) || unicode.Is(unicode.Co, c) || unicode.Is(unicode.Cs, c) || c == 0x034f || c == 0x115f || c == 0x1160 ||
		c == 0x3164 || c == 0xffa0
}

// Size returns a number of bytes in decimal units, with three figures.
func Size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 999.5 || unit == "PB" {
			switch {
			case v < 9.995:
				return fmt.Sprintf("%.2f %s", v, unit)
			case v < 99.95:
				return fmt.Sprintf("%.1f %s", v, unit)
			}
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return ""
}

// Count returns a number with commas, above a million with three figures.
func Count(n int64) string {
	switch {
	case n < 0:
		return "-" + Count(-n)
	case n >= 1_000_000_000:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1_000_000:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return strconv.FormatInt(n, 10)
}

// Many returns a number and a word in the right form, such as "1 tag" or "2 tags".
func Many(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + more
}

// Span returns a duration in the largest unit that it has: seconds, minutes, hours, days up to 99, years.
func Span(d time.Duration) string {
	days := int(d / (24 * time.Hour))
	switch {
	case d < 0:
		return Span(-d)
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	case days <= 99:
		return fmt.Sprintf("%d d", days)
	}
	return fmt.Sprintf("%.1f y", float64(days)/365)
}

// Digest12 returns the first twelve hexadecimal digits of a digest.
func Digest12(digest string) string {
	_, hex, found := strings.Cut(digest, ":")
	if !found {
		hex = digest
	}
	return hex[:min(12, len(hex))]
}

// Values returns pairs as a query.
func Values(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

// Lower returns a word of an API, such as QUEUED, as pages write it.
func Lower(word string) string { return strings.ToLower(strings.ReplaceAll(word, "_", " ")) }

// PathOf returns a path of segments, each of which may have any characters. Slashes in names of repositories stay.
func PathOf(segments ...string) string {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		parts := strings.Split(s, "/")
		for j, p := range parts {
			if j > 0 {
				b.WriteByte('/')
			}
			b.WriteString(url.PathEscape(p))
		}
	}
	return b.String()
}

// Visible returns a text of others as Shown does, uncut, with its tabs and ends of lines.
func Visible(text string) string {
	if !strings.ContainsFunc(text, Unseen) {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		if Unseen(c) {
			fmt.Fprintf(&b, "U+%04X", c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Unseen reports whether Visible shows the number of a character in its place.
func Unseen(c rune) bool { return c != '\t' && c != '\n' && hidden(c) }

// Quoted returns a word of a command that people copy to a shell, where it stands for itself, whatever characters it has. It is cut and
// made visible as Shown does it.
func Quoted(word string) string {
	word = Shown(word)
	if word != "" && strings.Trim(word, plainInShell) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// plainInShell are the characters that no shell takes for more than themselves.
const plainInShell = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
