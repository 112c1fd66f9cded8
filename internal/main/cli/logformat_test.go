package cli_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// The log has readable lines on a terminal and JSON elsewhere, unless the format is given.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, c := range []struct {
		to     io.Writer
		format string
		json   bool
	}{
		{io.Discard, "auto", true}, {device, "auto", false}, {io.Discard, "text", false}, {device, "json", true},
	} {
		if _, got := cli.LogHandler(c.to, c.to, c.format, slog.LevelInfo).(*slog.JSONHandler); got != c.json {
			t.Errorf("format %s to %T: got JSON %t, want %t", c.format, c.to, got, c.json)
		}
	}
	var out bytes.Buffer
	log := slog.New(cli.LogHandler(&out, &out, "text", slog.LevelInfo))
	log.Debug("hidden")
	log.Info("request", "path", "/v2/\x1b[31m", "status", 200)
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, ` level=INFO msg=request path="/v2/\x1b[31m" status=200`) {
		t.Errorf("a line of text: got %q", got)
	}
}
