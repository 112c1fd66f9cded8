package look

import (
	"bytes"
	"compress/gzip"
	"sync"
)

// squeeze returns bytes compressed.
func squeeze(b []byte) []byte {
	var out bytes.Buffer
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b) // a buffer takes all
	_ = w.Close()
	return out.Bytes()
}

var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, 5)
	if err != nil {
		panic(err)
	}
	return w
}}

// assetBytes are the bytes of a file that pages load.
type assetBytes struct {
	bytes  []byte
	packed bool
}

var packedAssets sync.Map // of []byte by name

// packed returns a file that pages load, compressed where the client takes that.
//
// Errors: none of those of the file system, for files that are in the program.
func packed(file string, gzipped bool) (assetBytes, error) {
	b, err := assets.ReadFile("assets/" + file)
	if err != nil || !gzipped {
		return assetBytes{bytes: b}, err
	}
	if p, ok := packedAssets.Load(file); ok {
		return assetBytes{p.([]byte), true}, nil
	}
	p, _ := packedAssets.LoadOrStore(file, squeeze(b))
	return assetBytes{p.([]byte), true}, nil
}
