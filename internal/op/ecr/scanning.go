package ecr

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// GetRegistryScanningConfiguration returns when images of the registry of the caller are to be scanned: what was stored, or BASIC without
// rules. No images are scanned.
//
// Source: ECR API reference, GetRegistryScanningConfiguration.
func (s *Service) GetRegistryScanningConfiguration(ctx context.Context, _ identity.Caller, t Registry,
	_ *ecrtypes.GetRegistryScanningConfigurationRequest) (*ecrtypes.GetRegistryScanningConfigurationResponse, error) {
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
	return &ecrtypes.GetRegistryScanningConfigurationResponse{RegistryId: t.Account.String(), ScanningConfiguration: &c}, nil
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
