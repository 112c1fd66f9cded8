package meta

// The account settings of a registry that change its behaviour, with their values other than the default.
// Source: ECR API reference, PutAccountSetting.
const (
	SettingScanType     = "BASIC_SCAN_TYPE_VERSION"
	SettingPolicyScope  = "REGISTRY_POLICY_SCOPE"
	SettingBlobMounting = "BLOB_MOUNTING"

	// SettingScanning is no account setting of ECR: it has the scanning configuration of the registry, as JSON.
	SettingScanning = "scanning"

	ScanTypeNative = "AWS_NATIVE"
	PolicyScopeV1  = "V1"
	PolicyScopeV2  = "V2"
	Enabled        = "ENABLED"
	Disabled       = "DISABLED"
)
