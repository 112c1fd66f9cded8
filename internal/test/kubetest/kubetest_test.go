package kubetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Programs of a test that is killed end, although no cleanup runs. The test starts itself as the one that is killed.
func TestKilledTestLeavesNothing(t *testing.T) {
	const variable = "KUBETEST_PIDFILE"
	if file := os.Getenv(variable); file != "" {
		c := &Cluster{t: t, Dir: t.TempDir()}
		p := c.start("sleep", nil, "sleep", "600")
		if err := os.WriteFile(file+".new", []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		<-p.done
		return
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilledTestLeavesNothing$")
	victim.Env = append(os.Environ(), variable+"="+file)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(30 * time.Second)
	wait := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			if time.Now().After(limit) {
				t.Fatalf("%s within 30 s: no", what)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	var pid int
	wait("the program starts", func() bool {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the program does not run: %v", err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it is killed
	wait("the program ends", func() bool {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ") // a zombie waits for its new parent
	})
}
