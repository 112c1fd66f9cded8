package apply

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxDiff is the product of the numbers of lines up to which Diff looks for common lines.
const maxDiff = 4_000_000

// Diff compares two documents of JSON by lines. A line of the result begins with "- " for one of the first document alone, "+ " for one
// of the second alone, and "  " for one of both.
func Diff(before, after string) []string {
	a, b := lines(before), lines(after)
	var out []string
	if len(a)*len(b) > maxDiff {
		for _, l := range a {
			out = append(out, "- "+l)
		}
		for _, l := range b {
			out = append(out, "+ "+l)
		}
		return out
	}
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}

// lines returns the lines of a document, indented.
func lines(text string) []string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return strings.Split(text, "\n")
	}
	return strings.Split(b.String(), "\n")
}
