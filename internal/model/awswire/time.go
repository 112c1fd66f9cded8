package awswire

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Time is a timestamp in milliseconds. JSON has it as seconds since 1970 with a fraction, XML as ISO 8601 in UTC.
type Time struct{ time.Time }

// At returns t as a member; nil if t is zero, so that an unknown time is absent.
func At(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return &Time{t}
}

const isoFormat = "2006-01-02T15:04:05.000Z"

// The range of times whose year has four digits in ISO 8601.
var (
	firstSecond = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	endSecond   = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// MarshalJSON writes seconds with three decimals, such as 1563223656.123.
func (t Time) MarshalJSON() ([]byte, error) { return t.appendJSON(nil), nil }

func (t Time) appendJSON(b []byte) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	return append(b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
}

// UnmarshalJSON reads a number of seconds.
func (t *Time) UnmarshalJSON(b []byte) error {
	got, err := parseEpoch(string(b))
	if err != nil {
		return err
	}
	*t = got
	return nil
}

// parseEpoch reads seconds since 1970, with a fraction or an exponent, and rounds to milliseconds.
func parseEpoch(s string) (Time, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= float64(firstSecond) && f < float64(endSecond)) {
		return Time{}, fmt.Errorf("not a number of seconds since 1970 in the years 1 to 9999")
	}
	return Time{time.UnixMilli(int64(math.Round(f * 1000))).UTC()}, nil
}

// parseISO reads ISO 8601 with a zone.
func parseISO(s string) (Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Time{}, fmt.Errorf("not a time such as 2026-01-02T03:04:05Z")
	}
	return Time{t.UTC().Truncate(time.Millisecond)}, nil
}
