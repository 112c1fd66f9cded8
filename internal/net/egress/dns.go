package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsTimeout  = 2 * time.Second // for an answer of one server
	dnsRounds   = 2               // how often all servers are asked
	maxDNSUDP   = 1232            // bytes of an answer by UDP. Source: DNS flag day 2020
	maxDNSChain = 8               // aliases (CNAME) from the name to its addresses
)

// NameServers returns a resolver that asks the servers, each an address with its port, in this order: the next one after no answer, a
// failure or a refusal. It reads neither the hosts file nor the configuration of the system's resolver, so that a name that the hosts file
// points elsewhere has its addresses of the DNS. Names are taken as they are: no search domain is added. The servers must be recursive.
// There is no cache.
//
// Errors of LookupNetIP: *net.DNSError, whose IsNotFound is true for a name that does not exist or has no address.
func NameServers(servers []netip.AddrPort) Resolver { return nameServers(slices.Clone(servers)) }

type nameServers []netip.AddrPort

// LookupNetIP returns the addresses of host: of network ip4 those of IPv4, of ip6 those of IPv6, of ip both, IPv4 first.
func (n nameServers) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	question, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
	if err != nil {
		return nil, &net.DNSError{Err: "the name is not valid", Name: host, IsNotFound: true}
	}
	kinds := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	switch network {
	case "ip4":
		kinds = kinds[:1]
	case "ip6":
		kinds = kinds[1:]
	}
	type result struct {
		found []netip.Addr
		err   error
	}
	results := make([]chan result, len(kinds))
	for i, kind := range kinds {
		results[i] = make(chan result, 1)
		go func() {
			found, err := n.ask(ctx, host, question, kind)
			results[i] <- result{found, err}
		}()
	}
	var all []netip.Addr
	var failed error
	for _, c := range results {
		r := <-c // ask ends with ctx
		all = append(all, r.found...)
		if r.err != nil && (failed == nil || isNotFound(failed)) {
			failed = r.err
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case failed != nil:
		return nil, failed
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// ask asks the servers one question.
func (n nameServers) ask(ctx context.Context, host string, question dnsmessage.Name, kind dnsmessage.Type) ([]netip.Addr, error) {
	var last error
	for range dnsRounds {
		for _, server := range n {
			found, err := exchange(ctx, server, question, kind)
			if err == nil {
				return found, nil
			}
			if errors.Is(err, errNoName) {
				return nil, &net.DNSError{Err: "no such host", Name: host, Server: server.String(), IsNotFound: true}
			}
			timeout, _ := errors.AsType[net.Error](err)
			last = &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: host, Server: server.String(), IsTemporary: true,
				IsTimeout: timeout != nil && timeout.Timeout()}
			if ctx.Err() != nil {
				return nil, last
			}
		}
	}
	return nil, last
}

// errNoName is the answer that a name does not exist.
var errNoName = errors.New("the name does not exist")

// exchange asks one server by UDP, and by TCP if the answer is too long for it.
func exchange(ctx context.Context, server netip.AddrPort, question dnsmessage.Name, kind dnsmessage.Type) ([]netip.Addr, error) {
	q := dnsmessage.Question{Name: question, Type: kind, Class: dnsmessage.ClassINET}
	id := uint16(rand.Uint32()) //nolint:gosec // ChaCha8 with a random seed of the system
	b := dnsmessage.NewBuilder(make([]byte, 2, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	var option dnsmessage.ResourceHeader
	err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAdditionals(), option.SetEDNS0(maxDNSUDP, dnsmessage.RCodeSuccess, false),
		b.OPTResource(option, dnsmessage.OPTResource{}))
	message, err2 := b.Finish() // two bytes of its length for TCP, and the message
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("making a question: %w", err)
	}
	found, truncated, err := roundTrip(ctx, "udp", server, message[2:], id, q)
	if !truncated {
		return found, err
	}
	binary.BigEndian.PutUint16(message, uint16(len(message)-2))
	found, truncated, err = roundTrip(ctx, "tcp", server, message, id, q)
	if truncated {
		err = errors.New("the answer by TCP is not whole")
	}
	return found, err
}

// roundTrip sends a message and reads the answer to it. What is not the answer, by its id and question, is passed over.
func roundTrip(ctx context.Context, network string, server netip.AddrPort, message []byte, id uint16, q dnsmessage.Question) (
	found []netip.Addr, truncated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = conn.Close() }() // what was read is complete
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(message); err != nil {
		return nil, false, err
	}
	buffer := make([]byte, 1<<16)
	for {
		n, err := read(conn, network, buffer)
		if err != nil {
			return nil, false, err
		}
		found, truncated, is, err := answer(buffer[:n], id, q)
		if is {
			return found, truncated, err
		}
	}
}

// read reads one message.
func read(conn net.Conn, network string, buffer []byte) (int, error) {
	if network == "udp" {
		return conn.Read(buffer)
	}
	if _, err := io.ReadFull(conn, buffer[:2]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(buffer))
	return io.ReadFull(conn, buffer[:n])
}

// answer reads a message. is reports whether it is the answer to the question.
func answer(message []byte, id uint16, q dnsmessage.Question) (found []netip.Addr, truncated, is bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || h.ID != id || !h.Response {
		return nil, false, false, nil
	}
	asked, err := p.AllQuestions()
	if err != nil || len(asked) != 1 || asked[0].Type != q.Type || asked[0].Class != q.Class || !sameName(asked[0].Name, q.Name) {
		return nil, false, false, nil
	}
	switch {
	case h.RCode == dnsmessage.RCodeNameError:
		return nil, false, true, errNoName
	case h.RCode != dnsmessage.RCodeSuccess:
		return nil, false, true, fmt.Errorf("the server answers %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	case h.Truncated:
		return nil, true, true, nil
	}
	all, err := p.AllAnswers()
	if err != nil {
		return nil, false, true, errors.New("the answer is not a message of the DNS")
	}
	return addressesOf(all, q), false, true, nil
}

// addressesOf returns the addresses of the name of a question, and of the names that it is an alias of.
func addressesOf(all []dnsmessage.Resource, q dnsmessage.Question) (found []netip.Addr) {
	at := q.Name
	for range maxDNSChain {
		var next *dnsmessage.CNAMEResource
		for _, r := range all {
			if !sameName(r.Header.Name, at) {
				continue
			}
			switch body := r.Body.(type) {
			case *dnsmessage.AResource:
				found = append(found, netip.AddrFrom4(body.A))
			case *dnsmessage.AAAAResource:
				found = append(found, netip.AddrFrom16(body.AAAA))
			case *dnsmessage.CNAMEResource:
				next = body
			}
		}
		if len(found) > 0 || next == nil {
			break
		}
		at = next.CNAME
	}
	return found
}

func sameName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }
