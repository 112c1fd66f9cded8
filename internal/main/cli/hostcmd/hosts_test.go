package hostcmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// hostLines returns the lines of a block for names, without the marks.
func hostLines(address string, names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(address + "\t" + n + "\n")
	}
	return b.String()
}

// inner returns the lines between the marks.
func inner(t *testing.T, block string) string {
	t.Helper()
	lines := strings.SplitAfter(block, "\n")
	if len(lines) < 4 || !strings.HasPrefix(lines[0], "# begin of ecrin") || lines[len(lines)-2] != "# end of ecrin\n" {
		t.Fatalf("got %q, want a block between two marks", block)
	}
	return strings.Join(lines[1:len(lines)-2], "")
}

// Without flags, the block has the names of every account and region in use, under the domain of AWS and the server's own.
func TestHostsInUse(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.DataDir = t.TempDir()
	m.inUse = []name.Registry{
		{Account: name.MustAccount("111111111111"), Region: name.MustRegion("eu-west-1")},
		{Account: name.MustAccount("222222222222"), Region: name.MustRegion("eu-west-1")},
		{Account: name.MustAccount("222222222222"), Region: name.MustRegion("us-east-1")},
	}
	out, _ := m.must("hosts")
	want := hostLines("127.0.0.1", "111111111111.dkr.ecr.eu-west-1.amazonaws.com", "222222222222.dkr.ecr.eu-west-1.amazonaws.com",
		"api.ecr.eu-west-1.amazonaws.com", "ecr.eu-west-1.amazonaws.com", "222222222222.dkr.ecr.us-east-1.amazonaws.com",
		"api.ecr.us-east-1.amazonaws.com", "ecr.us-east-1.amazonaws.com",
		"111111111111.dkr.ecr.eu-west-1.ecr.test", "222222222222.dkr.ecr.eu-west-1.ecr.test", "api.ecr.eu-west-1.ecr.test",
		"ecr.eu-west-1.ecr.test", "222222222222.dkr.ecr.us-east-1.ecr.test", "api.ecr.us-east-1.ecr.test", "ecr.us-east-1.ecr.test")
	if diff := cmp.Diff(want, inner(t, out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.server.URL = "https://localhost"
	if out, _ := m.must("hosts", "--account", "111111111111,111111111111"); inner(t, out) == "" || strings.Count(out, "\n") != 14 ||
		!strings.Contains(out, "127.0.0.1\t") {
		t.Errorf("an account that is named twice, of a server at localhost: got\n%s", out)
	}
	out, _ = m.must("hosts", "--account", "333333333333", "--domain", "amazonaws.com", "--address", "10.0.0.7", "--json")
	var got struct {
		Address string
		Names   []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Address != "10.0.0.7" || len(got.Names) != 6 ||
		strings.Contains(out, "222222222222") || strings.Contains(out, "sts") || strings.Contains(out, "iam") {
		t.Errorf("--json gives (%v)\n%s", err, out)
	}
}

// Who is led to the server for a name without a certificate learns it, with the setting.
func TestHostsWithoutACertificate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.Regions = []string{"eu-west-1"}
	public := newMachine(t)
	public.server.CAPath = "" // certificates of a public CA, or none
	if _, errs := public.must("hosts", "--region", "us-east-1"); errs != "" {
		t.Errorf("for a server without a private CA it says %q, want nothing", errs)
	}
	if _, errs := m.must("hosts"); errs != "" {
		t.Errorf("for the regions of the configuration it says %q, want nothing", errs)
	}
	for _, tc := range []struct{ flag, value, want string }{
		{"--region", "us-east-1", "111111111111.dkr.ecr.us-east-1.amazonaws.com; to serve it, add the region to tls.regions: --tls-regions eu-west-1,us-east-1"},
		{"--with-iam-sts", "", "sts.eu-west-1.amazonaws.com; to serve it, set tls.iam_sts: --tls-iam-sts"},
	} {
		args := []string{"hosts", tc.flag}
		if tc.value != "" {
			args = append(args, tc.value)
		}
		if _, errs := m.must(args...); !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: it says %q, want one line with %q", args, errs, tc.want)
		}
	}
}

// With account, region and address no server is needed; the names of IAM and STS come when asked for.
func TestHostsWithoutAServer(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.err = errors.New("no server here")
	out, _ := m.must("hosts", "--account", "222222222222", "--region", "cn-north-1", "--with-iam-sts", "--url", "https://192.0.2.7:443")
	want := hostLines("192.0.2.7", "222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn",
		"ecr.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn", "sts.amazonaws.com.cn", "iam.amazonaws.com.cn")
	if diff := cmp.Diff(want, inner(t, out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, args := range [][]string{
		{}, {"--account", "222222222222"}, {"--account", "1", "--region", "eu-west-1", "--address", "::1"},
		{"--account", "222222222222", "--region", "x", "--address", "::1"},
		{"--account", "222222222222", "--region", "eu-west-1", "--address", "reg.test"},
		{"--account", "222222222222", "--region", "eu-west-1", "--address", "::1", "--domain", "a b"},
		{"--account", "222222222222", "--region", "eu-west-1", "--address", "::1", "file"},
		{"--write", "--remove"}, {"--write", "a", "b"},
	} {
		if out, _, err := m.run(append([]string{"hosts"}, args...)...); err == nil {
			t.Errorf("ecrin hosts %v: got %s, want an error", args, out)
		}
	}
}

// --write is idempotent, leaves all other lines, and is undone by --remove.
func TestHostsWriteAndRemove(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	file := filepath.Join(t.TempDir(), "hosts")
	const before = "127.0.0.1 localhost\n203.0.113.9 ecr.eu-west-1.ecr.test # old\n"
	if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		t.Helper()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	block, _ := m.must("hosts")
	out, errs := m.must("hosts", "--write", file)
	if out != "" || !strings.Contains(errs, "wrote 6 names to "+file) || !strings.Contains(errs, "203.0.113.9") || read() != before+block {
		t.Errorf("--write says %q and %q, and the file is\n%s", out, errs, read())
	}
	if _, errs := m.must("hosts", "--write", file); !strings.Contains(errs, "nothing to change") || read() != before+block {
		t.Errorf("--write again says %q, and the file is\n%s", errs, read())
	}
	m.must("hosts", "--write", file, "--account", "222222222222")
	if got := read(); strings.Contains(got, "111111111111") || !strings.Contains(got, "222222222222") || strings.Count(got, "# begin") != 1 {
		t.Errorf("--write with another account: the file is\n%s", got)
	}
	m.err = errors.New("no server here")
	m.must("hosts", "--remove", file)
	if _, errs := m.must("hosts", "--remove", file); !strings.Contains(errs, "nothing to change") || read() != before {
		t.Errorf("--remove twice says %q, and the file is\n%s", errs, read())
	}
}
