package clientconf

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is the first three numbers of a program's version.
type Version [3]int

// ParseVersion returns the first version in the output of a program: digits with at least one dot between them,
// up to three numbers. For "aws-cli/2.13.0 Python/3.11" it is 2.13.0. It returns false if there is no version.
func ParseVersion(answer string) (Version, bool) {
	for i := 0; i < len(answer); i++ {
		if !digit(answer[i]) || i > 0 && (digit(answer[i-1]) || answer[i-1] == '.') {
			continue
		}
		end := i
		for end < len(answer) && (digit(answer[end]) || answer[end] == '.') {
			end++
		}
		numbers := strings.Split(strings.Trim(answer[i:end], "."), ".")
		if len(numbers) < 2 {
			continue
		}
		var v Version
		for n, s := range numbers[:min(3, len(numbers))] {
			number, err := strconv.Atoi(s)
			if err != nil {
				return Version{}, false
			}
			v[n] = number
		}
		return v, true
	}
	return Version{}, false
}

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func digit(c byte) bool { return '0' <= c && c <= '9' }
