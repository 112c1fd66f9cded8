package gitrepo

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshSession is a service by SSH: a command whose input and output are the protocol.
type sshSession struct {
	client *ssh.Client
	stop   func() bool
	in     io.WriteCloser
	out    io.Reader
	said   *packp.AdvRefs
}

func (r *Remote) openSSH(ctx context.Context, service string) (_ session, err error) {
	client, stop, err := r.dialSSH(ctx)
	if err != nil {
		return nil, err
	}
	s := &sshSession{client: client, stop: stop}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	run, err := client.NewSession()
	if err == nil {
		s.in, err = run.StdinPipe()
	}
	if err == nil {
		s.out, err = run.StdoutPipe()
	}
	if err == nil {
		err = run.Start(service + " '" + r.at.Path + "'") // the path has no quotes
	}
	if err != nil {
		return nil, away(ctx, err)
	}
	if s.said, err = decodeRefs(s.out); err != nil {
		if ctx.Err() != nil {
			return nil, away(ctx, err)
		}
		return nil, fail(Missing, err, "the server does not show the repository: there is none, or the owner of the key may not %s",
			doing[service])
	}
	return s, nil
}

// dialSSH connects and authenticates. stop ends the closing of the connection by the end of ctx.
func (r *Remote) dialSSH(ctx context.Context) (*ssh.Client, func() bool, error) {
	signer, err := ssh.ParsePrivateKey([]byte(r.access.Key.Reveal()))
	if err != nil {
		return nil, nil, fail(Denied, nil, "the private key cannot be read: it must be one of OpenSSH without a passphrase")
	}
	port := r.at.Port
	if port == "" {
		port = "22"
	}
	known, algorithms, err := knownHosts(r.access.KnownHosts, net.JoinHostPort(r.at.Host, port))
	if err != nil {
		return nil, nil, err
	}
	raw, err := r.guard.Dial(ctx, r.at.Host, port)
	if err != nil {
		return nil, nil, away(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // what reads from it then fails
	_ = raw.SetDeadline(time.Now().Add(maxWait))
	var unknown error
	conn, channels, requests, err := ssh.NewClientConn(raw, net.JoinHostPort(r.at.Host, port), &ssh.ClientConfig{
		User: r.at.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, ClientVersion: "SSH-2.0-ecrin", HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(host string, addr net.Addr, key ssh.PublicKey) error {
			unknown = known(host, addr, key)
			return unknown
		}})
	if err == nil {
		return ssh.NewClient(conn, channels, requests), stop, nil
	}
	stop()
	_ = raw.Close() // the error of the handshake is returned
	_, refused := errors.AsType[*ssh.ServerAuthError](err)
	switch {
	case unknown != nil:
		return nil, nil, fail(Denied, unknown, "the key of the host is not one of those that are known: compare, and set the known hosts again")
	case ctx.Err() == nil && (refused || isAuth(err)):
		return nil, nil, fail(Denied, err, "the server does not accept the private key for the user %s", r.at.User)
	}
	return nil, nil, away(ctx, err)
}

// isAuth reports whether a handshake failed because no key was accepted, which has no type of its own.
func isAuth(err error) bool {
	const text = "ssh: handshake failed: ssh: unable to authenticate"
	s := err.Error()
	return len(s) >= len(text) && s[:len(text)] == text
}

// CheckKey checks a private key of SSH. Errors: one for its owner.
func CheckKey(key string) error {
	if _, err := ssh.ParsePrivateKey([]byte(key)); err != nil {
		return errors.New("must be a private key of OpenSSH without a passphrase")
	}
	return nil
}

// CheckKnownHosts checks the keys of hosts. Errors: one for their owner.
func CheckKnownHosts(text string, at Location) error {
	port := at.Port
	if port == "" {
		port = "22"
	}
	_, _, err := knownHosts(text, net.JoinHostPort(at.Host, port))
	return err
}

// knownHosts returns the check of the key of a host, and the algorithms of the keys that are known of it.
func knownHosts(text, address string) (ssh.HostKeyCallback, []string, error) {
	// The package reads files only.
	f, err := os.CreateTemp("", "ecrin-known-hosts-")
	if err != nil {
		return nil, nil, fail(Away, err, "the known hosts cannot be kept")
	}
	defer func() { _ = os.Remove(f.Name()) }() // it was read
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fail(Away, err, "the known hosts cannot be kept")
	}
	check, err := knownhosts.New(f.Name())
	if err != nil {
		return nil, nil, fail(Denied, nil, "the known hosts cannot be read: they are lines of ssh-keyscan")
	}
	algorithms := algorithmsOf(check, address)
	if len(algorithms) == 0 {
		return nil, nil, fail(Denied, nil, "the known hosts have no key of the host: ssh-keyscan prints them; compare them with what the host publishes")
	}
	return check, algorithms, nil
}

// algorithmsOf returns the algorithms of the keys that are known of a host: with others the server would show a key that is not known.
func algorithmsOf(check ssh.HostKeyCallback, address string) (all []string) {
	wrong, ok := errors.AsType[*knownhosts.KeyError](check(address, &net.TCPAddr{IP: net.IPv4zero}, noKey{}))
	if !ok {
		return nil
	}
	for _, one := range wrong.Want {
		if kind := one.Key.Type(); kind == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512)
		} else {
			all = append(all, kind)
		}
	}
	return all
}

// noKey is a key that no host has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("it is no key") }

func (s *sshSession) refs() *packp.AdvRefs { return s.said }

func (s *sshSession) request(ctx context.Context, body []byte) (io.ReadCloser, error) {
	if _, err := s.in.Write(body); err != nil {
		return nil, away(ctx, err)
	}
	return io.NopCloser(s.out), nil
}

func (s *sshSession) end() {
	s.stop()
	_ = s.client.Close() // the session has ended
}
