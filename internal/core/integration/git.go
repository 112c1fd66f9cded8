package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// byGit reports whether an integration is with a repository of git by ssh or on this machine.
func byGit(s Settings) bool { return s.Provider == forge.Git && !strings.HasPrefix(s.URL, "https:") }

// checkGit checks settings and secrets of a repository of git by ssh or on this machine, and fills in the host.
//
// Errors: fault.InvalidParameter.
func checkGit(s *Settings, secrets Secrets) error {
	at, err := gitrepo.ParseLocation(s.URL)
	switch {
	case err != nil:
		return Bad("url", err.Error())
	case at.Folder != "" || strings.Contains(s.URL, "?"):
		return Bad("url", "must end with the name of the repository, without a folder and ref")
	case at.Scheme == gitrepo.Local && (secrets != (Secrets{}) || s.Username != "" || s.KnownHosts != ""):
		return Bad("password", "must be absent for a repository of the machine of the server")
	case at.Scheme == gitrepo.Local:
		s.Host = at.Path
		return nil
	case secrets.Password != "" || s.Username != "":
		return Bad("password", "must be absent for ssh, which has privateKey; the user is in the URL")
	}
	if err := gitrepo.CheckKey(secrets.Key); err != nil {
		return Bad("privateKey", err.Error())
	}
	if err := gitrepo.CheckKnownHosts(s.KnownHosts, at); err != nil {
		text, _ := gitText(err)
		return Bad("knownHosts", text)
	}
	s.Host = at.Host
	if at.Port != "" {
		s.Host = net.JoinHostPort(at.Host, at.Port)
	}
	return nil
}

// checkLocal checks that the operator lets an account use a repository of git of this machine, if the settings have one.
//
// Errors: fault.InvalidParameter.
func (s *Service) checkLocal(account name.Account, settings Settings) error {
	if !byGit(settings) {
		return nil
	}
	at, err := gitrepo.ParseLocation(settings.URL)
	if err != nil {
		return Bad("url", err.Error())
	}
	if at.Scheme == gitrepo.Local && (s.local == nil || !s.local(account, at.Path)) {
		return Bad("url",
			"the operator does not let this account use a repository of the machine of the server at this path: see the setting config_repository_paths")
	}
	return nil
}

// testGit lists the branches of a repository of git by ssh or on this machine.
func (s *Service) testGit(ctx context.Context, i meta.Integration) ([]Step, error) {
	settings, secrets, err := s.Open(i)
	if err != nil {
		return nil, fault.IntegrationFailed.New("the secrets of the integration %s cannot be read with the master key of this server: set them again by ecrin integration update",
			i.Name).Because(err)
	}
	at, err := gitrepo.ParseLocation(settings.URL)
	if err != nil {
		return nil, fault.IntegrationFailed.New("the URL of the integration %s cannot be read", i.Name).Because(err)
	}
	if err := s.checkLocal(i.Account, settings); err != nil { // the operator may have changed it
		return nil, fault.IntegrationFailed.New("%s", fault.From(err).Public).Because(err)
	}
	began := time.Now()
	remote := gitrepo.New(s.guard, at, gitrepo.Access{Key: secret.New(secrets.Key), KnownHosts: settings.KnownHosts})
	branches, err := remote.Branches(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	step := Step{Name: "git ls-remote --heads", Passed: err == nil, Took: time.Since(began)}
	problem := ""
	if err != nil {
		step.Message, step.Code = gitText(err)
		step.Cure = gitCure(err)
		problem = step.Name + ": " + step.Message + "; " + step.Cure
	} else {
		step.Found = branchesText(branches)
	}
	return []Step{step}, s.meta.IntegrationTested(ctx, i, problem, true)
}

// branchesText returns the number of branches and the first of them.
func branchesText(all []string) string {
	const shown = 5
	switch {
	case len(all) == 0:
		return "no branches: the repository is empty"
	case len(all) == 1:
		return "1 branch: " + all[0]
	case len(all) > shown:
		return fmt.Sprintf("%d branches: %s …", len(all), strings.Join(all[:shown], ", "))
	}
	return fmt.Sprintf("%d branches: %s", len(all), strings.Join(all, ", "))
}

// gitText returns the public text of an error of package gitrepo, and its reason.
func gitText(err error) (text, reason string) {
	switch e, ok := errors.AsType[*gitrepo.Error](err); {
	case isLoop(err):
		return "the name leads back to this installation", string(gitrepo.Away)
	case ok:
		return e.Text, string(e.Reason)
	}
	return "the repository cannot be read", ""
}

// gitCure returns what to do about an error of package gitrepo.
func gitCure(err error) string {
	switch e, ok := errors.AsType[*gitrepo.Error](err); {
	case isLoop(err):
		return loopCure
	case ok && e.Reason == gitrepo.Denied:
		return "add the public half of the key at the host, or set key and known hosts again by ecrin integration update"
	case ok && e.Reason == gitrepo.Missing:
		return "check the path, and let the owner of the key read the repository"
	case ok && e.Reason == gitrepo.Away:
		return "check name and port of the host; if its addresses are private, let the operator list them in the setting egress_allow"
	}
	return "check that there is a server of git at the URL"
}
