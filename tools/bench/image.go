package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// image is an image on disk, in the forms from which the tools push.
type image struct {
	layout  string // an OCI image layout with the entry "v1"
	archive string // in the form of docker save
	loaded  string // the name of the image in the archive
}

// makeImage writes an image of seven layers of random data, as many bytes in all as the rows say, which no other image shares.
func (b *bench) makeImage(dir string, archive bool) (im image, err error) {
	im = image{layout: filepath.Join(dir, "layout"), archive: filepath.Join(dir, "archive.tar"), loaded: "docker.io/bench/image:loaded"}
	blobs := filepath.Join(im.layout, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return im, err
	}
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	write := func(mediaType string, body []byte) (descriptor, error) {
		digest := digestOf(body)
		return descriptor{MediaType: mediaType, Digest: digest, Size: len(body)},
			os.WriteFile(filepath.Join(blobs, strings.TrimPrefix(digest, "sha256:")), body, 0o644)
	}
	var saved tarFiles
	var layers []descriptor
	var diffs, names []string
	for i, percent := range []int{40, 25, 15, 10, 5, 3, 2} {
		data := randomBytes(byte(10+i), b.imageBytes/100*percent)
		fresh(data)
		var plain tarFiles
		plain.add(fmt.Sprintf("data-%d", i), data)
		text := plain.bytes()
		diffs, names = append(diffs, digestOf(text)), append(names, fmt.Sprintf("%d/layer.tar", i))
		var zipped bytes.Buffer
		w, err := gzip.NewWriterLevel(&zipped, gzip.NoCompression) // random data cannot be compressed
		if err != nil {
			return im, err
		}
		if _, err := w.Write(text); err != nil {
			return im, err
		}
		if err := w.Close(); err != nil {
			return im, err
		}
		if archive {
			saved.add(names[i], text)
			continue
		}
		d, err := write(layerType, zipped.Bytes())
		if err != nil {
			return im, err
		}
		layers = append(layers, d)
	}
	config, err := json.Marshal(map[string]any{"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Cmd": []string{"/none"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	if err != nil {
		return im, err
	}
	if archive {
		file := strings.TrimPrefix(digestOf(config), "sha256:") + ".json"
		tags := []string{strings.TrimPrefix(im.loaded, "docker.io/")}
		list, err := json.Marshal([]map[string]any{{"Config": file, "RepoTags": tags, "Layers": names}})
		if err != nil {
			return im, err
		}
		saved.add(file, config)
		saved.add("manifest.json", list)
		return im, os.WriteFile(im.archive, saved.bytes(), 0o644)
	}
	c, err := write(configType, config)
	if err != nil {
		return im, err
	}
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": c, "layers": layers})
	if err != nil {
		return im, err
	}
	entry, err := write(manifestType, manifest)
	if err != nil {
		return im, err
	}
	entry.Annotations = map[string]string{"org.opencontainers.image.ref.name": "v1"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{entry}})
	if err != nil {
		return im, err
	}
	return im, errors.Join(os.WriteFile(filepath.Join(im.layout, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(im.layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}

// tarFiles is a tar archive in memory.
type tarFiles struct {
	text bytes.Buffer
	err  error
}

func (f *tarFiles) add(name string, body []byte) {
	w := tar.NewWriter(&f.text)
	f.err = errors.Join(f.err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}))
	_, err := w.Write(body)
	f.err = errors.Join(f.err, err, w.Flush())
}

// bytes returns the archive.
func (f *tarFiles) bytes() []byte {
	return append(f.text.Bytes(), make([]byte, 1024)...)
}
