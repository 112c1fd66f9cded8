package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Result is the result of a check of the host.
type Result string

// The results.
const (
	OK   Result = "ok"
	Warn Result = "warn" // an installation is possible
	Fail Result = "fail"
)

// HostCheck is one check of the host or of the cluster.
type HostCheck struct {
	Name   string `json:"name"`
	Found  string `json:"found"`
	Want   string `json:"want"`
	Result Result `json:"result"`
	Cure   string `json:"cure,omitempty"`
}

// The needs of an installation: of this machine if it also runs the cluster, else of the installer alone.
const (
	minCores       = 2
	minMemory      = 2 << 30
	minDisk        = 10 << 30
	minDiskClient  = 1 << 30
	minMemoryAlone = 256 << 20
)

// Target is the cluster that an installation goes to.
type Target struct {
	Kubeconfig string `json:"kubeconfig,omitempty"` // path; "" for the usual one
	K3s        bool   `json:"k3s"`                  // of this machine
}

// Where k3s is, and the kubeconfig that it writes.
const (
	k3sProgram = "/usr/local/bin/k3s"
	k3sConfig  = "/etc/rancher/k3s/k3s.yaml"
)

// FindTarget returns the cluster to install to: that of a kubeconfig, which may be named, or else the k3s of this machine.
//
// Errors: there is neither.
func FindTarget(kubeconfig string) (Target, error) {
	if kubeconfig != "" {
		full, err := filepath.Abs(kubeconfig)
		if err == nil {
			_, err = os.Stat(full)
		}
		return Target{Kubeconfig: full, K3s: full == k3sConfig}, err
	}
	if os.Getenv("KUBECONFIG") != "" {
		return Target{}, nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		if _, err := os.Stat(filepath.Join(home, ".kube", "config")); err == nil {
			return Target{}, nil
		}
	}
	if f, err := os.Open(k3sConfig); err == nil {
		f.Close()
		return Target{Kubeconfig: k3sConfig, K3s: true}, nil
	} else if errors.Is(err, os.ErrPermission) {
		return Target{}, fmt.Errorf("k3s runs on this machine, and its kubeconfig %s can be read by root only", k3sConfig)
	}
	if _, err := os.Stat(k3sProgram); err == nil {
		return Target{}, errors.New("k3s is on this machine, and does not run: start it (systemctl start k3s), or name a cluster by --kubeconfig")
	}
	return Target{}, errors.New("there is no cluster: name one by --kubeconfig, or install k3s on this machine")
}

// CheckHost checks this machine and the cluster, for an installation in a folder.
func CheckHost(ctx context.Context, dir, kubeContext string, t Target) []HostCheck {
	add := func(all []HostCheck, name, found, want string, ok bool, bad Result, cure string) []HostCheck {
		c := HostCheck{Name: name, Found: found, Want: want, Result: OK}
		if !ok {
			c.Result, c.Cure = bad, cure
		}
		return append(all, c)
	}
	disk, memory := int64(minDiskClient), int64(minMemoryAlone)
	weak := Warn // the machine of the installer alone needs little
	if t.K3s {
		disk, memory, weak = minDisk, minMemory, Fail
	}
	var all []HostCheck
	all = add(all, "system", runtime.GOOS+"/"+runtime.GOARCH+release(), "linux", runtime.GOOS == "linux", weak,
		"install from a machine with Linux")
	cores := runtime.NumCPU()
	needed := 1
	if t.K3s {
		needed = minCores
	}
	all = add(all, "cores", strconv.Itoa(cores), fmt.Sprintf("%d or more", needed), cores >= needed, weak, "give the machine more cores")
	if total, free, err := memoryOf("/proc/meminfo"); err == nil {
		all = add(all, "memory", size(total)+", "+size(free)+" free", size(memory)+" or more", total >= memory, weak,
			"give the machine more memory")
	} else {
		all = add(all, "memory", "unknown", size(memory)+" or more", false, Warn, "see how much memory the machine has")
	}
	if free, err := durable.FreeBytes(existing(dir)); err == nil {
		all = add(all, "disk", size(free)+" free", size(disk)+" or more", free >= disk, weak, "make room for "+dir)
	} else {
		all = add(all, "disk", "unknown", size(disk)+" or more", false, Warn, "see how much room the disk has")
	}
	return append(all, checkCluster(ctx, kubeContext, t))
}

func checkCluster(ctx context.Context, name string, t Target) HostCheck {
	c := HostCheck{Name: "cluster", Want: "Kubernetes 1.22 or later that answers", Result: Fail}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	cluster, err := kube.Open(kube.Config{Kubeconfig: t.Kubeconfig, Context: name, UserAgent: "ecrin-install"})
	var version string
	if err == nil {
		version, err = kube.NewObjects(cluster).Version(ctx)
	}
	if err != nil {
		c.Found, c.Cure = printable(err.Error()), "check the kubeconfig, and whether the API server runs"
		return c
	}
	c.Found = version
	if t.K3s {
		c.Found += " (k3s of this machine)"
	}
	var major, minor int
	if n, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil || n != 2 || major == 1 && minor < 22 {
		c.Cure = "install to a later version of Kubernetes"
		return c
	}
	c.Result = OK
	return c
}

// existing returns the nearest folder above a path that exists.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "."
	}
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// release returns the version of the kernel, with a space before it; "" if it is unknown.
func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return " " + printable(string(text))
}

// memoryOf returns the memory of the machine in bytes, and what of it is available.
func memoryOf(path string) (total, free int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			free = n << 10
		}
	}
	if total == 0 {
		return 0, 0, errors.New("no MemTotal")
	}
	return total, free, nil
}

func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
