package config

// TLS holds the settings of TLS.
type TLS struct {
	// Mode is off, auto (a private CA in DATA/tls, which issues a certificate for each name), or files.
	Mode string `yaml:"mode"`
	// Regions lists the regions whose ECR names, such as ACCOUNT.dkr.ecr.REGION.amazonaws.com, the private CA of mode auto may
	// issue certificates for. Default none: the region of the default registry.
	Regions []string `yaml:"regions"`
	// IAMSTS lets the private CA also issue certificates for the names of IAM and STS: sts.REGION.amazonaws.com in Regions,
	// sts.amazonaws.com, iam.amazonaws.com. Default false: clients use these APIs by the address of the server.
	IAMSTS bool `yaml:"iam_sts"`
	// Cert and Key are the PEM files of mode files; they are read again when they change.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// The TLS modes.
const (
	TLSOff   = "off"
	TLSAuto  = "auto"
	TLSFiles = "files"
)
