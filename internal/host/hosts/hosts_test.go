package hosts_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/host/hosts"
)

var addr = netip.MustParseAddr("192.0.2.10")

func block(t *testing.T, names ...string) string {
	t.Helper()
	b, err := hosts.Block(addr, names)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlockIsReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	one, two := block(t, "a.test", "b.test"), block(t, "c.test")
	for _, old := range []string{"", "127.0.0.1 localhost\n", "127.0.0.1 localhost", "# a comment\n\n::1 ip6-localhost\r\n"} {
		first, err := hosts.With([]byte(old), one)
		if err != nil || !strings.HasPrefix(string(first), old) || !strings.HasSuffix(string(first), one) {
			t.Errorf("With(%q): got %q, %v, want it and the block", old, first, err)
		}
		if again, err := hosts.With(first, one); err != nil || string(again) != string(first) {
			t.Errorf("With twice: got %q, %v, want %q", again, err, first)
		}
		more := append(first, "192.0.2.1 later.test\n"...)
		second, err := hosts.With(more, two)
		if err != nil || strings.Contains(string(second), "a.test") || !strings.HasSuffix(string(second), two+"192.0.2.1 later.test\n") {
			t.Errorf("With another block: got %q, %v, want it in the place of the first", second, err)
		}
		removed, err := hosts.With(second, "")
		want := strings.TrimSuffix(old, "\n") + "\n192.0.2.1 later.test\n"
		if err != nil || strings.TrimPrefix(string(removed), "\n") != strings.TrimPrefix(want, "\n") {
			t.Errorf("With no block: got %q, %v, want %q", removed, err, want)
		}
	}
	for name, broken := range map[string]string{
		"no end":     strings.Split(one, "\n")[0] + "\n1.2.3.4 x\n",
		"no begin":   "1.2.3.4 x\n# end of ecrin\n",
		"two blocks": one + two,
	} {
		if got, err := hosts.With([]byte(broken), two); err == nil {
			t.Errorf("%s: got %q, want an error: other lines could be lost", name, got)
		}
	}
}

func TestBlockRefusesWhatIsNoName(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"", "a b", "a\n1.2.3.4 b", "a#", "A.test", ".a", "a.", "a..b", strings.Repeat("a", 254), "é"} {
		if got, err := hosts.Block(addr, []string{"ok.test", n}); err == nil {
			t.Errorf("Block(%q): got %q, want an error", n, got)
		}
	}
	if _, err := hosts.Block(addr, nil); err == nil {
		t.Error("no names: got no error")
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	file := "127.0.0.1 localhost\n203.0.113.1 x.test A.test # old\n# 203.0.113.1 b.test\n192.0.2.10 b.test\n" + block(t, "a.test", "b.test")
	got := hosts.Elsewhere([]byte(file), addr, []string{"a.test", "b.test"})
	if len(got) != 1 || got[0] != "203.0.113.1 x.test A.test # old" {
		t.Errorf("got %q, want the line of the old address", got)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real"), filepath.Join(dir, "hosts")
	if err := os.WriteFile(real, []byte("127.0.0.1 localhost\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		block   string
		changed bool
		want    string
	}{
		{block(t, "a.test"), true, "127.0.0.1 localhost\n" + block(t, "a.test")},
		{block(t, "a.test"), false, "127.0.0.1 localhost\n" + block(t, "a.test")},
		{"", true, "127.0.0.1 localhost\n"}, {"", false, "127.0.0.1 localhost\n"},
	} {
		changed, err := hosts.Update(path, tc.block)
		got, _ := os.ReadFile(real)
		if err != nil || changed != tc.changed || string(got) != tc.want {
			t.Errorf("update %d: got %v, %v, %q, want %v, %q", i, changed, err, got, tc.changed, tc.want)
		}
	}
	info, err := os.Stat(real)
	if link, err2 := os.Lstat(path); err != nil || err2 != nil || info.Mode().Perm() != 0o640 || link.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the mode or the link was lost: %v %v %v", info, err, err2)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("files were left behind: %v", entries)
	}
	if changed, err := hosts.Update(filepath.Join(dir, "none"), ""); changed || err != nil {
		t.Errorf("removing from a missing file: got %v, %v", changed, err)
	}
	if _, err := hosts.Update(dir, block(t, "a.test")); err == nil {
		t.Error("a directory: got no error")
	}
}

func FuzzWith(f *testing.F) {
	b, err := hosts.Block(addr, []string{"a.test"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "127.0.0.1 localhost\n", b, b + "x", "# end of ecrin\n", "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		with, err := hosts.With([]byte(file), b)
		if err != nil {
			return
		}
		if again, err := hosts.With(with, b); err != nil || string(again) != string(with) {
			t.Errorf("With twice: got %q, %v, want %q", again, err, with)
		}
		without, err := hosts.With(with, "")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := hosts.With([]byte(file), "")
		if err != nil || strings.TrimRight(string(plain), "\n") != strings.TrimRight(string(without), "\n") {
			t.Errorf("removed: got %q, %v, want %q", without, err, plain)
		}
	})
}

// An address is written as it is, so that it must not have a zone: a zone can have any characters, also the end of a line.
func TestBlockRefusesZones(t *testing.T) {
	t.Parallel()
	for _, a := range []netip.Addr{
		{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::1%x\n192.0.2.1 bank.example #"),
		netip.MustParseAddr("::ffff:192.0.2.1").WithZone("x"),
	} {
		if got, err := hosts.Block(a, []string{"ok.test"}); err == nil {
			t.Errorf("Block(%q): got %q, want an error", a, got)
		} else if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("Block(%q): the error has a line end: %q", a, err)
		}
	}
	got, err := hosts.Block(netip.MustParseAddr("fe80::1"), []string{"ok.test"})
	if err != nil || !strings.Contains(got, "\nfe80::1\tok.test\n") {
		t.Errorf("an address without a zone: got %q, %v", got, err)
	}
}
