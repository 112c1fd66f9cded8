package config_test

import (
	"math"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

func TestTraces(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"": "", "http://localhost:4318": "http://localhost:4318/v1/traces", "http://localhost:4318/": "http://localhost:4318/v1/traces",
		"https://c.example.com/otlp/v1/traces": "https://c.example.com/otlp/v1/traces",
	} {
		c := config.Default()
		if c.Traces.URL = url; c.Traces.Endpoint() != want {
			t.Errorf("%q: got %q, want %q", url, c.Traces.Endpoint(), want)
		}
		if _, err := c.Check(); err != nil {
			t.Errorf("%q: got %v, want no error", url, err)
		}
	}
	for what, traces := range map[string]config.Traces{
		"url: want":   {URL: "localhost:4318"},
		"url: want ":  {URL: "grpc://localhost:4317"},
		"url: want h": {URL: "https://user:canary@c.example.com"},
		"belong into": {URL: "https://c.example.com/?key=canary"},
		"ratio: want": {Ratio: 1.5}, "ratio: want ": {Ratio: -1}, "ratio: want a": {Ratio: math.NaN()},
		"headers: want": {Headers: secret.New("canary")}, "headers: want N": {Headers: secret.New("a=b,a b=canary")},
		"headers: want NAME": {Headers: secret.New("a=canary%0Ab")}, "headers: want NAME=": {Headers: secret.New("a=canary%zz")},
	} {
		c := config.Default()
		c.Traces = traces
		if _, err := c.Check(); err == nil || !strings.Contains(err.Error(), "traces: "+what) && !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v, want an error with these words", what, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error has a secret: %v", err)
		}
	}
}
