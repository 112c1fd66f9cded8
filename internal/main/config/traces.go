package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Traces holds the settings of OpenTelemetry.
type Traces struct {
	// URL is where a collector takes spans by OTLP/HTTP, such as http://localhost:4318; without a path it gets /v1/traces. The server sends
	// a span of each request and of each attempt of a job. Default none: nothing is sent.
	URL string `yaml:"url"`
	// Headers are sent to the collector, NAME=VALUE joined by commas; %XX in a value is one byte, as in OTEL_EXPORTER_OTLP_HEADERS. They are
	// a secret: set them in the file or the environment rather than on the command line. Default none.
	Headers secret.String `yaml:"headers"`
	// Ratio of the traces that are sent, from 0 to 1. A trusted proxy decides for the traces that it begins. Default 1.
	Ratio float64 `yaml:"ratio"`
}

// settings returns the fields of t that the environment and flags can set.
func (t *Traces) settings() []Setting {
	return []Setting{
		{"traces", "ECRIN_TRACES", "`URL` of a collector of OpenTelemetry that takes spans by OTLP/HTTP, such as http://localhost:4318",
			t.URL, "", func(s string) error { t.URL = s; return nil }},
		{"traces-headers", "ECRIN_TRACES_HEADERS", "secret `headers` for the collector, NAME=VALUE, joined by commas", "", "",
			func(s string) error { t.Headers = secret.New(s); return nil }},
		{"traces-ratio", "ECRIN_TRACES_RATIO", "`ratio` of the traces that are sent, from 0 to 1", strconv.FormatFloat(t.Ratio, 'g', -1, 64), "",
			func(s string) (err error) {
				if t.Ratio, err = strconv.ParseFloat(s, 64); err != nil {
					return fmt.Errorf("want a number from 0 to 1, got %q", s)
				}
				return nil
			}},
	}
}

// Endpoint returns the address to which spans are posted, "" for none. The URL must have been checked.
func (t Traces) Endpoint() string {
	if u, err := url.Parse(t.URL); err == nil && t.URL != "" && (u.Path == "" || u.Path == "/") {
		return strings.TrimSuffix(t.URL, "/") + "/v1/traces"
	}
	return t.URL
}

// check returns the headers.
//
// Errors: all invalid values, joined, without the values of headers and what a URL has of secrets.
func (t Traces) check() (map[string]string, error) {
	var errs []error
	if u, err := url.Parse(t.URL); t.URL != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		// the value may contain a password
		errs = append(errs, errors.New("url: want http://HOST:PORT or https://HOST:PORT, perhaps with a path; passwords belong into headers"))
	}
	if !(t.Ratio >= 0 && t.Ratio <= 1) { // so that it is not NaN either
		errs = append(errs, fmt.Errorf("ratio: want a number from 0 to 1, got %v", t.Ratio))
	}
	var all map[string]string
	for _, one := range strings.Split(t.Headers.Reveal(), ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		name, value, found := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || name == "" || strings.ContainsFunc(name, notOfName) || strings.ContainsFunc(value, notOfValue) {
			errs = append(errs, errors.New("headers: want NAME=VALUE joined by commas")) // the value is a secret
			break
		}
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	return all, errors.Join(errs...)
}

// notOfName reports whether a rune cannot be in the name of a header.
func notOfName(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// notOfValue reports whether a rune cannot be in the value of a header.
func notOfValue(r rune) bool { return r < ' ' || r > '~' }
