package meta

import (
	"container/list"
	"sync"
)

// queue holds the writes that wait for the writer. Each principal has a lane of its own, and a group is composed in
// turns: one write of each lane, then the next one of each. So a write waits for at most one write of each other
// principal, however many writes one of them has queued. All methods are safe for concurrent use.
type queue struct {
	mu     sync.Mutex
	lanes  map[string]*lane // those that have writes
	turns  []*lane          // the same lanes, the next one first
	writes int              // in all lanes
	closed bool
	wake   chan struct{} // has a value after a write was added; its capacity is 1
}

// lane holds the writes of one principal, the oldest first.
type lane struct {
	principal string
	queued    []*write  // at most maxLane
	behind    list.List // of *write: they wait for a place in queued
}

const (
	// maxGroup limits the writes of one commit, and so the time that the first of them waits.
	maxGroup = 128
	// maxGroupCost limits the sum of the costs of the writes of one commit, unless the first write alone costs more. A
	// cost of 1 is about 50 µs: see docs/design/metadata.md.
	maxGroupCost = 2048
	// maxLane limits the queued writes of one principal. Others of the principal wait until one of them has its turn;
	// they are given up if their clients disconnect.
	maxLane = maxGroup
)

func newQueue() *queue { return &queue{lanes: map[string]*lane{}, wake: make(chan struct{}, 1)} }

// add adds a write to the lane of its principal. It returns false if the queue is closed.
func (q *queue) add(w *write) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	l := q.lanes[w.principal]
	if l == nil {
		l = &lane{principal: w.principal}
		q.lanes[w.principal] = l
		q.turns = append(q.turns, l)
	}
	if len(l.queued) < maxLane {
		l.queued = append(l.queued, w)
	} else {
		w.behind = l.behind.PushBack(w)
	}
	q.writes++
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// withdraw removes a write that waits for a place in its lane. It returns false if the write is queued already.
func (q *queue) withdraw(w *write) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.behind == nil {
		return false
	}
	q.lanes[w.principal].behind.Remove(w.behind)
	w.behind = nil
	q.writes--
	return true
}

// take removes the writes of the next group, at most maxGroup that cost maxGroupCost together. It returns none if none
// are queued.
func (q *queue) take() (group []*write) {
	q.mu.Lock()
	defer q.mu.Unlock()
	cost := 0
	for len(q.turns) > 0 && len(group) < maxGroup {
		l := q.turns[0]
		w := l.queued[0]
		if cost += w.cost; cost > maxGroupCost && len(group) > 0 {
			break // its lane has the first turn of the next group
		}
		group = append(group, w)
		q.writes--
		q.turns = q.turns[1:]
		if l.pop(); len(l.queued) > 0 {
			q.turns = append(q.turns, l)
		} else {
			delete(q.lanes, l.principal)
		}
	}
	return group
}

// pop removes the first queued write of a lane, and queues the first one that waits for a place.
func (l *lane) pop() {
	l.queued[0] = nil
	l.queued = l.queued[1:]
	if first := l.behind.Front(); first != nil {
		w := l.behind.Remove(first).(*write)
		w.behind = nil
		l.queued = append(l.queued, w)
	}
}

// close makes add refuse further writes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// len returns the number of writes that wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writes
}
