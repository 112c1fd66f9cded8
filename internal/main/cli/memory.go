package cli

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapFloor is the size in bytes below which the heap is not collected. The live heap of a server is a few MiB; without a floor a
	// busy one collects it a hundred times a second.
	heapFloor = 24 << 20
	// quietFor is how long the server must allocate little before its memory is given back.
	quietFor = 20 * time.Second
	// quietBytes is how much a quiet server allocates in that time: health checks and background work.
	quietBytes = 8 << 20
	// startTakes is how long after its start a server gives back what only the start needed.
	startTakes = time.Second
)

// tuneMemory sets how often this process collects its heap, unless the environment does (GOGC), and gives memory back to the system
// after a load, until ctx ends. trim drops what can be read again.
func tuneMemory(ctx context.Context, log *slog.Logger, trim func()) {
	if os.Getenv("GOGC") == "" {
		afterEachGC(ctx, func() { debug.SetGCPercent(gcPercent(readMetric("/gc/heap/live:bytes"))) })
	}
	go func() {
		start := time.NewTimer(startTakes)
		defer start.Stop()
		select {
		case <-ctx.Done():
			return
		case <-start.C:
			giveBack(log)
		}
		q := quiet{last: readMetric("/gc/heap/allocs:bytes")}
		tick := time.NewTicker(quietFor)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if q.now(readMetric("/gc/heap/allocs:bytes")) {
				trim()
				giveBack(log)
			}
		}
	}()
}

// giveBack gives the memory that the process does not use back to the system.
func giveBack(log *slog.Logger) {
	debug.FreeOSMemory()
	if _, err := unmapProgram(); err != nil {
		log.Debug("memory", "error", err)
	}
}

// gcPercent returns the value for debug.SetGCPercent with which the next collection begins at heapFloor, or beyond half of it at the live
// heap and half of heapFloor, or half of the live heap if that is more. live is in bytes.
func gcPercent(live uint64) int {
	switch {
	case live == 0:
		return 100
	case 2*live >= heapFloor:
		return int(max(heapFloor/2*100/live, 50))
	}
	return int(min((heapFloor-live)*100/live, 3000))
}

// quiet tells when a load has ended.
type quiet struct {
	last uint64 // bytes allocated until the last call of now
	busy bool   // since memory was given back
}

// now reports whether memory should be given back: since the last call little was allocated, and much at some time before that.
// allocated is the number of bytes that the process has allocated.
func (q *quiet) now(allocated uint64) bool {
	more := allocated - q.last
	q.last = allocated
	if more > quietBytes {
		q.busy = true
		return false
	}
	due := q.busy
	q.busy = false
	return due
}

func readMetric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// afterEachGC calls do once and after each collection of the heap, until ctx ends. The runtime calls it: an object that nothing
// refers to is finalized by the next collection.
func afterEachGC(ctx context.Context, do func()) {
	if ctx.Err() != nil {
		return
	}
	do()
	runtime.SetFinalizer(&struct{ padding [16]byte }{}, func(any) { afterEachGC(ctx, do) })
}
