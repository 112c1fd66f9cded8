package ecrin

import (
	"context"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Copy is an image to be copied: the repository and digest that it has, and the repository and tags that it gets.
type Copy struct {
	From, To ecr.Repository
	Digest   name.Digest
	Tags     []name.Tag
}

// pulls and pushes are the actions of a pull and of a push, for which a caller needs the permission to copy an image.
var (
	pulls  = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
	pushes = []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}
)

// OnCopy resolves the two repositories of a copy and the image. A caller other than the operator needs the permissions for pulling the
// image and for pushing it under each of its new tags.
func OnCopy(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.CopyImageRequest) (t guard.Target[Copy], err error) {
	at, err := s.registryOf(req, in.RegistryId)
	if err != nil {
		return t, err
	}
	from, image, err := s.ecr.Image(ctx, at, in.RepositoryName, in.ImageTag, in.ImageDigest)
	if err != nil {
		return t, err
	}
	v := Copy{From: from.Value.Repository, Digest: image}
	for _, text := range in.DestinationTags {
		tag, err := name.ParseTag(text)
		if err != nil {
			return t, err
		}
		v.Tags = append(v.Tags, tag)
	}
	if len(v.Tags) == 0 && in.ImageTag != "" {
		tag, err := name.ParseTag(in.ImageTag)
		if err != nil {
			return t, err
		}
		v.Tags = []name.Tag{tag}
	}
	there := at
	if in.DestinationRegistryId != "" {
		if there.Account, err = name.ParseAccount(in.DestinationRegistryId); err != nil {
			return t, err
		}
	}
	if in.DestinationRegion != "" {
		if there.Region, err = name.ParseRegion(in.DestinationRegion); err != nil {
			return t, err
		}
	}
	to, err := s.ecr.Repository(ctx, there, in.DestinationRepositoryName)
	if err != nil {
		return t, err
	}
	v.To = to.Value
	t = guard.Target[Copy]{Value: v, Asks: from.Asks, Absent: from.Absent}
	if t.Absent == nil {
		t.Absent = to.Absent
	}
	if req.By.Kind == identity.Operator {
		return t, nil
	}
	read, write := from.Asks[0], to.Asks[0]
	t.Asks = nil
	for _, action := range pulls {
		read.Action = action
		t.Asks = append(t.Asks, read)
	}
	for _, action := range pushes {
		write.Action = action
		t.Asks = append(t.Asks, write)
	}
	write.Action = "ecr:PutImage"
	tags := slices.Clone(v.Tags)
	if len(tags) == 0 {
		tags = []name.Tag{{}}
	}
	for _, tag := range tags {
		write.Image = ecr.NewImage(tag.String(), v.Digest.String())
		t.Asks = append(t.Asks, write)
	}
	return t, nil
}

// CopyImage copies an image, with the images of an index, to another repository of the installation. No bytes are moved. Without
// destinationTags the copy gets the tag of the request.
//
// Errors: those of replication.Service.Copy.
func (s *Service) CopyImage(ctx context.Context, by identity.Caller, c Copy, _ *ecrintypes.CopyImageRequest) (*ecrintypes.CopyImageResponse,
	error) {
	done, err := s.copies.Copy(ctx, by, c.From.Repository, c.To.Repository, c.Digest, c.Tags)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.CopyImageResponse{ImageDigest: c.Digest.String(), ImageTags: []string{}, New: done.New}
	for _, tag := range c.Tags {
		out.ImageTags = append(out.ImageTags, tag.String())
	}
	return out, nil
}
