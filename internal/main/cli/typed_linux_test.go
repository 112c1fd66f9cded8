package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// typing returns a terminal at which a text has been typed.
func typing(t *testing.T, text string) *os.File {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() {
		_ = s.Close() // nothing is kept there
		_ = m.Close()
	})
	if _, err := io.WriteString(m, text); err != nil {
		t.Fatal(err)
	}
	return s
}

// C15: at a terminal an integration is deleted only if DELETE is typed, or with --yes.
func TestC15DeletingAnIntegrationAsksAtATerminal(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	at := func(in io.Reader, args ...string) (int, string) {
		t.Helper()
		var out bytes.Buffer
		code := cli.Run(t.Context(), cli.Env{Args: append(args, "--data", s.Dir), In: in, Out: &out, Err: &out,
			Lookup: func(string) (string, bool) { return "", false }})
		return code, out.String()
	}
	for _, label := range []string{"a", "b", "c"} {
		if code, out := at(strings.NewReader(""), "integration", "add", label, "--kind", "oci", "--registry-host", "mirror.invalid"); code != 0 {
			t.Fatalf("integration add: got %d: %s", code, out)
		}
	}
	if code, out := at(typing(t, "yes\n"), "integration", "delete", "a"); code != 1 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("another word: got %d: %s, want a refusal", code, out)
	}
	if code, out := at(typing(t, "DELETE\n"), "integration", "delete", "a"); code != 0 || !strings.Contains(out, "Type DELETE") {
		t.Errorf("DELETE: got %d: %s, want the deletion after a question", code, out)
	}
	if code, out := at(typing(t, ""), "integration", "delete", "b", "--yes"); code != 0 || strings.Contains(out, "Type DELETE") {
		t.Errorf("--yes: got %d: %s, want the deletion without a question", code, out)
	}
	if code, out := at(strings.NewReader(""), "integration", "delete", "c"); code != 0 {
		t.Errorf("without a terminal: got %d: %s, want the deletion", code, out)
	}
	if _, out := at(strings.NewReader(""), "integration", "list"); !strings.Contains(out, "there are no integrations") {
		t.Errorf("after all: got %s, want none", out)
	}
}
