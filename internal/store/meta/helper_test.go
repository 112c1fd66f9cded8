package meta_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// helperEnv is the variable with the role of a child process; helperDir is the variable with the directory of its
// store.
const (
	helperEnv = "META_TEST_HELPER"
	helperDir = "META_TEST_DIR"
)

// helpers are the roles of child processes.
var helpers = map[string]func(dir string){"open": openHelper}

func TestMain(m *testing.M) {
	if role := os.Getenv(helperEnv); role != "" {
		helpers[role](os.Getenv(helperDir))
		return
	}
	os.Exit(m.Run())
}

// helper returns the command that runs this test binary as a child in the given role.
func helper(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+role, helperDir+"="+dir)
	return cmd
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func openHelper(dir string) {
	if _, err := meta.OpenSQLite(context.Background(), dir, time.Now); err != nil {
		fatal(err)
	}
}

func mustRepo(t *testing.T, s string) name.Repo {
	t.Helper()
	n, err := name.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
