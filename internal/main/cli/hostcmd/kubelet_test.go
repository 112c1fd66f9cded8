package hostcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The kubelet is found by its name, and its arguments are read as they are.
func TestRunningKubelet(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, line := range map[string]string{"1": "/sbin/init\x00", "7": "/usr/bin/kubelet\x00--a=b\x00--c\x00d\x00"} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := runningKubelet(proc); err != nil || !slices.Equal(got, []string{"--a=b", "--c", "d"}) {
		t.Errorf("got %q and %v, want the arguments", got, err)
	}
	if got, err := runningKubelet(t.TempDir()); err == nil {
		t.Errorf("without a kubelet: got %q, want an error", got)
	}
}

// A problem is a failed check with its fix, also as JSON, and the command fails.
func TestDoctorKubelet(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	cmd := NewDoctorCommand(Options{Out: &out, Err: &errs})
	cmd.SetArgs([]string{"kubelet", "--config", filepath.Join(t.TempDir(), "none"), "--json"})
	err := cmd.ExecuteContext(t.Context())
	var got struct {
		OK     bool
		Checks []struct{ Name, Status, Fix string }
	}
	if !errors.Is(err, ErrUnhealthy) || json.Unmarshal(out.Bytes(), &got) != nil || got.OK || len(got.Checks) != 2 ||
		got.Checks[0].Name != "flags" || got.Checks[0].Status != "fail" || got.Checks[0].Fix == "" {
		t.Errorf("got %v and %s, want a failed check of the flags", err, out.String())
	}
}
