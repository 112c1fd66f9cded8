package ociapi

import (
	"math"
	"strconv"
	"strings"
)

// maxRanges is the maximum number of ranges of one request; a request with more receives the whole blob.
const maxRanges = 100

// byteRanges returns the value of a header Range in the form that package http understands, for content of size bytes. The
// result is "" if the header must be ignored: another unit than bytes, invalid ranges, too many of them, or no content.
// Ranges that the content does not have are left out, unless it has none of the ranges.
//
// Source: RFC 9110, sections 14.1.2 and 14.2. A server may ignore the header whenever it likes.
func byteRanges(value string, size int64) string {
	unit, set, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") || size == 0 {
		return ""
	}
	var there []string
	n := 0
	for one := range strings.SplitSeq(set, ",") {
		if one = strings.Trim(one, " \t"); one == "" {
			continue
		}
		if n++; n > maxRanges {
			return ""
		}
		first, last, ok := strings.Cut(one, "-")
		if !ok {
			return ""
		}
		switch from, to, ok := positions(first, last, size); {
		case !ok:
			return ""
		case from <= to:
			there = append(there, strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(to, 10))
		}
	}
	switch {
	case n == 0:
		return ""
	case there == nil:
		return "bytes=" + strconv.FormatInt(size, 10) + "-"
	}
	return "bytes=" + strings.Join(there, ",")
}

// positions returns the first and the last position of a range in content of size bytes; from is greater than to if the
// content does not have the range. ok is false for an invalid range.
func positions(first, last string, size int64) (from, to int64, ok bool) {
	if first == "" { // the last bytes
		length, ok := position(last)
		return max(size-length, 0), size - 1, ok
	}
	if from, ok = position(first); !ok {
		return 0, 0, false
	}
	if last == "" {
		return from, size - 1, true
	}
	to, ok = position(last)
	return from, min(to, size-1), ok && from <= to
}

// position parses a decimal number. A number that an int64 cannot hold is the largest int64: no content is as large.
func position(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}
