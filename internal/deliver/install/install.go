// Package install installs an application of a vendor for a customer, and keeps it up to date: it verifies the licence, gets versions from
// the server of updates, makes manifests of them that the cluster can pull images for, deploys them, and reads from the conditions in the
// cluster whether they run.
//
// An installation is a folder. state.json has its history, versions/N the files of a version, overlays/downstreams the changes of the
// customer, which no version replaces.
package install

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Options are what an Installation works with. The zero value is that of the program.
type Options struct {
	Now  func() time.Time
	Say  func(format string, args ...any) // what happens, for people
	Poll time.Duration                    // between two looks at the cluster; 0 means a second
	// Settle is how long Refresh looks for a status that stays; 0 means half a minute.
	Settle time.Duration
	// Allow are the private addresses of registries that may be asked whether images are public, see net/egress.
	Egress egress.Options
	Asker  rewrite.Asker // nil for one that asks registries
	// Copied is called when a copy to the registry of the customer has advanced; nil for none.
	Copied func(rewrite.Progress)
	// Bundled is called when an airgap bundle has advanced; nil for none.
	Bundled func(bundle.Progress)
	Getenv  func(string) string // for credentials of that registry; nil for os.Getenv
}

// Installation is an installed application, whose folder is locked. It is not safe for concurrent use.
type Installation struct {
	History
	lock *os.File
	o    Options

	unpacked *bundle.Unpacked // the airgap bundle that is being installed; nil for none
}

func (o Options) complete() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Settle == 0 {
		o.Settle = 30 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	return o
}

// Verify verifies a licence file with the public key of the vendor, in PEM. changed are the members that were edited after it was signed:
// the signed values count.
//
// Errors: those of license.Parse; "License is expired".
func Verify(text []byte, publicKey string, now time.Time) (license.Verified, error) {
	key, err := license.ParsePublicPEM(publicKey)
	if err != nil {
		return license.Verified{}, err
	}
	return verify(text, key, now)
}

func verify(text []byte, key *rsa.PublicKey, now time.Time) (license.Verified, error) {
	l, err := license.Parse(text, key)
	if err != nil {
		return l, err
	}
	if l.Channel().ID == "" || l.Endpoint == "" {
		return l, errors.New("the licence names no channel, or no server of updates")
	}
	return l, ended(l, now)
}

// Create makes an installation in a folder, or opens the one there that has the same licence and was not deployed yet. The public key is
// kept: later licences must be signed with it.
//
// Errors: those of Verify; ErrBusy; the folder has another installation, or one that is complete.
func Create(dir string, text []byte, publicKey string, s Settings, o Options) (*Installation, error) {
	o = o.complete()
	l, err := Verify(text, publicKey, o.Now())
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	f, err := lock(dir)
	if err != nil {
		return nil, err
	}
	i := &Installation{History: History{dir: dir, license: l}, lock: f, o: o}
	have, err := read(dir)
	if err == nil {
		err = i.tidy()
	}
	switch {
	case errors.Is(err, ErrNotInstalled):
		i.state = state{Format: format, PublicKey: publicKey, License: string(text), Settings: s, Current: -1}
		err = i.save()
	case err != nil:
	case have.PublicKey != publicKey:
		err = errors.New("the folder has an installation of another vendor: the public keys differ")
	default:
		i.state = have
		var before license.Verified
		if before, err = Verify([]byte(have.License), publicKey, time.Time{}); err != nil {
			break
		}
		switch {
		case before.ID != l.ID:
			err = errors.New("license ids do not match: the folder has an installation with another licence")
		case len(have.Versions) > 0 && have.Versions[0].Status == Deployed || have.Current > 0:
			err = errors.New("the application is installed in this folder: use ecrin update")
		default:
			i.state.Settings, i.state.License = s, string(text)
			err = i.save()
		}
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Open opens the installation in a folder.
//
// Errors: ErrNotInstalled, ErrBusy; the stored licence is damaged.
func Open(dir string, o Options) (*Installation, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return nil, ErrNotInstalled
	}
	f, err := lock(dir)
	if err != nil {
		return nil, err
	}
	i := &Installation{History: History{dir: dir}, lock: f, o: o.complete()}
	if i.state, err = read(dir); err == nil {
		err = i.tidy()
	}
	if err == nil {
		i.license, err = Verify([]byte(i.state.License), i.state.PublicKey, time.Time{}) // an end is for the server to say
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Close gives the folder free.
func (i *Installation) Close() {
	_ = durable.Unlock(i.lock) // its end closes it too
	i.lock.Close()
}

// server returns the server of updates of the licence.
func (i *Installation) server() (*Server, error) {
	var o ServerOptions
	o.PlainHTTP = i.state.Settings.PlainHTTP
	var err error
	if o.Roots, err = i.roots(); err != nil {
		return nil, err
	}
	endpoint := i.license.Endpoint
	if c := i.license.Channel(); c.Endpoint != "" {
		endpoint = c.Endpoint
	}
	return NewServer(strings.TrimSuffix(endpoint, "/"), i.license.AppSlug, i.license.ID, o)
}

// cluster returns the objects of the cluster.
func (i *Installation) cluster() (*kube.Objects, error) {
	c, err := kube.Open(kube.Config{Kubeconfig: i.state.Settings.Kubeconfig, Context: i.state.Settings.Context, UserAgent: "ecrin-install"})
	if err != nil {
		return nil, err
	}
	return kube.NewObjects(c), nil
}

// engine returns what rewrites images, and a function that closes it.
func (i *Installation) engine() (*rewrite.Engine, func(), error) {
	e := &rewrite.Engine{Asker: i.o.Asker}
	if e.Asker != nil {
		return e, func() {}, nil
	}
	client, err := i.registries(1)
	if err != nil {
		return nil, nil, err
	}
	e.Asker = rewrite.Registries{Client: client}
	return e, client.Close, nil
}

// registries returns a client of the registries that the vendor and its manifests name. attempts is how often a request is made; 0 for the
// usual number.
func (i *Installation) registries(attempts int) (*upstream.Client, error) {
	o := i.o.Egress
	var err error
	if o.Roots, err = i.roots(); err != nil {
		return nil, err
	}
	// The server of updates, whose address the vendor has signed, may have no TLS: NewServer says when. Its host is that of the proxy too.
	if u, err := url.Parse(i.license.Endpoint); err == nil && u.Scheme == "http" && (i.state.Settings.PlainHTTP || local(u.Hostname())) {
		host := strings.ToLower(u.Host)
		o.Plain = func(h string) bool { return h == host }
	}
	return upstream.New(upstream.Options{Guard: egress.New(o), Limits: upstream.Limits{Attempts: attempts}}), nil
}

// roots returns the authorities that are trusted beside; nil for those of the system.
func (i *Installation) roots() (*x509.CertPool, error) {
	if i.state.Settings.CA == "" {
		return nil, nil
	}
	return credential.Roots(i.state.Settings.CA)
}

// SyncLicense gets the licence as it is at the vendor. If it has changed, it is stored, and there is a new version. It reports whether
// there is.
//
// Errors: *RefusedError; ErrAirgap; a licence that the pinned key does not verify, or that has another id.
func (i *Installation) SyncLicense(ctx context.Context) (bool, error) {
	if i.Offline() {
		return false, fmt.Errorf("%w; a new licence is taken from its file (ecrin update license FILE)", ErrAirgap)
	}
	s, err := i.server()
	if err != nil {
		return false, err
	}
	text, err := s.License(ctx, i.license.Sequence, strings.TrimPrefix(string(i.license.Version), "kots.io/"))
	if err != nil {
		return false, err
	}
	return i.setLicense(ctx, text, func() error {
		_, err := i.ask(ctx, s)
		if refused := new(RefusedError); errors.As(err, &refused) {
			return nil // the new licence may be for another channel
		}
		return err
	})
}

// SetLicense replaces the licence by a later one of the same customer. It reports whether there is a new version: a licence of the same or
// an earlier sequence changes nothing.
//
// Errors: those of Verify, by the key of the installation; "license ids do not match".
func (i *Installation) SetLicense(ctx context.Context, text []byte) (bool, error) {
	return i.setLicense(ctx, text, func() error { return nil })
}

// setLicense is SetLicense. before is called when the licence is a later one, and nothing was changed yet.
func (i *Installation) setLicense(ctx context.Context, text []byte, before func() error) (bool, error) {
	l, err := Verify(text, i.state.PublicKey, i.o.Now())
	if err != nil {
		return false, err
	}
	if l.ID != i.license.ID || l.AppSlug != i.license.AppSlug {
		return false, errors.New("license ids do not match")
	}
	if l.Sequence <= i.license.Sequence {
		return false, nil
	}
	if err := before(); err != nil {
		return false, err
	}
	old := i.license
	i.license = l
	if len(i.state.Versions) == 0 {
		err = i.change(func(s *state) { s.License = string(text) })
	} else {
		err = i.derive(ctx, LicenseChange, func(s *state) { s.License = string(text) })
	}
	if err != nil {
		i.license = old
		return false, err
	}
	return len(i.state.Versions) > 0, nil
}
