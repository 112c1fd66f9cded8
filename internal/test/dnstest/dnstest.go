// Package dnstest runs name servers for tests, on 127.0.0.1 or another address of this machine.
package dnstest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Server is a name server with fixed answers. Names that it does not know do not exist.
type Server struct {
	Address netip.AddrPort // of UDP and TCP

	mu    sync.Mutex
	names map[string][]string
	code  dnsmessage.RCode
	short bool
	asked []string
}

// Start starts a name server until the test ends. address is ADDRESS:PORT, port 0 for any. names has the addresses of names, without the
// dot at the end; a text that is no address is the name that the name is an alias of.
func Start(t testing.TB, address string, names map[string][]string) *Server {
	t.Helper()
	s := &Server{names: names}
	var udp net.PacketConn
	var tcp net.Listener
	for tries := 0; ; tries++ { // the port of UDP may be in use by TCP
		var err error
		if udp, err = net.ListenPacket("udp", address); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		_ = udp.Close() // another port is taken
		if tries == 10 {
			t.Fatal(err)
		}
	}
	s.Address = netip.MustParseAddrPort(udp.LocalAddr().String())
	var done sync.WaitGroup
	t.Cleanup(func() {
		_, _ = udp.Close(), tcp.Close() // the test has ended
		done.Wait()
	})
	done.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer := s.answer(buffer[:n], true); answer != nil {
				_, _ = udp.WriteTo(answer, from) // a client that is gone asks again
			}
		}
	})
	done.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			_ = s.serve(conn) // a client may go at any time
			_ = conn.Close()
		}
	})
	return s
}

func (s *Server) serve(conn net.Conn) error {
	length := make([]byte, 2)
	if _, err := io.ReadFull(conn, length); err != nil {
		return err
	}
	message := make([]byte, binary.BigEndian.Uint16(length))
	if _, err := io.ReadFull(conn, message); err != nil {
		return err
	}
	answer := s.answer(message, false)
	if answer == nil {
		return errors.New("not a question")
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// Fail makes the server answer everything with a code from now on.
func (s *Server) Fail(code dnsmessage.RCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

// Truncate makes answers by UDP too short from now on, so that clients ask by TCP.
func (s *Server) Truncate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.short = true
}

// Asked returns the names of the questions so far, each as often as it was asked.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// answer returns the answer to a message; nil if it is no question.
func (s *Server) answer(message []byte, udp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	s.asked = append(s.asked, at)
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true, RCode: s.code},
		Questions: []dnsmessage.Question{q}}
	if _, known := s.names[at]; !known && s.code == dnsmessage.RCodeSuccess {
		out.RCode = dnsmessage.RCodeNameError
	}
	if udp && s.short {
		out.Truncated = true
	} else if out.RCode == dnsmessage.RCodeSuccess {
		out.Answers = s.resources(q.Name, at, q.Type, 0)
	}
	b, err := out.Pack()
	if err != nil {
		return nil
	}
	return b
}

func (s *Server) resources(label dnsmessage.Name, at string, kind dnsmessage.Type, depth int) (all []dnsmessage.Resource) {
	for _, text := range s.names[at] {
		h := dnsmessage.ResourceHeader{Name: label, Class: dnsmessage.ClassINET, TTL: 60}
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			to := dnsmessage.MustNewName(text + ".")
			all = append(all, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: to}})
			if depth < 20 {
				all = append(all, s.resources(to, text, kind, depth+1)...)
			}
		case a.Is4() && kind == dnsmessage.TypeA:
			all = append(all, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && kind == dnsmessage.TypeAAAA:
			all = append(all, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return all
}
