package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const bundleImages = 20

// bundleRows are a bundle of ten times the large blob in 20 images, 1 GB as the rows say: the speeds of making, importing and hashing it,
// with the peak of the memory of the program, what is in the second bundle, and a creation that was killed.
func (b *bench) bundleRows() []row {
	s := &bundleStand{b: b}
	size := fmt.Sprintf("%.0f MB in %d images", float64(10*b.bigBytes)/1e6, bundleImages)
	return []row{
		{name: "bundle of " + size, unit: "MB/s", rounds: 1, prepare: s.prepare,
			contenders: []contender{{name: ecrinName, parts: s.speeds}},
			targets: []target{{who: "create, " + ecrinName, of: memory, what: "peak", less: true, goal: 100, unit: "MB"},
				{who: "import, " + ecrinName, of: memory, what: "peak", less: true, goal: 100, unit: "MB"}}},
		{name: "second bundle, in % of the first", unit: "%", rounds: 1, prepare: s.prepare,
			contenders: []contender{{name: ecrinName, parts: s.deltas}},
			targets:    []target{{who: "after one changed layer of 5 MB, " + ecrinName, of: value, less: true, goal: 2, unit: "%"}}},
		{name: "bundle, killed at half", unit: "s", rounds: 1, prepare: s.prepare,
			contenders: []contender{{name: ecrinName, parts: s.resumed}}},
	}
}

// bundleStand is a server that has the images, and one that gets them.
type bundleStand struct {
	b        *bench
	from, to *door
	dir      string
	whole    string // the first bundle
	key      string
}

func (s *bundleStand) data(side string) string { return filepath.Join(s.dir, side) }

// image returns an image: a base that all have, and two layers of its own, the second of which is 5 MB of the 1 GB.
func (s *bundleStand) image(n, base, changed int) ocitest.Image {
	big := s.b.bigBytes
	im := ocitest.NewImage(uint64(100 + n))
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType}
	config := ocitest.Describe(ocitest.ConfigType, im.Config)
	m.Config = &config
	for _, l := range [][]byte{ocitest.Bytes(uint64(1_000+base), big), ocitest.Bytes(uint64(2_000+n), big/100*40),
		ocitest.Bytes(uint64(3_000+n+100*changed), big/100*5)} {
		im.Layers = append(im.Layers, l)
		m.Layers = append(m.Layers, ocitest.Describe(ocitest.LayerType, l))
	}
	im.Manifest = m.JSON()
	return im
}

func (s *bundleStand) push(ctx context.Context, n, base, changed int) error {
	_, token, _ := strings.Cut(strings.TrimSpace(s.from.auth), "Basic ")
	login, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return err
	}
	c := ocitest.Client{Base: s.from.url(), Password: strings.TrimPrefix(string(login), "AWS:"), HTTP: &http.Client{}}
	answer, err := c.Repo("bench/bundle").TryPush(ctx, fmt.Sprint("v", n), s.image(n, base, changed))
	if err == nil && answer.Status != http.StatusCreated {
		err = fmt.Errorf("a push has got %d: %s", answer.Status, answer.Body)
	}
	return err
}

// prepare starts the servers, unless they run, and pushes the images.
func (s *bundleStand) prepare(ctx context.Context) error {
	if s.from != nil {
		return nil
	}
	s.dir = filepath.Join(s.b.dir, "bundles")
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	open := func(side string) (*door, error) {
		p, err := s.b.startEcrin(ctx, s.data(side), "")
		if err != nil {
			return nil, err
		}
		d := &door{process: p}
		s.b.bundles = append(s.b.bundles, d)
		a, err := s.b.readAccount(ctx, s.data(side))
		if err == nil {
			err = d.login(ctx, a)
		}
		if err == nil {
			err = d.api(ctx, a, "CreateRepository", map[string]string{"repositoryName": "bench/bundle"}, &struct{}{})
		}
		return d, err
	}
	var err error
	if s.to, err = open("to"); err != nil {
		return err
	}
	if s.from, err = open("from"); err != nil {
		return err
	}
	for n := range bundleImages {
		if err := s.push(ctx, n, 0, 0); err != nil {
			return err
		}
	}
	s.whole, s.key = filepath.Join(s.dir, "first.tar"), filepath.Join(s.dir, "key.pem")
	key, err := s.command(ctx, "bundle", "key").Output()
	if err == nil {
		err = os.WriteFile(s.key, key, 0o600)
	}
	return err
}

func (s *bundleStand) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.b.ecrinPath, args...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "AWS_ENDPOINT_URL=")
	return cmd
}

// run runs the program and returns its time, and the peak of its memory in MB.
func (s *bundleStand) run(ctx context.Context, args ...string) (time.Duration, float64, error) {
	cmd := s.command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	// The usage that a process leaves includes the memory of the process that has started it, so that its status is read while it runs.
	peak, ended := 0.0, make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("ecrin %s: %w\n%s", strings.Join(args, " "), err, errs.String())
			}
			return time.Since(began), peak, err
		case <-time.After(5 * time.Millisecond):
		}
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
			peak = max(peak, memoryOf(string(text), "VmHWM"))
		}
	}
}

func (s *bundleStand) export(ctx context.Context, out string, more ...string) (time.Duration, float64, int64, error) {
	args := []string{"export", s.from.address + "/bench/bundle", "--data", s.data("from"), "--output", out}
	took, peak, err := s.run(ctx, append(args, more...)...)
	if err != nil {
		return 0, 0, 0, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return 0, 0, 0, err
	}
	return took, peak, info.Size(), nil
}

func (s *bundleStand) load(ctx context.Context, path string) (time.Duration, float64, error) {
	return s.run(ctx, "import", path, "--key", s.key, "--to", s.to.address, "--data", s.data("to"))
}

func (s *bundleStand) inventory(ctx context.Context, out string) (time.Duration, float64, error) {
	return s.run(ctx, "bundle", "inventory", s.to.address+"/bench/bundle", "--data", s.data("to"), "--output", out)
}

// speeds measures the first bundle.
func (s *bundleStand) speeds(ctx context.Context) (map[string]measure, error) {
	all := map[string]measure{}
	took, peak, size, err := s.export(ctx, s.whole)
	if err != nil {
		return nil, err
	}
	speed := func(took time.Duration) float64 { return float64(size) / 1e6 / took.Seconds() }
	all["create"] = measure{Value: speed(took), Memory: peak}
	if took, peak, err = s.run(ctx, "bundle", "verify", s.whole, "--key", s.key); err != nil {
		return nil, err
	}
	all["verify"] = measure{Value: speed(took), Memory: peak}
	if took, peak, err = s.load(ctx, s.whole); err != nil {
		return nil, err
	}
	all["import"] = measure{Value: speed(took), Memory: peak}
	if took, peak, err = s.inventory(ctx, filepath.Join(s.dir, "have.json")); err != nil {
		return nil, err
	}
	all["inventory"] = measure{Value: speed(took), Memory: peak}
	return all, nil
}

// first returns the file of the first bundle, which the row of the speeds has made, unless that was left out.
func (s *bundleStand) first(ctx context.Context) (os.FileInfo, error) {
	info, err := os.Stat(s.whole)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := s.speeds(ctx); err != nil {
			return nil, err
		}
		return os.Stat(s.whole)
	}
	return info, err
}

// deltas measures bundles against what the other server has.
func (s *bundleStand) deltas(ctx context.Context) (map[string]measure, error) {
	first, err := s.first(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]measure{}
	second := func(what string) error {
		have, out := filepath.Join(s.dir, "have.json"), filepath.Join(s.dir, "next.tar")
		if _, _, err := s.inventory(ctx, have); err != nil {
			return err
		}
		_, peak, size, err := s.export(ctx, out, "--have", have)
		if err != nil {
			return err
		}
		all[what] = measure{Value: float64(size) / float64(first.Size()) * 100, Memory: peak}
		if _, _, err := s.load(ctx, out); err != nil {
			return err
		}
		return os.Remove(out)
	}
	if err := s.push(ctx, 0, 0, 1); err != nil {
		return nil, err
	}
	if err := second("after one changed layer of 5 MB"); err != nil {
		return nil, err
	}
	for n := range bundleImages {
		if err := s.push(ctx, n, 1, 0); err != nil {
			return nil, err
		}
	}
	return all, second("after a change of the base of all images, 100 MB")
}

// resumed kills a creation when half is written, and measures the same command then.
func (s *bundleStand) resumed(ctx context.Context) (map[string]measure, error) {
	out := filepath.Join(s.dir, "killed.tar")
	first, err := s.first(ctx)
	if err != nil {
		return nil, err
	}
	cmd := s.command(ctx, "export", s.from.address+"/bench/bundle", "--data", s.data("from"), "--output", out)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for half := false; !half; time.Sleep(time.Millisecond) {
		info, err := os.Stat(out + ".partial")
		half = err == nil && info.Size() >= first.Size()/2 || time.Since(began) > time.Minute
	}
	if err := cmd.Process.Kill(); err != nil {
		return nil, err
	}
	_ = cmd.Wait() // it was killed
	killed := time.Since(began)
	took, peak, _, err := s.export(ctx, out)
	if err != nil {
		return nil, err
	}
	all := map[string]measure{"until it was killed": {Value: killed.Seconds()}, "the rest": {Value: took.Seconds(), Memory: peak}}
	return all, os.Remove(out)
}
