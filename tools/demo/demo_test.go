package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/tools/pack"
)

func TestMain(m *testing.M) {
	if fault, ok := os.LookupEnv("DEMO_STANDIN"); ok {
		if err := playEcrin(fault, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "ecrin:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("DEMO_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// standinProgram returns the path of a stand-in for the ecrin program with one fault.
func standinProgram(t *testing.T, fault string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ecrin")
	script := "#!/bin/sh\nDEMO_STANDIN=" + fault + " exec " + shell([]string{self}) + ` "$@"` + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// twoPlatforms returns a layout with an index of two images.
func twoPlatforms(t *testing.T) *pack.Image {
	t.Helper()
	var binaries []pack.Binary
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		header := make([]byte, 64, 64+100_000)
		copy(header, "\x7fELF\x02\x01\x01")
		binary.LittleEndian.PutUint16(header[16:], 2)
		binary.LittleEndian.PutUint16(header[18:], uint16(machine))
		binary.LittleEndian.PutUint32(header[20:], 1)
		binary.LittleEndian.PutUint16(header[52:], 64)
		path := filepath.Join(t.TempDir(), arch)
		if err := os.WriteFile(path, append(header, bytes.Repeat([]byte(arch), 10_000)...), 0o700); err != nil {
			t.Fatal(err)
		}
		binaries = append(binaries, pack.Binary{Arch: arch, Path: path})
	}
	image, err := pack.Build(t.Context(), filepath.Join(t.TempDir(), "layout"), pack.Ecrin(firstTag), binaries)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// onePlatform returns a layout with one image.
func onePlatform(t *testing.T) *pack.Image {
	t.Helper()
	image := twoPlatforms(t)
	child := image.Manifests()[1]
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, child.MediaType, child.Digest, child.Size)
	if err := os.WriteFile(filepath.Join(image.Dir, "index.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	image.Root = child
	return image
}

// demo runs the whole demo and checks what must hold for every result: no secret is printed, and neither the
// process nor the directory remains.
func demo(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	var screen bytes.Buffer
	err := run(t.Context(), args, func(key string) string { return env[key] }, &screen)
	out := screen.String()
	for _, secret := range []string{standinSecret, standinPassword} {
		if strings.Contains(out, secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret %q was printed:\n%s\n%v", secret, out, err)
		}
	}
	if found := regexp.MustCompile(`kill -INT (\d+)`).FindStringSubmatch(out); found == nil {
		if err == nil || !strings.Contains(err.Error(), "it ended: ") {
			t.Errorf("no server was stopped:\n%s", out)
		}
	} else if pid, _ := strconv.Atoi(found[1]); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("the server still runs as process %d", pid)
	}
	if _, err := os.Stat(workOf(t, out)); (err == nil) != (env["KEEP"] == "1") {
		t.Errorf("KEEP=%s, and the directory: %v", env["KEEP"], err)
	}
	return out, err
}

// workOf returns the demo's directory.
func workOf(t *testing.T, out string) string {
	t.Helper()
	found := regexp.MustCompile(`--data (\S*ecrin-demo-[^/]*)/data`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no data directory in:\n%s", out)
	}
	return found[1]
}

func TestDemo(t *testing.T) {
	t.Parallel()
	program := standinProgram(t, "")
	blobs := map[string]int{"two platforms": 7, "one platform": 3} // two images of three, and the index
	for what, image := range map[string]*pack.Image{"two platforms": twoPlatforms(t), "one platform": onePlatform(t)} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			out, err := demo(t, map[string]string{"IMAGE": image.Dir}, "-ecrin", program)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "OK ") {
				t.Errorf("the last line is %q, want OK …", last)
			}
			for _, command := range []string{
				"aws ecr create-repository --repository-name demo/ecrin\n",
				"aws ecr get-login-password | docker login --username AWS --password-stdin 127.0.0.1:",
				"skopeo copy --all --dest-tls-verify=false oci:",
				"aws ecr put-image --repository-name demo/ecrin --image-tag stable ",
				"--image-ids imageTag=v1 --query ",
				"aws ecr list-images --repository-name demo/ecrin\n",
				"skopeo list-tags --tls-verify=false docker://127.0.0.1:",
				"aws ecr describe-images --repository-name demo/ecrin --image-ids imageTag=stable\n",
				"skopeo copy --all --src-tls-verify=false docker://127.0.0.1:",
				"stable is " + image.Root.Digest.String(),
				" account create 111122223333 --data ",
				"aws iam attach-user-policy --user-name deployer --policy-arn arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly\n",
				"docker pull 127.0.0.1:",
				"denied: User: … is not authorized because no resource-based policy allows the ecr:BatchGetImage action; ask the owner for it: " +
					"ecrin access request pull:000000000000/us-east-1/demo/ecrin\n",
				" explain --as arn:aws:iam::111122223333:user/deployer --action ecr:BatchGetImage --on demo/ecrin:stable --data ",
				" policy grant pull demo/ecrin --to arn:aws:iam::111122223333:user/deployer --apply --data ",
			} {
				if !strings.Contains(out, command) {
					t.Errorf("%q is not in:\n%s", command, out)
				}
			}
			if strings.ContainsAny(out, "\x1b\r") {
				t.Errorf("plain output has control characters: %q", out)
			}
			if got := strings.Count(out, "     pushed sha256:"); got != blobs[what] {
				t.Errorf("%d lines about pushed blobs, want %d:\n%s", got, blobs[what], out)
			}
		})
	}
}

// The demo with the real program, as `make demo` runs it.
func TestDemoOfEcrin(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: this builds ecrin for two platforms")
	}
	t.Parallel()
	demoOfEcrin(t, nil)
}

// The same with the metadata in PostgreSQL.
func TestDemoOnPostgreSQL(t *testing.T) {
	if os.Getenv("ECRIN_POSTGRES") != "1" {
		t.Skip("make postgres runs it")
	}
	t.Parallel()
	out := demoOfEcrin(t, map[string]string{"DEMO_DATABASE": pgtest.Start(t).NewDatabase(t)})
	if !strings.Contains(out, "its metadata is in PostgreSQL") || strings.Contains(out, pgtest.Password) {
		t.Errorf("the output does not say where the metadata is, or has the password:\n%s", out)
	}
}

func demoOfEcrin(t *testing.T, env map[string]string) (out string) {
	t.Helper()
	out, err := demo(t, env)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		"denied: User: arn:aws:iam::111122223333:user/deployer is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:",
		"     denied because no resource-based policy allows it: arn:aws:iam::111122223333:user/deployer may not ecr:BatchGetImage on ",
		"     ecrin: this is now the policy of demo/ecrin\n",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in:\n%s", line, out)
		}
	}
	if !strings.Contains(out, "\nOK 7 blobs, ") {
		t.Errorf("OK for 7 blobs (an index, and two images of three) is not in:\n%s", out)
	}
	return out
}

// The demo detects every fault of the server, prints it and fails.
func TestDemoNoticesFaults(t *testing.T) {
	t.Parallel()
	layout := twoPlatforms(t).Dir
	for fault, want := range map[string]string{
		faultCrash:        "the disk is on fire",
		faultExit:         "the server ended with: exit status 3",
		faultEnv:          "something else than JSON",
		faultToken:        "logging in: the token",
		faultDenied:       "pushing: ",
		faultChangedBlob:  "pulling: ",
		faultLostBlob:     "pulling: ",
		faultTagStays:     "moving a tag: the image with the tag stable is ",
		faultOldTag:       "pulling: the manifest with the tag stable is ",
		faultManifestText: "moving a tag: the digest of the manifest",
		faultExtraImage:   "listing: the list of images is ",
		faultMissingTag:   "listing: the list of tags is ",
		faultDescription:  "describing: the description is ",
		faultSize:         "describing: the image's size in bytes is 0",
		faultUser:         "making another account: the user's ARN is ",
		faultOpen:         "without a grant: the response is the manifest",
		faultReason:       "without a grant: the response is ",
		faultExplain:      "explaining: ecrin explain: exit status 0, expected 3",
		faultExplainText:  "explaining: the explanation is denied because no identity-based",
		faultGrant:        "pulling from another account: ",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			out, err := demo(t, nil, "-ecrin", standinProgram(t, fault), "-image", layout)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want …%s…\n%s", err, want, out)
			}
			if strings.Contains(out, "\nOK ") {
				t.Errorf("the output has OK:\n%s", out)
			}
		})
	}
}

func TestDemoKeepsAndTells(t *testing.T) {
	t.Parallel()
	image := twoPlatforms(t)
	out, err := demo(t, map[string]string{"IMAGE": image.Dir, "KEEP": "1"}, "-v", "-ecrin", standinProgram(t, ""))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	work := workOf(t, out)
	defer os.RemoveAll(work)
	if _, err := pack.Verify(t.Context(), filepath.Join(work, "pulled"), image.Root); err != nil {
		t.Errorf("the layout that was kept: %v", err)
	}
	for _, line := range []string{"kept " + work, "AmazonEC2ContainerRegistry_V20150921.PutImage: 200",
		"PUT /v2/demo/ecrin/manifests/v1: 201"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in:\n%s", line, out)
		}
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := run(ctx, []string{"-ecrin", standinProgram(t, ""), "-image", twoPlatforms(t).Dir}, func(string) string { return "" }, &out)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// The program as a process: it cleans up when its output is closed, and its exit status and error reach the
// caller.
func TestMainProgram(t *testing.T) {
	t.Parallel()
	program := standinProgram(t, "")
	for what, test := range map[string]struct {
		image, stderr string
		status        int
	}{
		"output closed": {twoPlatforms(t).Dir, "", 0},
		"no such image": {"nothing.tar", "demo: opening image nothing.tar: ", 1},
		"not an image":  {t.TempDir(), "neither an OCI layout", 1},
	} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		work := t.TempDir()
		var stderr bytes.Buffer
		command := exec.Command(self, "-ecrin", program, "-image", test.image)
		command.Env = append(os.Environ(), "DEMO_MAIN=1", "TMPDIR="+work)
		command.Stderr = &stderr
		stdout, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stdout.Close(), command.Start()); err != nil {
			t.Fatal(err)
		}
		command.Wait()
		if got := command.ProcessState.ExitCode(); got != test.status || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%s: exit status %d and %q, want %d and %q", what, got, stderr.String(), test.status, test.stderr)
		}
		if left := listDir(t, work); len(left) != 0 {
			t.Errorf("%s: it leaves %v", what, left)
		}
	}
}

func listDir(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestParse(t *testing.T) {
	t.Parallel()
	env := map[string]string{"IMAGE": "a.tar", "IMAGE_NAME": "web:1", "KEEP": "1"}
	got, err := parse([]string{"-v", "-name", "db:2"}, func(key string) string { return env[key] })
	if want := (settings{verbose: true, keep: true, image: "a.tar", name: "db:2"}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, args := range [][]string{{"a.tar"}, {"-v", "extra"}} {
		if _, err := parse(args, os.Getenv); err == nil {
			t.Errorf("arguments %q: %v, want an error", args, err)
		}
	}
}
