package identity_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
)

func TestKeyringFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if _, err := identity.LoadKeyring(dir, "", false); err == nil {
		t.Error("a missing master key was accepted without create")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a key file was made without create: %v", err)
	}
	first, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v (%v), want 0600", info.Mode(), err)
	}
	again, err := identity.LoadKeyring(dir, "", true)
	if err != nil || first.OperatorSecret().Reveal() != again.OperatorSecret().Reveal() {
		t.Errorf("the second start has another key (%v)", err)
	}
	elsewhere, err := identity.LoadKeyring(t.TempDir(), "", true)
	if err != nil || first.OperatorSecret().Reveal() == elsewhere.OperatorSecret().Reveal() {
		t.Errorf("two installations have the same key (%v)", err)
	}
}

// With a key in the environment, the file is neither read nor made.
func TestKeyringEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString([]byte("an unguessable key of 32 bytes.."))
	a, err := identity.LoadKeyring(dir, key, true)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("the directory holds %v (%v), want nothing", files, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "master.key"), []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := identity.LoadKeyring(dir, "", false)
	if err != nil || a.OperatorSecret().Reveal() != b.OperatorSecret().Reveal() {
		t.Errorf("the same key in file and environment gives different keyrings (%v)", err)
	}
}

// Example keys, repeated bytes and empty files are refused: they are no secret.
func TestAttack20KnownMasterKeys(t *testing.T) {
	t.Parallel()
	zero := strings.Repeat("A", 43) + "="
	known := []string{
		zero, strings.Repeat("A", 42) + "B=", // the same bytes: the last character has bits that do not count
		zero[:20] + "\n" + zero[20:], "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{'x'}, 32)),
	}
	for _, key := range known {
		if _, err := identity.LoadKeyring(t.TempDir(), key, true); err == nil || !strings.Contains(err.Error(), "openssl rand") {
			t.Errorf("master key %q from the environment: got %v, want an error with the command that makes a key", key, err)
		} else if strings.Contains(err.Error(), key) {
			t.Errorf("the error shows the key: %v", err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "master.key"), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.LoadKeyring(dir, "", true); err == nil || !strings.Contains(err.Error(), "master.key") {
			t.Errorf("master key %q from a file: got %v, want an error that names the file", key, err)
		}
	}
	for _, key := range []string{"x", "password", base64.StdEncoding.EncodeToString(make([]byte, 16)),
		base64.StdEncoding.EncodeToString([]byte(strings.Repeat("ab", 17)))} {
		if _, err := identity.LoadKeyring(t.TempDir(), key, true); err == nil || strings.Contains(err.Error(), key) && len(key) > 1 {
			t.Errorf("master key %q: got %v, want an error without the key", key, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "master.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadKeyring(dir, "", true); err == nil {
		t.Error("an empty key file was accepted")
	}
}

// A value that was made for one purpose is not valid for another.
func TestMACsArePerPurpose(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	data := []byte("data")
	if bytes.Equal(w.ring.MAC("page tokens", data), w.ring.MAC("layer links", data)) {
		t.Error("two purposes give the same MAC")
	}
	if !bytes.Equal(w.ring.MAC("page tokens", data), w.ring.MAC("page tokens", data)) {
		t.Error("a MAC changes")
	}
}
