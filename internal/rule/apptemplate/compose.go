package apptemplate

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ComposeService is what is read of a service of a file of docker compose.
type ComposeService struct {
	Name          string
	Image         string // with the values of its variables
	Build         *Build
	Command, Args []string
	DependsOn     []string
	Ports         []Port
	Health        *Probe // nil for none
	CPU, Memory   string // limits, as quantities of Kubernetes
	Replicas      int
	Platform      string
	Profiles      []string // with which alone it is started
	Line          int
}

// ParseCompose reads the services of a file of docker compose. Keys that are not taken over are warnings. Variables have the values
// that lookup returns, and else their defaults; lookup may be nil. If a finding is an error, the services are not to be used.
//
// Source: the compose specification.
func ParseCompose(text []byte, lookup func(string) (string, bool)) ([]ComposeService, []Finding) {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	r := &reader{}
	root := r.parse(text)
	if root == nil {
		if len(r.findings) == 0 {
			r.note(Error, nil, "", "the file is empty")
		}
		return nil, r.findings
	}
	top := r.at(root, "", 0).mapping(nil)
	if v := top.get("include"); v.there() {
		v.warn("is not followed: give the file that `docker compose config` prints")
	}
	c := compose{r: r, lookup: lookup, services: top.need("services", ": a file of compose has a mapping of them").mapping(nil)}
	c.others(top, "", takenFile)
	var all []ComposeService
	for _, label := range c.services.keys {
		if len(all) == maxItems {
			c.services.fail("has more than %d entries", maxItems)
			break
		}
		m := c.services.get(label).mapping(nil)
		if !m.there() {
			continue
		}
		at := c.services.lines[label]
		if !serviceName.MatchString(label) {
			r.note(Error, at, m.path, "must have at most 63 letters, digits, - and _")
		}
		s := c.service(m, []string{label})
		s.Name, s.Line = label, at.Line
		if s.Image == "" && s.Build == nil && !m.get("provider").there() && !Failed(r.findings) {
			r.note(Error, at, m.path, "has neither an image nor a build")
		}
		all = append(all, s)
	}
	c.report()
	slices.SortStableFunc(r.findings, func(a, b Finding) int { return a.Line - b.Line })
	return all, r.findings
}

// compose reads services of one file.
type compose struct {
	r        *reader
	lookup   func(string) (string, bool)
	services mapping
	left     []untaken // in the order of the file
}

// service reads a service, and what it extends. chain has the names from the one that is read first.
func (c *compose) service(m mapping, chain []string) ComposeService {
	s := c.base(m.get("extends"), chain)
	s.Platform = cmp.Or(c.text(m.get("platform")), s.Platform)
	s.Image = cmp.Or(c.text(m.get("image")), s.Image)
	if b := c.build(m.get("build")); b != nil {
		s.Build = b.over(s.Build)
	}
	// The entrypoint of compose is the command of Kubernetes, and the command of compose its args.
	if v := m.get("entrypoint"); v.there() {
		s.Command, s.Args = c.words(v), nil
		v.empty(s.Command)
	}
	if v := m.get("command"); v.there() {
		s.Args = c.words(v)
		v.empty(s.Args)
	}
	s.DependsOn = c.dependencies(m.get("depends_on")) // of what is extended, none is taken over
	for _, p := range c.ports(m.get("ports"), m.get("expose")) {
		if i := slices.IndexFunc(s.Ports, func(o Port) bool { return o.Target == p.Target }); i >= 0 {
			s.Ports[i].Node = s.Ports[i].Node || p.Node
		} else {
			s.Ports = append(s.Ports, p)
		}
	}
	if v := m.get("healthcheck"); v.there() {
		s.Health = c.health(v)
	}
	c.resources(m, &s)
	if v := m.get("profiles"); v.there() {
		s.Profiles = v.texts()
	}
	c.others(m, "", takenService)
	return s
}

// base reads the service of the file that another one extends; the zero value for none.
func (c *compose) base(extends value, chain []string) ComposeService {
	if !extends.there() {
		return ComposeService{}
	}
	label := ""
	if extends.node.Kind == yaml.ScalarNode {
		label = extends.text()
	} else {
		m := extends.mapping(nil)
		if m.get("file").there() {
			extends.warn("is not followed, because it is in another file: give the file that `docker compose config` prints")
			return ComposeService{}
		}
		label = m.need("service", "").text()
	}
	switch m := c.services.get(label).mapping(nil); {
	case label == "":
	case !m.there():
		extends.fail("there is no service %q", name.Clip(label))
	case slices.Contains(chain, label):
		extends.fail("the services %s extend each other", strings.Join(chain, ", "))
	case len(chain) > maxDepth:
		extends.fail("services are extended more than %d times", maxDepth)
	default:
		quiet, left := len(c.r.findings), len(c.left)
		s := c.service(m, append(slices.Clip(chain), label))
		c.left = c.left[:left]
		if !Failed(c.r.findings[quiet:]) {
			c.r.findings = c.r.findings[:quiet] // its warnings are noted where it is
		}
		return s
	}
	return ComposeService{}
}

// over returns a build whose missing members are those of another one.
func (b *Build) over(base *Build) *Build {
	if base == nil {
		return b
	}
	b.Context, b.Dockerfile, b.Target = cmp.Or(b.Context, base.Context), cmp.Or(b.Dockerfile, base.Dockerfile), cmp.Or(b.Target, base.Target)
	for _, one := range base.Args {
		key, _, _ := strings.Cut(one, "=")
		if !slices.ContainsFunc(b.Args, func(own string) bool { return strings.HasPrefix(own, key+"=") }) {
			b.Args = append(b.Args, one)
		}
	}
	return b
}

// resources reads limits and replicas, in the form of deploy and in that of version 2.
func (c *compose) resources(m mapping, s *ComposeService) {
	deploy := m.get("deploy").mapping(nil)
	resources := deploy.get("resources").mapping(nil)
	limits := resources.get("limits").mapping(nil)
	c.others(deploy, "deploy.", append(takenDeploy, "restart_policy"))
	c.others(deploy.get("restart_policy").mapping(nil), "deploy.restart_policy.", nil)
	c.others(resources, "deploy.resources.", []string{"limits"})
	c.others(limits, "deploy.resources.limits.", takenLimits)
	for _, v := range []value{m.get("cpus"), limits.get("cpus")} {
		s.CPU = cmp.Or(c.cpu(v), s.CPU)
	}
	for _, v := range []value{m.get("mem_limit"), limits.get("memory")} {
		s.Memory = cmp.Or(c.memory(v), s.Memory)
	}
	for _, v := range []value{m.get("scale"), deploy.get("replicas")} {
		if !v.there() {
			continue
		}
		text := c.text(v)
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 10_000 {
			v.fail("must be a number from 0 to 10000, got %q", name.Clip(text))
			continue
		}
		s.Replicas = n
	}
}

// names reads a list of texts, or the keys of a mapping.
func names(v value) []string {
	if v.there() && v.node.Kind == yaml.MappingNode {
		return v.mapping(nil).keys
	}
	return v.texts()
}

// words reads a command.
func (c *compose) words(v value) (all []string) {
	if v.node.Kind != yaml.ScalarNode {
		for _, one := range v.list() {
			all = append(all, c.text(one))
		}
		return all
	}
	all, err := Words(c.text(v))
	if err != nil {
		v.fail("%v", err)
	}
	return all
}

// build reads build: a folder, or a mapping.
func (c *compose) build(v value) *Build {
	switch {
	case !v.there():
		return nil
	case v.node.Kind == yaml.ScalarNode:
		return &Build{Context: c.text(v), Line: v.node.Line}
	}
	m := v.mapping(nil)
	if !m.there() {
		return nil
	}
	b := &Build{Context: c.text(m.get("context")), Dockerfile: c.text(m.get("dockerfile")), Target: c.text(m.get("target")), Line: m.node.Line}
	if inline := m.get("dockerfile_inline"); inline.there() {
		inline.fail("is not taken over: write it to a file, and name that as dockerfile")
	}
	for _, key := range []string{"additional_contexts", "secrets", "ssh", "platforms", "network", "extra_hosts", "shm_size", "privileged"} {
		if v := m.get(key); v.there() {
			v.warn("is not taken over")
		}
	}
	add := func(at value, key, text string, there bool) {
		if !there {
			if text, there = c.lookup(key); !there {
				at.warn("%s has no value, and is left out", name.Clip(key))
				return
			}
		}
		if key == "" {
			at.fail("an argument needs a name")
			return
		}
		b.Args = append(b.Args, key+"="+text)
	}
	if args := m.get("args"); args.there() && args.node.Kind == yaml.MappingNode {
		all := args.mapping(nil)
		for _, key := range all.keys {
			v := all.get(key)
			add(all.value, key, c.text(v), v.there())
		}
	} else {
		for _, one := range args.list() {
			key, text, there := strings.Cut(c.text(one), "=")
			add(one, key, text, there)
		}
	}
	return b
}

// The most ports of one range, and the longest text that variables may make.
const (
	maxPortRange = 100
	maxText      = 32 << 10 // bytes
)

// text reads a text with the values of its variables: $NAME, ${NAME}, and ${NAME} with :-default, -default, :?message, ?message,
// :+instead and +instead, in which variables may stand again. $$ is a dollar.
//
// Source: the compose specification, interpolation.
func (c *compose) text(v value) string {
	text := v.text()
	if !strings.Contains(text, "$") {
		return text
	}
	var out strings.Builder
	if rest := c.expand(v, text, &out, false, 0); rest != "" {
		v.fail("has a } that is not expected, or a text that is too long")
	}
	return out.String()
}

// expand writes a text with its variables replaced, up to the } of a variable if it is inside of one, and returns what is left.
func (c *compose) expand(v value, text string, out *strings.Builder, inside bool, depth int) (rest string) {
	for text != "" {
		if out.Len() > maxText {
			return text
		}
		at := strings.IndexByte(text, '$')
		if end := strings.IndexByte(text, '}'); inside && end >= 0 && (at < 0 || end < at) {
			out.WriteString(text[:end])
			return text[end:]
		}
		if at < 0 {
			out.WriteString(text)
			return ""
		}
		out.WriteString(text[:at])
		text = text[at+1:]
		if strings.HasPrefix(text, "$") {
			out.WriteByte('$')
			text = text[1:]
			continue
		}
		braces := strings.HasPrefix(text, "{")
		text = strings.TrimPrefix(text, "{")
		n := 0
		for n < len(text) && (text[n] == '_' || 'a' <= text[n]|0x20 && text[n]|0x20 <= 'z' || n > 0 && '0' <= text[n] && text[n] <= '9') {
			n++
		}
		variable := text[:n]
		if text = text[n:]; variable == "" || depth > maxDepth {
			v.fail("a $ begins no variable: a dollar is written $$")
			return ""
		}
		if !braces {
			out.WriteString(c.variable(v, variable, "", "", false))
			continue
		}
		operator := ""
		for _, o := range []string{":-", "-", ":?", "?", ":+", "+"} {
			if strings.HasPrefix(text, o) {
				operator = o
				break
			}
		}
		var other strings.Builder
		quiet := len(c.r.findings)
		text = c.expand(v, text[len(operator):], &other, true, depth+1)
		if !strings.HasPrefix(text, "}") || operator == "" && other.Len() > 0 {
			v.fail("the variable %s does not end", name.Clip(variable))
			return ""
		}
		text = text[1:]
		value, set := c.lookup(variable)
		if unused := set && (value != "" || !strings.HasPrefix(operator, ":")); unused != strings.HasSuffix(operator, "+") && operator != "" {
			c.r.findings = c.r.findings[:quiet] // what stands there is not used
		}
		out.WriteString(c.variable(v, variable, operator, other.String(), true))
	}
	return ""
}

// variable returns what a variable stands for, and notes an error if it has no value.
func (c *compose) variable(v value, variable, operator, other string, braces bool) string {
	text, set := c.lookup(variable)
	set = set && (text != "" || !strings.HasPrefix(operator, ":"))
	switch kind := strings.TrimPrefix(operator, ":"); {
	case kind == "+" && set:
		return other
	case kind == "+":
		return ""
	case set:
		v.warn("the variable %s has its value of .env", variable)
		return text
	case kind == "-":
		v.warn("the variable %s has its default, %s", variable, name.Clip(other))
		return other
	case kind == "?" && other != "":
		v.fail("the variable %s has no value: %s", variable, name.Clip(other))
		return ""
	}
	shown := "$" + variable
	if braces {
		shown = "${" + variable + "}"
	}
	v.fail("the variable %s has no default, and no value in .env: give the file that `docker compose config` prints", shown)
	return ""
}

// ports reads ports in the short and in the long form, and those of expose. Each port of a container is there once.
func (c *compose) ports(published, exposed value) (all []Port) {
	add := func(at value, target string, node bool) {
		from, to, ok := portRange(target)
		if !ok {
			at.warn("is left out: %q is no port, and no range of at most %d", name.Clip(target), maxPortRange)
			return
		}
		for n := from; n <= to; n++ {
			if i := slices.IndexFunc(all, func(o Port) bool { return o.Target == n }); i >= 0 {
				all[i].Node = all[i].Node || node
				continue
			}
			all = append(all, Port{Target: n, Node: node})
		}
	}
	for _, one := range few(published, published.list()) {
		target, outside, protocol, host := "", "", "", ""
		switch {
		case !one.there():
			continue
		case one.node.Kind == yaml.MappingNode:
			m := one.mapping(nil)
			target, outside = c.text(m.need("target", "")), c.text(m.get("published"))
			protocol, host = c.text(m.get("protocol")), c.text(m.get("host_ip"))
			if target == "" {
				continue
			}
		default:
			var text string
			text, protocol, _ = strings.Cut(c.text(one), "/")
			if strings.HasPrefix(text, "[") { // an address of IPv6
				var ok bool
				if host, text, ok = strings.Cut(text[1:], "]:"); !ok {
					one.warn("is left out: it is no port")
					continue
				}
			}
			parts := strings.Split(text, ":")
			target = parts[len(parts)-1]
			if len(parts) > 1 {
				outside = parts[len(parts)-2]
			}
			if len(parts) > 2 {
				host = strings.Join(parts[:len(parts)-2], ":")
			}
		}
		if strings.EqualFold(protocol, "udp") || strings.EqualFold(protocol, "sctp") {
			one.warn("a port of %s is left out", strings.ToUpper(protocol))
			continue
		}
		local := strings.HasPrefix(host, "127.") || host == "localhost" || host == "::1"
		add(one, target, outside != "" && !local)
	}
	for _, one := range few(exposed, exposed.list()) {
		text, protocol, _ := strings.Cut(c.text(one), "/")
		if protocol == "" || strings.EqualFold(protocol, "tcp") {
			add(one, text, false)
		}
	}
	return all
}

// portRange reads N or N-M.
func portRange(text string) (from, to int, ok bool) {
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	return from, to, err1 == nil && err2 == nil && 1 <= from && from <= to && to <= 65535 && to-from < maxPortRange
}

// health reads a healthcheck, which becomes the probe of readiness; nil for none.
func (c *compose) health(v value) *Probe {
	m := v.mapping(nil)
	test := m.get("test")
	if m.get("disable").flag() || !test.there() {
		return nil
	}
	var words []string
	if test.node.Kind == yaml.ScalarNode {
		words = []string{"CMD-SHELL", c.text(test)}
	} else {
		for _, one := range test.list() {
			words = append(words, c.text(one))
		}
	}
	p := &Probe{Period: c.seconds(m.get("interval")), Timeout: c.seconds(m.get("timeout")), Delay: c.seconds(m.get("start_period"))}
	if retries := m.get("retries"); retries.there() {
		n, err := strconv.Atoi(c.text(retries))
		if err != nil || n < 0 || n > 10_000 {
			retries.warn("is left out: it is no number")
			n = 0
		}
		p.Failures = n
	}
	switch {
	case len(words) == 1 && words[0] == "NONE":
		return nil
	case len(words) > 1 && words[0] == "CMD":
		p.Command = words[1:]
	case len(words) == 2 && words[0] == "CMD-SHELL":
		p.Command = []string{"/bin/sh", "-c", words[1]}
	default:
		test.warn("is left out: it is no command, and begins with none of CMD, CMD-SHELL and NONE")
		return nil
	}
	return p
}

// seconds reads a duration, such as 1m30s, in whole seconds, at least 1; 0 if it is absent.
func (c *compose) seconds(v value) int {
	text := c.text(v)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 24*time.Hour {
		v.warn("is left out: it is no time of at most a day, such as 1m30s")
		return 0
	}
	return max(1, int(math.Ceil(d.Seconds())))
}

// cpu returns a number of processors, such as 0.5, as it is.
func (c *compose) cpu(v value) string {
	text := c.text(v)
	if text != "" && (!quantity.MatchString(text) || strings.Trim(text, "0.") == "" || strings.Trim(text, "0123456789.") != "") {
		v.warn("is left out: it is no number of processors")
		return ""
	}
	return text
}

// memory returns a size such as 512m or 1gb as a quantity of Kubernetes.
func (c *compose) memory(v value) string {
	text := strings.ToLower(c.text(v))
	if text == "" {
		return ""
	}
	digits := strings.TrimRight(text, "bkmgi ")
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(text[len(digits):]), "b"), "i")
	to, ok := map[string]string{"": "", "k": "Ki", "m": "Mi", "g": "Gi"}[unit]
	if !ok || !quantity.MatchString(digits) || strings.Trim(digits, "0123456789.") != "" || strings.Trim(digits, "0.") == "" {
		v.warn("is left out: it is no size")
		return ""
	}
	return digits + to
}
