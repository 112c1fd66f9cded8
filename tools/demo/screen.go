package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// screen prints the demo. On a terminal it uses colours, unless NO_COLOR is set, and one line that is updated;
// otherwise it prints plain lines only. It is safe for concurrent use.
type screen struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	colour   bool
	verbose  bool
	steps    int
	live     bool // the last line is to be updated
}

func newScreen(w io.Writer, getenv func(string) string, verbose bool) *screen {
	terminal := isTerminal(w) && getenv("TERM") != "dumb"
	return &screen{w: w, terminal: terminal, colour: terminal && getenv("NO_COLOR") == "", verbose: verbose}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The colours, as SGR parameters of a terminal.
const (
	bold  = "1"
	dim   = "2"
	cyan  = "36"
	green = "1;32"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// step begins a step, with its title and the equivalent command.
func (s *screen) step(title, command string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.steps++
	fmt.Fprintf(s.w, "\n%s %s\n", s.paint(bold, fmt.Sprintf("%2d", s.steps)), s.paint(bold, title))
	s.printCommand(fmt.Sprintf(command, args...))
}

// also prints another command of the same step.
func (s *screen) also(command string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.printCommand(fmt.Sprintf(command, args...))
}

func (s *screen) printCommand(command string) {
	fmt.Fprintf(s.w, "   %s %s\n", s.paint(dim, "$"), s.paint(cyan, command))
}

// note prints a result of the step.
func (s *screen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.w, "     %s\n", printable(fmt.Sprintf(format, args...)))
}

// detail prints a note if the demo is verbose.
func (s *screen) detail(format string, args ...any) {
	if !s.verbose {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(s.w, "     %s\n", s.paint(dim, printable(strings.TrimRight(line, "\n"))))
	}
}

// ok prints the last line of a successful demo.
func (s *screen) ok(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.w, "\n%s %s\n", s.paint(green, "OK"), fmt.Sprintf(format, args...))
}

// progress updates the last line. It prints nothing if the output is not a terminal.
func (s *screen) progress(format string, args ...any) {
	if !s.terminal {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.w, "     %s", fmt.Sprintf(format, args...))
	s.live = true
}

func (s *screen) clear() {
	if s.live {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.live = false
	}
}

// animate calls draw ten times per second until stop is called. stop returns after the last call of draw.
func (s *screen) animate(draw func()) (stop func()) {
	if !s.terminal {
		return func() {}
	}
	draw()
	return every(100*time.Millisecond, draw)
}

// waitInterval is the time between two lines about a task if the output is not a terminal.
const waitInterval = 10 * time.Second

// wait shows that a task is running, and for how long: in the last line of a terminal, or else in a line now and then.
func (s *screen) wait(what string) (done func()) {
	began := time.Now()
	draw := func() { s.progress("%s … %s", what, time.Since(began).Round(time.Second)) }
	if s.terminal {
		return s.animate(draw)
	}
	return every(waitInterval, func() { s.note("%s … %s", what, time.Since(began).Round(time.Second)) })
}

// every calls f after each interval until stop is called. stop returns after the last call of f.
func every(interval time.Duration, f func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// size formats a number of bytes.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}

// took formats a duration.
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// rate formats a speed; it returns "" if d is not positive.
func rate(n int64, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return size(int64(float64(n)/d.Seconds())) + "/s"
}

// printable removes control characters, since names come from archives and servers.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '.'
		}
		return r
	}, text)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shell joins words into a command line of a shell.
func shell(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if !plainWord.MatchString(w) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}
