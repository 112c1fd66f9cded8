package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An honest client counts what it gets: good responses, refusals with 429, and everything else.
func TestHonestClientCounts(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/limited":
			w.WriteHeader(http.StatusTooManyRequests)
		case n.Add(1)%2 == 0:
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	d := &door{process: &process{address: strings.TrimPrefix(server.URL, "http://")}}
	var told atomic.Bool
	shares := []share{
		{"half", 1, http.StatusOK, func(int) turn {
			return func(failed bool) ([]byte, io.Reader, error) {
				if failed {
					told.Store(true)
				}
				return d.request(http.MethodGet, "/", 0), nil, nil
			}
		}},
		{"none", 2, http.StatusOK, always(fixed(d, "/limited")())},
	}
	seen, took := workUntil(t, d.address, shares, func(seen map[string]*conduct) bool {
		return seen["half"].good > 0 && seen["half"].failed > 0 && seen["none"].limited > 0 && told.Load()
	})
	half, none := seen["half"], seen["none"]
	if half.good == 0 || half.failed == 0 || half.limited != 0 || !told.Load() || half.first == nil ||
		len(half.waits) != half.good+half.failed {
		t.Errorf("a server that fails every other request: got %+v, want good and failed ones, and the connection told", half)
	}
	if none.good != 0 || none.failed != 0 || none.limited == 0 || none.measure(took).Limited != float64(none.limited) {
		t.Errorf("a server that answers 429: got %+v, want limited ones only", none)
	}
	gone, _ := workUntil(t, "127.0.0.1:1", shares[1:], func(seen map[string]*conduct) bool { return seen["none"].failed > 0 })
	if gone["none"].failed == 0 {
		t.Errorf("a server that is gone: got %+v, want failed ones", gone["none"])
	}
}

// workUntil makes honest clients work for ever longer times until enough says yes or the times end: on a loaded machine, a connection
// may have no turn in a short time.
func workUntil(t *testing.T, address string, shares []share, enough func(map[string]*conduct) bool) (map[string]*conduct, time.Duration) {
	t.Helper()
	for length := 50 * time.Millisecond; ; length *= 4 {
		seen, took, err := work(address, length, shares)
		if err != nil {
			t.Fatal(err)
		}
		if enough(seen) || length > 10*time.Second {
			return seen, took
		}
	}
}

// Each kind of assault does what it says, until the input of the attacker ends.
func TestAttackersAttack(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{flood, trickle, deaf} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			answered := make(chan string, 1000)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if kind == trickle {
					http.Error(w, "refused by the header", http.StatusForbidden)
				}
				select {
				case answered <- r.URL.Path:
				default:
				}
			}))
			defer func() {
				server.CloseClientConnections() // the attacker never closes them
				server.Close()
			}()
			address := strings.TrimPrefix(server.URL, "http://")
			d := &door{process: &process{address: address}}
			a := assault{Address: address, Kind: kind, Connections: 3,
				Requests: [][]byte{d.request(http.MethodGet, "/one", 0), d.request(http.MethodGet, "/two", 0)}}
			if kind == trickle {
				for i, r := range a.Requests {
					a.Requests[i] = []byte(strings.Replace(string(r), "\r\n", "\r\nContent-Length: 100\r\n", 1))
				}
			}
			in, feed := io.Pipe()
			read, out := io.Pipe()
			ended := make(chan error, 1)
			go func() { ended <- attack(in, out) }()
			if err := json.NewEncoder(feed).Encode(a); err != nil {
				t.Fatal(err)
			}
			var line [6]byte
			if _, err := io.ReadFull(read, line[:]); err != nil || string(line[:]) != "begun\n" {
				t.Fatalf("got %q, %v, want begun", line, err)
			}
			seen := map[string]bool{}
			for len(seen) < 2 {
				seen[<-answered] = true
			}
			feed.Close()
			var got tally
			if err := json.NewDecoder(read).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if got.Dialled < 3 || got.Sent == 0 || kind == flood && got.answers() == 0 || kind == deaf && got.answers() > 0 {
				t.Errorf("got %s, want 3 connections, bytes, and answers to a flood, but not where nothing is read", &got)
			}
		})
	}
	if err := attack(strings.NewReader(`{"Kind":"other"}`), io.Discard); err == nil {
		t.Error("an unknown kind: got no error")
	}
}

// Every attack is measured alone and beside an attacker at each place, and every figure that is judged is one that is measured.
func TestRowsOfAttacks(t *testing.T) {
	t.Parallel()
	rows := (&bench{}).attackRows()
	if len(rows) != len(attacks) {
		t.Fatalf("got %d rows, want one for each of %d attacks", len(rows), len(attacks))
	}
	for i, r := range rows {
		places := map[string]bool{}
		for _, c := range r.contenders {
			places[c.name] = true
		}
		if !places[alone] || !places[sameAddress] || places[sameAccount] == attacks[i].nobody || r.prepare == nil {
			t.Errorf("%s: the contenders are %v", r.name, places)
		}
		for _, judged := range r.targets {
			kind, where, _ := strings.Cut(judged.who, ", ")
			if !places[where] || kind != pulls && (kind == sends) != attacks[i].parts {
				t.Errorf("%s: %q is judged and not measured", r.name, judged.who)
			}
		}
		if want := 9 * (len(r.contenders) - 1); len(r.targets) != want {
			t.Errorf("%s: got %d targets, want %d: rate, p99, 429s and failures of two kinds, and memory", r.name, len(r.targets), want)
		}
	}
}
