package ecr

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// GetRegistryScanningConfiguration returns when images of the registry of the caller are to be scanned: what was stored, or BASIC without
// rules. No images are scanned.
//
// Source: ECR API reference, GetRegistryScanningConfiguration.
func (s *Service) GetRegistryScanningConfiguration(ctx context.Context, _ identity.Caller, t Registry,
	_ *ecrtypes.GetRegistryScanningConfigurationRequest) (*ecrtypes.GetRegistryScanningConfigurationResponse, error) {
	c, err := s.scanning(ctx, t)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.GetRegistryScanningConfigurationResponse{RegistryId: t.Account.String(), ScanningConfiguration: c}, nil
}

// scanning returns the scanning configuration of a registry.
func (s *Service) scanning(ctx context.Context, t Registry) (*ecrtypes.RegistryScanningConfiguration, error) {
	c := ecrtypes.RegistryScanningConfiguration{ScanType: ecrtypes.ScanTypeBASIC, Rules: []ecrtypes.RegistryScanningRule{}}
	text, err := s.meta.Setting(ctx, t.Registry, meta.SettingScanning)
	if err != nil {
		return nil, err
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return nil, fmt.Errorf("reading the scanning configuration of %s: %w", t.Registry, err)
		}
	}
	if c.Rules == nil {
		c.Rules = []ecrtypes.RegistryScanningRule{}
	}
	return &c, nil
}

// PutRegistryScanningConfiguration stores when images of the registry of the caller are to be scanned, in place of what was stored. The
// scan type is BASIC, with at most one rule for each of SCAN_ON_PUSH and MANUAL: ENHANCED and CONTINUOUS_SCAN are refused, because
// nothing here would scan, and a configuration that says so would be taken for protection. No images are scanned by a BASIC one either.
//
// Errors: fault.InvalidParameter. Source: ECR API reference, PutRegistryScanningConfiguration; ECR user guide, image scanning.
func (s *Service) PutRegistryScanningConfiguration(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.PutRegistryScanningConfigurationRequest) (*ecrtypes.PutRegistryScanningConfigurationResponse, error) {
	c := ecrtypes.RegistryScanningConfiguration{ScanType: in.ScanType, Rules: in.Rules}
	switch c.ScanType {
	case "":
		c.ScanType = ecrtypes.ScanTypeBASIC
	case ecrtypes.ScanTypeENHANCED:
		return nil, BadMember("scanType", "ecrin has the scan type BASIC only: it does not scan images, and ENHANCED is a service of AWS")
	}
	if c.Rules == nil {
		c.Rules = []ecrtypes.RegistryScanningRule{}
	}
	had := map[ecrtypes.ScanFrequency]bool{}
	for _, r := range c.Rules {
		switch {
		case r.ScanFrequency == ecrtypes.ScanFrequencyCONTINUOUS_SCAN:
			return nil, BadMember("scanFrequency", "the scan type BASIC has the frequencies SCAN_ON_PUSH and MANUAL")
		case had[r.ScanFrequency]:
			return nil, BadMember("rules", "there can be one rule for each scan frequency")
		}
		had[r.ScanFrequency] = true
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a scanning configuration: %w", err)
	}
	if err := s.meta.PutSetting(ctx, t.Registry, meta.SettingScanning, string(text)); err != nil {
		return nil, err
	}
	return &ecrtypes.PutRegistryScanningConfigurationResponse{RegistryScanningConfiguration: &c}, nil
}

// ScannedRepositories are the repositories whose scanning configuration is asked for. Those that do not exist are nil.
type ScannedRepositories struct {
	At    Registry
	Found []*Repository // in the order of the names of the request
}

// OnScanned resolves the repositories whose scanning configuration is asked for.
func OnScanned(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.BatchGetRepositoryScanningConfigurationRequest) (t guard.Target[ScannedRepositories], err error) {
	if t.Value.At, err = RegistryOf(req, ""); err != nil {
		return t, err
	}
	for _, n := range in.RepositoryNames {
		one, err := s.Repository(ctx, t.Value.At, n)
		if err != nil {
			return t, err
		}
		found := &one.Value
		if one.Absent != nil {
			found = nil
		}
		t.Value.Found, t.Asks = append(t.Value.Found, found), append(t.Asks, one.Asks...)
	}
	return t, nil
}

// BatchGetRepositoryScanningConfiguration returns when images of repositories are to be scanned: by the rules of the registry, with the
// filters that chose the repository, or by the repository's own setting; otherwise by hand. No images are scanned. Names of repositories
// that do not exist are failures.
//
// Source: ECR API reference, BatchGetRepositoryScanningConfiguration; ECR user guide, image scanning, filters.
func (s *Service) BatchGetRepositoryScanningConfiguration(ctx context.Context, _ identity.Caller, t ScannedRepositories,
	in *ecrtypes.BatchGetRepositoryScanningConfigurationRequest) (*ecrtypes.BatchGetRepositoryScanningConfigurationResponse, error) {
	c, err := s.scanning(ctx, t.At)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.BatchGetRepositoryScanningConfigurationResponse{
		ScanningConfigurations: []ecrtypes.RepositoryScanningConfiguration{}, Failures: []ecrtypes.RepositoryScanningConfigurationFailure{}}
	for i, r := range t.Found {
		n := in.RepositoryNames[i]
		if r == nil {
			out.Failures = append(out.Failures, ecrtypes.RepositoryScanningConfigurationFailure{RepositoryName: n,
				FailureCode:   ecrtypes.ScanningConfigurationFailureCodeREPOSITORY_NOT_FOUND,
				FailureReason: fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", n, t.At.Account)})
			continue
		}
		frequency, filters := frequencyOf(c.Rules, n)
		if frequency == "" && r.ScanOnPush {
			frequency = ecrtypes.ScanFrequencySCAN_ON_PUSH
		}
		frequency = cmp.Or(frequency, ecrtypes.ScanFrequencyMANUAL)
		onPush := frequency == ecrtypes.ScanFrequencySCAN_ON_PUSH
		out.ScanningConfigurations = append(out.ScanningConfigurations, ecrtypes.RepositoryScanningConfiguration{
			RepositoryArn: t.At.RepositoryARN(n), RepositoryName: n, ScanOnPush: &onPush, ScanFrequency: frequency,
			AppliedScanFilters: filters})
	}
	return out, nil
}

// frequencyOf returns how often rules want images of a repository scanned, SCAN_ON_PUSH before MANUAL, with the filters that chose it;
// "" if none does.
func frequencyOf(rules []ecrtypes.RegistryScanningRule, repository string) (ecrtypes.ScanFrequency, []ecrtypes.ScanningRepositoryFilter) {
	by := []ecrtypes.ScanningRepositoryFilter{}
	for _, want := range []ecrtypes.ScanFrequency{ecrtypes.ScanFrequencySCAN_ON_PUSH, ecrtypes.ScanFrequencyMANUAL} {
		for _, r := range rules {
			for _, filter := range r.RepositoryFilters {
				if r.ScanFrequency == want && scanFilterMatches(filter.Filter, repository) {
					by = append(by, filter)
				}
			}
		}
		if len(by) > 0 {
			return want, by
		}
	}
	return "", by
}

// scanFilterMatches reports whether a filter chooses a repository: one without "*" those whose names contain it.
// Source: ECR user guide, filters of scanning.
func scanFilterMatches(filter, repository string) bool {
	if !strings.Contains(filter, "*") {
		return strings.Contains(repository, filter)
	}
	return name.Matches(filter, repository)
}
