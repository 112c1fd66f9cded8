package console

import (
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// whoOf returns principals in words.
func whoOf(all policy.Principals) (words []string) {
	for p := range all.All() {
		switch p.Kind {
		case policy.Anyone:
			words = append(words, "everyone")
		case policy.Account:
			words = append(words, "every principal of account "+p.Account.String())
		case policy.Customer:
			words = append(words, "customer "+p.Name)
		case policy.Service, policy.Federated:
			words = append(words, p.Text)
		default:
			words = append(words, principalIn("", p.Text))
		}
	}
	return words
}

// whenOf returns a condition in words: "aws:SourceIp NotIpAddress 10.0.0.0/8".
func whenOf(c policy.Condition) string {
	var all []string
	for _, k := range c.Keys {
		var values []string
		for _, v := range k.Values {
			values = append(values, v.Text)
		}
		all = append(all, fmt.Sprintf("%s %s %s", k.Key, c.Operator.Text, strings.Join(values, " or ")))
	}
	return strings.Join(all, " and ")
}
