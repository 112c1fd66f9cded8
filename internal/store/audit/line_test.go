package audit_test

import (
	"context"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// A line is rendered for each change until one has stored it, and collected by one transaction at a time.
func TestLineIsStoredOnce(t *testing.T) {
	t.Parallel()
	calls := 0
	l := audit.NewLine(func() []byte { calls++; return []byte("text\n") })
	render := func(want string) {
		t.Helper()
		if got, err := l.Render(); string(got) != want || err != nil {
			t.Errorf("Render: got %q, %v, want %q", got, err, want)
		}
	}
	render("text\n")
	if !l.Collect() || l.Collect() {
		t.Error("the line is not collected exactly once by a transaction")
	}
	l.Settle(false)
	if l.Written() {
		t.Error("after a rollback the line counts as stored")
	}
	render("text\n")
	if !l.Collect() {
		t.Error("after a rollback the next transaction does not collect the line")
	}
	l.Settle(true)
	if !l.Written() || l.Collect() {
		t.Errorf("after the commit: stored %t, want true and no transaction that collects it again", l.Written())
	}
	l.Settle(false) // of a transaction that has not collected it
	if !l.Written() {
		t.Error("a transaction without the line has made it count as not stored")
	}
	if render(""); calls != 2 {
		t.Errorf("the text was made %d times, want 2", calls)
	}
}

func TestLineWhoseTextPanics(t *testing.T) {
	t.Parallel()
	l := audit.NewLine(func() []byte { panic("no text") })
	for range 2 { // the second call shows that the first one has released the line
		if text, err := l.Render(); err == nil || text != nil {
			t.Errorf("got %q, %v, want an error", text, err)
		}
	}
}

func TestLineOfAContext(t *testing.T) {
	t.Parallel()
	l := audit.NewLine(func() []byte { return nil })
	if got := audit.LineOf(audit.WithLine(t.Context(), l)); got != l {
		t.Errorf("got the line %p, want %p", got, l)
	}
	if got := audit.LineOf(context.Background()); got != nil {
		t.Errorf("a context without a line: got %p, want nil", got)
	}
	if got := l.Principal(); got != "" {
		t.Errorf("without a principal: got %q", got)
	}
	if got := l.ARN(); got != "" {
		t.Errorf("without a caller: got the ARN %q", got)
	}
	if got := l.By(func() string { return "arn:aws:iam::111122223333:root" }).ARN(); got != "arn:aws:iam::111122223333:root" {
		t.Errorf("got the ARN %q, want that of the root", got)
	}
	if got := l.For(func() string { return "AIDAEXAMPLE" }).Principal(); got != "AIDAEXAMPLE" {
		t.Errorf("got the principal %q, want AIDAEXAMPLE", got)
	}
}
