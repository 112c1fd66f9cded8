package registry

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// An account with many calls has one of them in the queue for the place, so that the call of another account is the next but one.
func TestLanesLetAccountsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		greedy, err1 := name.ParseAccount("111122223333")
		modest, err2 := name.ParseAccount("444455556666")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		var l lanes
		place, order := make(chan struct{}, 1), make(chan name.Account, 101)
		call := func(a name.Account, goOn chan struct{}) {
			leave, err := l.enter(t.Context(), a)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			place <- struct{}{}
			order <- a
			<-goOn
			<-place
		}
		goOn := make(chan struct{})
		for range 100 {
			go call(greedy, goOn)
		}
		synctest.Wait() // one has the place, the others wait in their lane
		go call(modest, goOn)
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		for i := range 101 {
			if got := <-order; got == modest {
				if i != 1 {
					t.Errorf("the call of the other account was number %d, want the second", i+1)
				}
				break
			}
		}
		if len(l.all) != 0 {
			t.Errorf("after all calls: got %d lanes, want none", len(l.all))
		}
		ctx, cancel := context.WithCancel(t.Context())
		leave, err := l.enter(ctx, greedy)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := l.enter(ctx, greedy); err == nil {
			t.Error("a call whose context has ended: got no error")
		}
		if leave(); len(l.all) != 0 {
			t.Errorf("after a call that went away: got %d lanes, want none", len(l.all))
		}
	})
}
