package trust

import (
	"fmt"
	"strings"
)

// store is a system's store of CAs.
type store struct {
	name    string
	dir     string // folder for the CAs of administrators
	file    string
	bundle  string   // the file that programs read; command makes it from all folders
	command []string // makes bundle
	remove  []string // command after a removal; nil means command
}

// stores are the known stores, ordered so that the first whose folder exists is the system's. Debian's entry is
// also for Ubuntu and Alpine.
var stores = []store{
	{name: "Fedora or RHEL", dir: "etc/pki/ca-trust/source/anchors", file: "ecrin.pem",
		bundle: "etc/pki/tls/certs/ca-bundle.crt", command: []string{"update-ca-trust", "extract"}},
	{name: "SUSE", dir: "etc/pki/trust/anchors", file: "ecrin.pem",
		bundle: "var/lib/ca-certificates/ca-bundle.pem", command: []string{"update-ca-certificates"}},
	{name: "Arch", dir: "etc/ca-certificates/trust-source/anchors", file: "ecrin.crt",
		bundle: "etc/ssl/certs/ca-certificates.crt", command: []string{"update-ca-trust", "extract"}},
	{name: "Debian", dir: "usr/local/share/ca-certificates", file: "ecrin.crt",
		bundle: "etc/ssl/certs/ca-certificates.crt", command: []string{"update-ca-certificates"},
		remove: []string{"update-ca-certificates", "--fresh"}},
}

// system plans the actions for the store that most programs use. On systems whose store is not a folder, the
// plan only has instructions.
func (p *planner) system() error {
	if p.PlainHTTP {
		p.add(Action{Target: System, Kind: Note, Done: true, Why: "without TLS there is no CA for the system to trust"})
		return nil
	}
	switch p.OS {
	case "darwin":
		p.darwin()
		return nil
	case "windows":
		p.add(Action{Target: System, Kind: Note,
			Why:   "ecrin does not change the Windows store: do it in a prompt with administrator's rights, with the CA saved as ecrin-ca.pem",
			Shell: map[bool]string{false: "certutil -addstore Root ecrin-ca.pem", true: "certutil -delstore Root ecrin"}[p.remove]})
		return nil
	}
	for _, s := range stores {
		if exists(under(p.Root, s.dir)) {
			return p.folderStore(s)
		}
	}
	p.add(Action{Target: System, Kind: Note,
		Why: "no known store of CAs was found: install the package ca-certificates and repeat this command"})
	return nil
}

func (p *planner) folderStore(s store) error {
	path := under(p.Root, s.dir+"/"+s.file)
	command, file := s.command, writing(System, path, string(p.CAPEM), "put the CA into the "+s.name+" store")
	why := "add it to the bundle that programs read; running programs read it after a restart"
	if p.remove {
		file = removing(System, path, "take the CA out of the "+s.name+" store")
		why = "remove it from the bundle that programs read"
		if s.remove != nil {
			command = s.remove
		}
	}
	if p.Root != "" && p.Root != "/" {
		command = append([]string{"chroot", p.Root}, command...)
	}
	quoted := make([]string, len(command))
	for i, word := range command {
		quoted[i] = quote(word)
	}
	// The bundle is checked too, so that a plan that is made after a failed command runs the command again.
	bundle, err := readMaybe(under(p.Root, s.bundle))
	if err != nil {
		return err
	}
	found := split(bundle, p.ca)
	current := found.exact
	if p.remove {
		current = !found.exact && !found.stale
	}
	p.add(file)
	p.add(Action{Target: System, Kind: Run, Why: why, Command: command, Shell: "sudo " + strings.Join(quoted, " "),
		Done: file.Done && current})
	return nil
}

// darwin adds an instruction: macOS requires a confirmation by the user before it changes its store.
func (p *planner) darwin() {
	const keychain = "/Library/Keychains/System.keychain"
	a := Action{Target: System, Kind: Note, Why: "macOS requires a confirmation before it trusts a CA: run this, then restart Docker Desktop",
		Shell: fmt.Sprintf("cat >ecrin-ca.pem <<'EOF'\n%sEOF\nsudo security add-trusted-cert -d -r trustRoot -k %s ecrin-ca.pem", p.CAPEM, keychain)}
	if p.remove {
		a.Why = "macOS requires a confirmation before it removes a CA: run this"
		name := "ecrin private CA"
		if p.ca != nil {
			name = p.ca.Subject.CommonName
		}
		a.Shell = fmt.Sprintf("sudo security delete-certificate -c %s %s", quote(name), keychain)
	}
	p.add(a)
}
