package report

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

const (
	maxMessage = 64 << 10 // bytes
	maxPrefix  = 1 << 10  // bytes
	maxIssues  = 50
)

// IssueKeys returns the keys of issues that a message names, in upper case, each once, in the order of the message or of the prefixes.
//
// A prefix /REGEX/FLAGS finds all matches of a regular expression, with the flags i, m and s; g and u change nothing. A list of prefixes
// with commas finds the first PREFIX-DIGITS of each. Any other prefix finds its first PREFIX-DIGITS. Case does not matter.
// The time is linear in the length of the message. At most 50 keys are returned.
//
// Errors: the prefix is not valid, or one of the texts is too long.
func IssueKeys(message, prefix string) ([]string, error) {
	if len(message) > maxMessage {
		return nil, errors.New("the message has more than 64 KiB")
	}
	if len(prefix) > maxPrefix {
		return nil, errors.New("the prefix of issues has more than 1 KiB")
	}
	var found []string
	if strings.HasPrefix(prefix, "/") {
		end := strings.LastIndexByte(prefix, '/')
		if end == 0 {
			return nil, errors.New("the regular expression of issues must be /REGEX/FLAGS")
		}
		flags := ""
		for _, f := range prefix[end+1:] {
			switch f {
			case 'i', 'm', 's':
				flags += string(f)
			case 'g', 'u':
			default:
				return nil, errors.New("the regular expression of issues has a flag other than g, i, m, s and u")
			}
		}
		pattern := prefix[1:end]
		if flags != "" {
			pattern = "(?" + flags + ")" + pattern
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, errors.New("the regular expression of issues is not valid here: " + err.Error())
		}
		found = re.FindAllString(message, maxIssues*4)
	} else {
		for _, one := range strings.Split(prefix, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			re, err := regexp.Compile(`(?i)` + regexp.QuoteMeta(one) + `-[0-9]+`)
			if err != nil {
				return nil, errors.New("the prefix of issues is not valid")
			}
			if m := re.FindString(message); m != "" {
				found = append(found, m)
			}
		}
	}
	var keys []string
	for _, m := range found {
		if m = strings.ToUpper(strings.TrimSpace(m)); m != "" && len(m) <= 64 && !slices.Contains(keys, m) && len(keys) < maxIssues {
			keys = append(keys, m)
		}
	}
	return keys, nil
}
