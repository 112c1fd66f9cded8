package events_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
)

// killDir is the variable by which the test starts itself as the process that is killed.
const killDir = "ECRIN_EVENTS_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := storeAndWait(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// storeAndWait stores an event, says so and waits to be killed.
func storeAndWait(dir string) error {
	s, err := meta.OpenSQLite(context.Background(), dir, time.Now)
	if err != nil {
		return err
	}
	o := event.Origin{Registry: metatest.Registry, Time: time.Now()}
	if err := s.RecordEvents(context.Background(), []event.Event{event.WebhookTested(o, "stored", "")}); err != nil {
		return err
	}
	fmt.Println("stored")
	select {}
}

// An event that was committed is delivered although the process is killed before it could be sent.
func TestKilledBetweenCommitAndDelivery(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	w, _ := i.hook("deploy", r.URL, "")
	if err := i.store.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+i.dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if line != "stored\n" || err != nil {
		t.Fatalf("the process that is killed: got %q, error %v", line, err)
	}
	i.open(i.options)
	i.run()
	r.Wait(t, "the event of the killed process", func(all []hooktest.Got) bool { return len(all) == 1 && all[0].Action == "TEST" })
	i.until("the record of the delivery", func() bool { return i.webhook(w.ID).Delivered == 1 })
}
