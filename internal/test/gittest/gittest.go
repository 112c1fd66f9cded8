// Package gittest serves repositories of git by SSH, for tests.
package gittest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"

	"golang.org/x/crypto/ssh"
)

// NewKey returns a private key of SSH in the form of OpenSSH, and its signer.
func NewKey(t testing.TB) (string, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

// ServeSSH serves repositories by SSH to the owner of a key, and returns its address.
func ServeSSH(t testing.TB, host ssh.Signer, user ssh.PublicKey) string {
	t.Helper()
	c := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	c.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, channels, requests, err := ssh.NewServerConn(raw, c)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for one := range channels {
					go session(one)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// session runs the command of a session by a shell, as sshd does.
func session(one ssh.NewChannel) {
	ch, requests, err := one.Accept()
	if err != nil {
		return
	}
	for r := range requests {
		var command struct{ Text string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		cmd := exec.Command("sh", "-c", command.Text)
		cmd.Stdout, cmd.Stderr = ch, io.Discard
		in, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(in, ch)
			_ = in.Close()
		}()
		_ = cmd.Run()
		_ = ch.Close()
	}
}
