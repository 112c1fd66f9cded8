package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// machine walks the commands of a page in a folder that stands for the root folder of a machine.
type machine struct {
	t       *testing.T
	dir     string
	program string // what the unit starts
	server  *exec.Cmd
	lines   []string // that were run
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.program = filepath.Join(m.dir, "usr-bin-ecrin")
	m.install()
	t.Cleanup(func() { m.stop() })
	return m
}

// install puts the program in its place, as a package does, while the old one may run.
func (m *machine) install() {
	m.t.Helper()
	run(m.t, "install", "-m", "755", ecrin(m.t), m.program)
}

// here returns a path or a command with the folders of the machine.
func (m *machine) here(text string) string {
	return regexp.MustCompile(`(^| )/(var/lib|backup)\b`).ReplaceAllString(text, "${1}"+m.dir+"/$2")
}

// start starts the server on a data directory and waits until it is ready.
func (m *machine) start(data string) {
	m.t.Helper()
	_ = os.Remove(filepath.Join(data, "serve.json")) // of an earlier start
	m.server = exec.Command(m.program, "serve", "--data", data, "--listen", "127.0.0.1:0")
	if err := m.server.Start(); err != nil {
		m.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(data, "serve.json")); err == nil {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("the server on %s is not ready after a minute", data)
		}
	}
}

func (m *machine) stop() {
	if m.server == nil {
		return
	}
	_ = m.server.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = m.server.Wait()                          // its exit code is that of the signal
	m.server = nil
}

// walk runs the commands of a section of a page, one after the other: those of systemd and of the package manager by what they do to the
// server, all others as they are written.
func (m *machine) walk(page, section string) {
	m.t.Helper()
	text := string(read(m.t, page))
	if section != "" {
		_, text, _ = strings.Cut(text, "\n"+section+"\n")
		text, _, _ = strings.Cut(text, "\n## ")
	}
	m.walkText(text)
}

func (m *machine) walkText(text string) {
	m.t.Helper()
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "    ")
		command, _, _ = strings.Cut(command, "#")
		if command = strings.TrimSpace(command); !ok || command == "" {
			continue
		}
		m.lines = append(m.lines, command)
		words := strings.Fields(m.here(command))
		switch {
		case command == "systemctl stop ecrin":
			m.stop()
		case command == "systemctl start ecrin":
			m.start(m.here("/var/lib/ecrin"))
		case words[0] == "apt-get":
			m.install()
		case words[0] == "ecrin" && words[1] == "serve":
			m.stop()
			m.start(words[slices.Index(words, "--data")+1])
		case words[0] == "ecrin":
			run(m.t, append([]string{m.program}, words[1:]...)...)
		default:
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Dir = m.dir
			if out, err := cmd.CombinedOutput(); err != nil {
				m.t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
	}
}

// fill starts the server on /var/lib/ecrin and pushes an image.
func (m *machine) fill() ocitest.Image {
	m.t.Helper()
	data := m.here("/var/lib/ecrin")
	if err := os.MkdirAll(data, 0o700); err != nil {
		m.t.Fatal(err)
	}
	m.start(data)
	image := ocitest.NewImage(1, 1000, 2000)
	apptest.Attach(m.t, data).Root(m.t).CreateRepository(m.t, "team/app").Push(m.t, "1.0", image)
	return image
}

// pulls fails the test if the image, by its tag, is not that which was pushed.
func (m *machine) pulls(data string, image ocitest.Image) {
	m.t.Helper()
	repo := apptest.Attach(m.t, m.here(data)).Root(m.t).Docker(m.t).Repo("team/app")
	if got := ocitest.SHA256(repo.Manifest(m.t, "1.0").Body); got != image.Digest {
		m.t.Errorf("the image has the digest %s, want %s", got, image.Digest)
	}
	if err := repo.Verify(m.t.Context(), "1.0"); err != nil {
		m.t.Errorf("pulling the image: %v", err)
	}
}

// TestBackupPage: the commands of the page of backups give an installation back that has been lost, and a new master key.
func TestBackupPage(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	image := m.fill()
	page := string(read(t, "docs/backup.md"))
	first, rest, ok := strings.Cut(page, "To restore:")
	if !ok || !strings.Contains(first, "ecrin backup /backup/ecrin --data /var/lib/ecrin") ||
		!strings.Contains(rest, "## Another master key") {
		t.Fatal("docs/backup.md has another form: this test walks its commands")
	}
	run(t, "cp", m.here("/var/lib/ecrin/master.key"), filepath.Join(m.dir, "master.key")) // "Keep DATA/master.key in another place"
	m.walkText(first)
	m.stop()
	if err := os.RemoveAll(m.here("/var/lib/ecrin")); err != nil {
		t.Fatal(err)
	}
	restore, _, _ := strings.Cut(rest, "\n## ")
	m.walkText(restore)
	m.pulls("/var/lib/ecrin-new", image)
	m.stop()
	if err := os.Rename(m.here("/var/lib/ecrin-new"), m.here("/var/lib/ecrin")); err != nil {
		t.Fatal(err)
	}
	m.start(m.here("/var/lib/ecrin"))
	m.walk("docs/backup.md", "## Another master key")
	m.pulls("/var/lib/ecrin", image)
	if len(m.lines) != 8 {
		t.Errorf("the page has the commands %q, want 8", m.lines)
	}
}

// TestUpgradePage: the commands of the section about upgrades save the data, replace the program and start it; what was pushed is pulled.
func TestUpgradePage(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	image := m.fill()
	m.walk("docs/running.md", "## Upgrades")
	m.pulls("/var/lib/ecrin", image)
	if _, err := os.Stat(m.here("/backup/ecrin/installation.json")); err != nil || len(m.lines) != 7 {
		t.Errorf("after the commands %q: %v, want 7 commands and a backup", m.lines, err)
	}
}
