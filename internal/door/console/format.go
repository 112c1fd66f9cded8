package console

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
)

// maxShown is how many characters of a text that others wrote are shown at once.
const maxShown = 256

// shown returns a text that others wrote as a page shows it: characters that are not seen, that turn the direction or that end a line have
// their numbers in their place, and after 256 characters the text is cut.
func shown(text string) string {
	var b strings.Builder
	n := 0
	for _, c := range text {
		if n++; n > maxShown {
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

// size returns a number of bytes in decimal units, with three figures.
func size(n int64) string {
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

// count returns a number with commas, above a million with three figures.
func count(n int64) string {
	switch {
	case n < 0:
		return "-" + count(-n)
	case n >= 1_000_000_000:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1_000_000:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return strconv.FormatInt(n, 10)
}

// many returns a number and a word in the right form, such as "1 tag" or "2 tags".
func many(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + more
}

// span returns a duration in the largest unit that it has: seconds, minutes, hours, days up to 99, years.
func span(d time.Duration) string {
	days := int(d / (24 * time.Hour))
	switch {
	case d < 0:
		return span(-d)
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

// digest12 returns the first twelve hexadecimal digits of a digest.
func digest12(digest string) string {
	_, hex, found := strings.Cut(digest, ":")
	if !found {
		hex = digest
	}
	return hex[:min(12, len(hex))]
}

// principalIn returns how a principal is shown on pages of an account: without it if it is its own.
func principalIn(account, arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return arn
	}
	text := parts[5]
	if role, ok := strings.CutPrefix(text, "assumed-role/"); ok {
		text = "role/" + role
	}
	if parts[4] != account && parts[4] != "" {
		text = parts[4] + " " + text
	}
	return text
}

// values returns pairs as a query.
func values(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

// timeOf returns a moment of an answer; zero for none.
func timeOf(t *awswire.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// sizeOf returns a size of an answer; 0 for none.
func sizeOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// lower returns a word of an API, such as QUEUED, as pages write it.
func lower(word string) string { return strings.ToLower(strings.ReplaceAll(word, "_", " ")) }

// capital returns a text with a capital letter at its beginning.
func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
