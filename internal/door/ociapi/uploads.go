package ociapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// beginUpload starts an upload, mounts a blob of another repository, or stores a whole blob.
//
// Source: OCI distribution specification, end-4a, end-4b, end-11.
func (a *API) beginUpload(q *request) error {
	query := q.r.URL.Query()
	if mount := query.Get("mount"); mount != "" {
		mounted, err := a.mount(q, mount, query.Get("from"))
		if mounted || err != nil {
			return err
		}
	}
	if query.Has("digest") {
		if err := a.mayPutBlob(q); err != nil {
			return err
		}
		return a.putBlob(q, query.Get("digest"))
	}
	algorithm := name.SHA256
	if s := query.Get("digest-algorithm"); s != "" {
		var err error
		if algorithm, err = name.ParseAlgorithm(s); err != nil {
			return err
		}
	}
	u, err := a.registry.BeginUpload(q.r.Context(), q.caller, q.found, algorithm)
	if err != nil {
		return err
	}
	a.describeUpload(q, u)
	q.w.WriteHeader(http.StatusAccepted)
	return nil
}

// mount tries a cross-repository mount, which needs the three actions of an upload: the row has decided
// InitiateLayerUpload, and mount decides the others before it looks for a source. It returns false if the source does not
// hold the blob, and also if the caller lacks the permission to read it there; in both cases the request starts an
// upload, so that a mount reveals nothing about other repositories. Without from, mount tries the repositories of the
// registry that hold the blob; each needs the permission.
func (a *API) mount(q *request, mount, from string) (mounted bool, err error) {
	digest, err := name.ParseDigest(mount)
	if err != nil {
		return false, err
	}
	begun := q.ev.Record
	if err := a.mayPutBlob(q); err != nil {
		return false, err
	}
	q.ev.Record = begun
	candidates, held := []registry.Repository{q.found}, 0
	if from == "" {
		candidates, held, err = a.registry.MountSources(q.r.Context(), q.found, digest)
	} else if source, found, err2 := a.mountSource(q, from); found || err2 != nil {
		candidates[0], held, err = source, 1, err2
	}
	if err != nil {
		return false, err
	}
	// All candidates are decided about before the first mount, those too that do not hold the blob, and denials are not
	// explained or recorded: otherwise the time of the answer tells whether a repository that is denied holds the blob.
	var readable []registry.Repository
	for i := range candidates {
		ask := guard.Ask{
			Action: "ecr:GetDownloadUrlForLayer", Owner: guard.OwnedBy(q.reg.Account), Region: q.reg.Region, Resource: candidates[i].ARN(),
			Known: guard.Known{Repository: &candidates[i]},
		}
		allowed, err := a.guard.Allowed(q.r.Context(), q.caller, q.ev.From, ask)
		if err != nil {
			return false, err
		}
		if allowed && i < held {
			readable = append(readable, candidates[i])
		}
	}
	for _, source := range readable {
		q.ev.Name = "MountLayer"
		err = a.registry.Mount(q.r.Context(), source, q.found, digest)
		switch {
		case err == nil:
			a.created(q, digest)
			return true, nil
		case !errors.Is(err, fault.BlobNotFound):
			return false, err
		}
		q.ev.Name = "InitiateLayerUpload"
	}
	return false, nil
}

// mountSource returns the repository that a mount names. found is false if it belongs to another registry or does not
// exist. On a host without a registry in its name, from may begin with ACCOUNT/REGION/.
func (a *API) mountSource(q *request, from string) (source registry.Repository, found bool, err error) {
	reg, repo, err := a.hosts.Resolve(q.host, from)
	if err != nil || reg != q.reg {
		return source, false, nil
	}
	source, err = a.registry.Repository(q.r.Context(), reg, repo)
	if errors.Is(err, fault.RepositoryNotFound) {
		return source, false, nil
	}
	return source, err == nil, err
}

// mayPutBlob decides the two actions that a mount and an upload in one request need in addition to that of the row. They
// are not in the row because a request that only begins an upload does not need them.
func (a *API) mayPutBlob(q *request) error {
	ask := guard.Ask{Owner: guard.OwnedBy(q.reg.Account), Region: q.reg.Region, Resource: q.found.ARN(),
		Known: guard.Known{Repository: &q.found}}
	return q.challenged(a.guard.Decide(q.r.Context(), q.caller, q.ev.From, &q.ev.Record,
		q.andAlso(ask, "ecr:UploadLayerPart"), q.andAlso(ask, "ecr:CompleteLayerUpload")))
}

func (a *API) putBlob(q *request, digest string) error {
	want, err := name.ParseDigest(digest)
	if err != nil {
		return err
	}
	release, err := a.uploads.enter(q.caller.LimitKey())
	if err != nil {
		return err
	}
	defer release()
	_, err = a.registry.PutBlob(q.r.Context(), q.found,
		registry.Chunk{Body: sentBody{q.r.Body}, At: registry.AnyOffset, Length: q.r.ContentLength}, want)
	if err != nil {
		return err
	}
	a.created(q, want)
	return nil
}

func (a *API) uploadChunk(q *request) error {
	u, err := a.registry.Upload(q.r.Context(), q.caller, q.found, q.target.reference)
	if err != nil {
		return err
	}
	c, err := chunkOf(q.r)
	if err == nil {
		var release func()
		if release, err = a.uploads.enter(q.caller.LimitKey()); err != nil {
			return err
		}
		defer release()
		u, err = a.registry.Append(q.r.Context(), q.found, u, c)
	}
	if errors.Is(err, fault.RangeInvalid) {
		a.describeUpload(q, u) // the client needs the offset to continue
	}
	if err != nil {
		return err
	}
	a.describeUpload(q, u)
	if a.quirks.Patch201 {
		q.w.WriteHeader(http.StatusCreated)
	} else {
		q.w.WriteHeader(http.StatusAccepted)
	}
	return nil
}

// chunkOf returns the chunk in the body of a request. A body without Content-Range is appended at the end: docker
// uploads whole layers in this way.
//
// Errors: fault.RangeInvalid, fault.SizeInvalid.
func chunkOf(r *http.Request) (registry.Chunk, error) {
	c := registry.Chunk{Body: sentBody{r.Body}, At: registry.AnyOffset, Length: r.ContentLength}
	if s := r.Header.Get("Content-Range"); s != "" {
		first, length, err := contentRange(s)
		if err != nil {
			return c, err
		}
		if r.ContentLength >= 0 && r.ContentLength != length {
			return c, fault.SizeInvalid.New("Content-Range %s has %d bytes, Content-Length says %d", name.Clip(s), length, r.ContentLength)
		}
		c.At, c.Length = first, length
	}
	return c, nil
}

// sentBody is the body of a request. Errors of reading it are caused by the client, which disconnected or sent invalid
// framing, so they become fault.SizeInvalid.
type sentBody struct{ io.Reader }

func (b sentBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF && fault.From(err).Code == fault.Internal {
		err = fault.SizeInvalid.New("the body of the request is not complete").Because(err)
	}
	return n, err
}

// lastChunk returns the further actions that the completion of an upload needs if its body has the last chunk.
func lastChunk(q *request) []string {
	if c, err := chunkOf(q.r); err == nil && c.Length == 0 && c.At == registry.AnyOffset {
		return nil
	}
	return []string{"ecr:UploadLayerPart"}
}

func (a *API) completeUpload(q *request) error {
	want, err := name.ParseDigest(q.r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	q.ev.Digest = want.String()
	u, err := a.registry.Upload(q.r.Context(), q.caller, q.found, q.target.reference)
	if err != nil {
		return err
	}
	c, err := chunkOf(q.r)
	if err != nil {
		return err
	}
	if c.Length == 0 && c.At == registry.AnyOffset {
		c.Body = nil
	} else {
		release, err := a.uploads.enter(q.caller.LimitKey())
		if err != nil {
			return err
		}
		defer release()
	}
	_, err = a.registry.Complete(q.r.Context(), q.found, u, c, want)
	if errors.Is(err, fault.RangeInvalid) {
		a.describeUpload(q, u)
	}
	if err != nil {
		return err
	}
	a.created(q, want)
	return nil
}

func (a *API) uploadStatus(q *request) error {
	u, err := a.registry.Upload(q.r.Context(), q.caller, q.found, q.target.reference)
	if err != nil {
		return err
	}
	a.describeUpload(q, u)
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) cancelUpload(q *request) error {
	u, err := a.registry.Upload(q.r.Context(), q.caller, q.found, q.target.reference)
	if err != nil {
		return err
	}
	if err := a.registry.Cancel(q.r.Context(), u); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// describeUpload sets the headers with the state of an upload.
func (a *API) describeUpload(q *request, u registry.Upload) {
	h := q.w.Header()
	h.Set("Location", "/v2/"+q.target.name+"/blobs/uploads/"+u.ID)
	h.Set("Range", "0-"+strconv.FormatInt(max(u.Blob.Size-1, 0), 10))
	if !a.quirks.NoUploadUUID {
		h.Set("Docker-Upload-UUID", u.ID)
	}
}

// created answers that a blob was stored or mounted.
func (a *API) created(q *request, d name.Digest) {
	q.ev.Digest = d.String()
	h := q.w.Header()
	h.Set("Location", "/v2/"+q.target.name+"/blobs/"+d.String())
	h.Set("Docker-Content-Digest", d.String())
	q.w.WriteHeader(http.StatusCreated)
}
