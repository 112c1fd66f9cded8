// Package configrepo keeps the integrations of an account as files of a git repository, the shared configuration repository of a platform,
// from which clusters get them.
//
// What is to be written follows from what is stored. A job writes it, after each change and from time to time; a test of an integration
// precedes its first commit. What was written is known by the ids of the contents, so that files that somebody else has changed, removed or
// made are found: they are shown as drift, and are neither changed nor removed.
package configrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
	"github.com/ecrin-dev/ecrin/internal/rule/gitops"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Settings are what is not secret of a configuration repository.
type Settings struct {
	URL         string    `json:"url"` // see gitrepo.ParseLocation
	Username    string    `json:"username,omitempty"`
	KnownHosts  string    `json:"knownHosts,omitempty"` // of SSH
	AuthorName  string    `json:"authorName,omitempty"`
	AuthorEmail string    `json:"authorEmail,omitempty"`
	Namespace   string    `json:"namespace"`             // of the files for all runtimes
	Certificate string    `json:"certificate,omitempty"` // of Sealed Secrets; "" for External Secrets
	Runtimes    []Runtime `json:"runtimes,omitempty"`    // whose cluster has another namespace or certificate
	StoreKind   string    `json:"storeKind,omitempty"`   // of External Secrets: SecretStore or ClusterSecretStore
	Store       string    `json:"store,omitempty"`       // its name
	Prefix      string    `json:"prefix,omitempty"`      // of the keys in it
	SkipTest    bool      `json:"skipTest,omitempty"`    // integrations are written without a test
}

// Runtime says where the files of a runtime are used.
type Runtime struct {
	Name        string `json:"name"`
	Namespace   string `json:"namespace,omitempty"`   // "" for that of the settings
	Certificate string `json:"certificate,omitempty"` // likewise
}

// Secrets are the credentials of a configuration repository.
type Secrets struct {
	Password string `json:"password,omitempty"` // of HTTPS
	Key      string `json:"key,omitempty"`      // of SSH
}

// LocalPath allows an account to use a bare repository of the machine of the server.
type LocalPath struct {
	Account name.Account
	Path    string
}

// AllowedIn returns what reports whether a list has a path for an account.
func AllowedIn(all []LocalPath) func(account name.Account, path string) bool {
	return func(account name.Account, path string) bool { return slices.Contains(all, LocalPath{account, path}) }
}

// Service keeps configuration repositories. It is safe for concurrent use.
type Service struct {
	meta    *meta.Store
	keys    integration.Keys
	remotes *integration.Service
	guard   *egress.Guard
	local   []LocalPath
	now     func() time.Time
}

// Options holds the parameters of New. All but Local are required.
type Options struct {
	Meta    *meta.Store
	Keys    integration.Keys
	Remotes *integration.Service
	Guard   *egress.Guard
	Local   []LocalPath // that the operator allows
	Now     func() time.Time
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, keys: o.Keys, remotes: o.Remotes, guard: o.Guard, local: o.Local, now: o.Now}
}

// maxRuntimes limits the runtimes with a namespace or certificate of their own.
const maxRuntimes = 100

// Put stores the configuration repository of an account: with the version 0 a new one, else the changed one. It makes no call.
//
// Errors: fault.InvalidParameter (settings), fault.ObjectInUse (the place is another one, and files were written), and those of
// meta.Store.PutConfigRepository.
func (s *Service) Put(ctx context.Context, c meta.ConfigRepository, settings Settings, secrets Secrets) (meta.ConfigRepository, error) {
	at, err := s.check(c.Account, settings, secrets)
	if err != nil {
		return c, err
	}
	if c.Version != 0 {
		if err := samePlace(c, at); err != nil {
			return c, err
		}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return c, fmt.Errorf("encoding the settings of a configuration repository: %w", err)
	}
	hidden, err := json.Marshal(secrets)
	if err != nil {
		return c, fmt.Errorf("encoding the secrets of a configuration repository: %w", err)
	}
	c.Settings, c.Sealed = string(text), s.keys.SealForeign(meta.ConfigRepositoryARN(c.Account), secret.New(string(hidden)))
	return s.meta.PutConfigRepository(ctx, c)
}

// samePlace checks that a repository whose files were written stays where it is: they would be left behind.
func samePlace(c meta.ConfigRepository, at gitrepo.Location) error {
	had, err := SettingsOf(c)
	if err != nil {
		return err
	}
	state, err := StateOf(c)
	if err != nil {
		return err
	}
	if old, err := gitrepo.ParseLocation(had.URL); len(state.Files) > 0 && (err != nil || old != at) {
		return fault.ObjectInUse.New("%d files are in %s: remove the configuration repository first, which removes them, or keeps them with --keep-files",
			len(state.Files), had.URL)
	}
	return nil
}

// check checks settings and secrets, and returns where the files are.
//
// Errors: fault.InvalidParameter.
func (s *Service) check(account name.Account, v Settings, secrets Secrets) (at gitrepo.Location, err error) {
	if at, err = gitrepo.ParseLocation(v.URL); err != nil {
		return at, integration.Bad("url", err.Error())
	}
	switch {
	case at.Scheme == gitrepo.Local && !s.allowed(account, at):
		return at, integration.Bad("url",
			"the operator does not let this account use a repository of the machine of the server at this path: see the setting config_repository_paths")
	case at.Scheme == gitrepo.Local && (secrets != (Secrets{}) || v.Username != "" || v.KnownHosts != ""):
		return at, integration.Bad("password", "must be absent for a repository of the machine of the server")
	case at.Scheme == gitrepo.HTTPS && (secrets.Key != "" || v.KnownHosts != ""):
		return at, integration.Bad("privateKey", "must be absent for https, which has username and password")
	case at.Scheme == gitrepo.HTTPS && (v.Username == "") != (secrets.Password == ""):
		return at, integration.Bad("username", "must be present together with password")
	case at.Scheme == gitrepo.SSH && (secrets.Password != "" || v.Username != ""):
		return at, integration.Bad("password", "must be absent for ssh, which has privateKey; the user is in the URL")
	case at.Scheme == gitrepo.SSH:
		if err := gitrepo.CheckKey(secrets.Key); err != nil {
			return at, integration.Bad("privateKey", err.Error())
		}
		if err := gitrepo.CheckKnownHosts(v.KnownHosts, at); err != nil {
			return at, integration.Bad("knownHosts", textOf(err))
		}
	}
	return at, checkTargets(v)
}

// checkTargets checks how secrets are written. Errors: fault.InvalidParameter.
func checkTargets(v Settings) error {
	switch {
	case (v.Certificate == "") == (v.Store == ""):
		return integration.Bad("certificate", "either this or secretStore must be present: a plain Secret is never written")
	case v.Store != "" && v.StoreKind != "SecretStore" && v.StoreKind != "ClusterSecretStore":
		return integration.Bad("secretStoreKind", "must be SecretStore or ClusterSecretStore")
	case v.Store == "" && (v.StoreKind != "" || v.Prefix != ""):
		return integration.Bad("secretStoreKind", "must be absent without secretStore")
	case len(v.Runtimes) > maxRuntimes:
		return integration.Bad("runtimes", fmt.Sprintf("must have at most %d entries", maxRuntimes))
	}
	all := append([]Runtime{{"", v.Namespace, v.Certificate}}, v.Runtimes...)
	for n, one := range all {
		if n > 0 && slices.ContainsFunc(all[1:n], func(o Runtime) bool { return o.Name == one.Name }) {
			return integration.Bad("runtimes", "must have each runtime once")
		}
		if one.Namespace != "" || n == 0 {
			if err := gitops.CheckNamespace(one.Namespace); err != nil {
				return integration.Bad("namespace", err.Error())
			}
		}
		if one.Certificate != "" {
			if v.Store != "" {
				return integration.Bad("runtimes", "must have no certificate together with secretStore")
			}
			if _, err := gitops.NewSealer(one.Certificate); err != nil {
				return integration.Bad("certificate", err.Error())
			}
		}
	}
	return nil
}

// allowed reports whether the operator lets an account use a repository of this machine.
func (s *Service) allowed(account name.Account, at gitrepo.Location) bool {
	return slices.Contains(s.local, LocalPath{account, at.Path})
}

// SettingsOf returns what is not secret of a configuration repository.
func SettingsOf(c meta.ConfigRepository) (v Settings, err error) {
	if err := json.Unmarshal([]byte(c.Settings), &v); err != nil {
		return v, fmt.Errorf("reading the settings of a configuration repository: %w", err)
	}
	return v, nil
}

// Open returns the secrets of a configuration repository. Errors: fault.IntegrationFailed (another master key has sealed them).
func (s *Service) Open(c meta.ConfigRepository) (secrets Secrets, err error) {
	text, err := s.keys.OpenForeign(meta.ConfigRepositoryARN(c.Account), c.Sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text.Reveal()), &secrets)
	}
	if err != nil {
		return Secrets{}, fault.IntegrationFailed.New(
			"the credentials of the configuration repository cannot be read with the master key of this server: set them again").Because(err)
	}
	return secrets, nil
}

// State is what was written into a configuration repository.
type State struct {
	Seen     int64              `json:"seen,omitempty"` // Wanted of the last attempt that ended
	Head     string             `json:"head,omitempty"` // the commit that has the files below; "" before the first one
	TriedAt  time.Time          `json:"triedAt,omitzero"`
	SyncedAt time.Time          `json:"syncedAt,omitzero"`
	Error    string             `json:"error,omitempty"` // of the last attempt, for the owner; "" after a success
	Files    map[string]File    `json:"files,omitempty"` // by path
	Written  map[string]Written `json:"written,omitempty"`
	Drift    []Drift            `json:"drift,omitempty"`
}

// File is a file that was written, or that an attempt was about to write.
type File struct {
	Integration string    `json:"integration"`
	ID          string    `json:"id,omitempty"`    // of its content; "" if no attempt has ended
	Tried       []string  `json:"tried,omitempty"` // ids of contents of attempts whose end is not known
	TriedAt     time.Time `json:"triedAt,omitzero"`
}

// has reports whether a content is one that was written here.
func (f File) has(id string) bool { return id != "" && (id == f.ID || slices.Contains(f.Tried, id)) }

// Written is what was written of an integration.
type Written struct {
	Source string `json:"source,omitempty"` // see Service.source; "" if nothing was written
	Failed string `json:"failed,omitempty"` // the source that could not be written
	Error  string `json:"error,omitempty"`  // why, for the owner
}

// Drift is a file that is not as it was written.
type Drift struct {
	Path        string `json:"path"`
	Integration string `json:"integration"`
	Kind        string `json:"kind"`
}

// The kinds of drift.
const (
	Changed = "CHANGED" // somebody else has changed the file
	Deleted = "DELETED" // somebody else has removed the file
	Foreign = "FOREIGN" // there is a file of somebody else at the path
)

// StateOf returns the state of a configuration repository.
func StateOf(c meta.ConfigRepository) (st State, err error) {
	if err := json.Unmarshal([]byte(c.State), &st); err != nil {
		return st, fmt.Errorf("reading the state of a configuration repository: %w", err)
	}
	if st.Files == nil {
		st.Files = map[string]File{}
	}
	if st.Written == nil {
		st.Written = map[string]Written{}
	}
	return st, nil
}

// Status says how far the files of an integration are.
type Status string

// The states of an integration. Source: the platform's syncStatus.
const (
	Synced    Status = "SYNCED"
	OutOfSync Status = "OUT_OF_SYNC"
	Syncing   Status = "SYNCING"
	Unknown   Status = "UNKNOWN" // the account has no configuration repository
)

// StatusOf returns the state of an integration and, for OutOfSync, why. source is its current one.
func (st State) StatusOf(wanted int64, label, source string) (Status, string) {
	w := st.Written[label]
	for _, d := range st.Drift {
		if d.Integration == label {
			return OutOfSync, driftText(d)
		}
	}
	switch {
	case w.Source == source:
		return Synced, ""
	case w.Failed == source && w.Error != "":
		return OutOfSync, w.Error
	case st.Seen == wanted && st.Error != "":
		return OutOfSync, st.Error
	}
	return Syncing, ""
}

// Overall returns the state of the repository as a whole.
func (st State) Overall(wanted int64) Status {
	switch {
	case st.Seen != wanted:
		return Syncing
	case st.Error != "" || len(st.Drift) > 0:
		return OutOfSync
	}
	return Synced
}

func driftText(d Drift) string {
	switch d.Kind {
	case Deleted:
		return d.Path + " was removed by somebody else: restore it, or delete the integration"
	case Foreign:
		return d.Path + " was made by somebody else: remove it, and it is written"
	}
	return d.Path + " was changed by somebody else: undo the change, and it is written again"
}

// Statuses returns the state of each integration of an account by its name.
func (s *Service) Statuses(ctx context.Context, account name.Account, all []meta.Integration) (map[string]Status, error) {
	out := map[string]Status{}
	c, err := s.meta.ConfigRepository(ctx, account)
	if errors.Is(err, fault.ObjectNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	shown, err := s.Show(ctx, c, all)
	for _, one := range shown {
		out[one.Name] = one.Status
	}
	return out, err
}

// Shown is the state of an integration.
type Shown struct {
	Name   string
	Status Status
	Why    string
	Paths  []string // of its files
}

// Show returns the state of integrations.
func (s *Service) Show(ctx context.Context, c meta.ConfigRepository, all []meta.Integration) (out []Shown, err error) {
	st, err := StateOf(c)
	if err != nil {
		return nil, err
	}
	v, err := SettingsOf(c)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		source, err := s.source(ctx, i, v)
		if err != nil {
			return nil, err
		}
		one := Shown{Name: i.Name}
		one.Status, one.Why = st.StatusOf(c.Wanted, i.Name, source)
		for path, f := range st.Files {
			if f.Integration == i.Name && f.ID != "" {
				one.Paths = append(one.Paths, path)
			}
		}
		slices.Sort(one.Paths)
		out = append(out, one)
	}
	return out, nil
}

// layoutVersion changes when the files of the same integration have another form.
const layoutVersion = "1"

// source returns a text that changes with everything from which the files of an integration are made.
func (s *Service) source(ctx context.Context, i meta.Integration, v Settings) (string, error) {
	versions, err := s.remotes.Versions(ctx, i)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal([]any{layoutVersion, v.Namespace, v.Certificate, v.Runtimes, v.StoreKind, v.Store, v.Prefix})
	if err != nil {
		return "", fmt.Errorf("encoding a layout: %w", err)
	}
	sum := sha256.Sum256(text)
	return versions + "." + hex.EncodeToString(sum[:6]), nil
}

// textOf returns what the owner of a repository may see of an error.
func textOf(err error) string {
	if e, ok := errors.AsType[*gitrepo.Error](err); ok {
		return e.Error()
	}
	if public := fault.From(err).Public; public != "" {
		return public
	}
	return "internal error"
}

// short returns the texts in a line of limited length.
func short(texts []string) string {
	const most = 5
	if len(texts) > most {
		texts = append(slices.Clone(texts[:most]), fmt.Sprintf("and %d more", len(texts)-most))
	}
	return strings.Join(texts, "; ")
}
