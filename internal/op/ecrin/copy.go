package ecrin

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/replication"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Copy is an image to be copied: the repository and digest that it has, and the repository and tags that it gets.
type Copy struct {
	From, To ecr.Repository
	Digest   name.Digest
	Tags     []name.Tag

	Send *replication.Send // nil for a copy inside of the installation
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
	switch by, absent, err := s.destinationOf(ctx, req, in, at, there); {
	case err != nil:
		return t, err
	case by.Name != "":
		return onSend(req, in, from, v, by, absent)
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
	write := to.Asks[0]
	t.Asks = asksOfPull(from.Asks[0])
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

func asksOfPull(ask guard.Ask) (all []guard.Ask) {
	for _, action := range pulls {
		ask.Action = action
		all = append(all, ask)
	}
	return all
}

// destinationOf returns the integration by which a copy is made: that of the request, or the one that stands for the destination as in
// replication rules; one without a name for none. It is one of the caller's account, for the operator of the account of the image. absent
// is that the integration of the request does not exist.
func (s *Service) destinationOf(ctx context.Context, req guard.Request, in *ecrintypes.CopyImageRequest, from ecr.Registry,
	there ecr.Registry) (by meta.Integration, absent, err error) {
	account := req.By.Account
	if req.By.Kind == identity.Operator {
		account = from.Account
	}
	if in.DestinationIntegration != "" {
		if in.DestinationRegistryId != "" || in.DestinationRegion != "" {
			return by, nil, ecr.BadMember("DestinationIntegration", "must be absent if destinationRegistryId or destinationRegion is present")
		}
		by, err = s.meta.Integration(ctx, account, in.DestinationIntegration)
		if errors.Is(err, fault.IntegrationNotFound) {
			return meta.Integration{Account: account, Name: in.DestinationIntegration}, err, nil
		}
		return by, nil, err
	}
	if there.Registry == from.Registry {
		return by, nil, nil
	}
	if by, err = s.meta.IntegrationFor(ctx, account, there.Registry); errors.Is(err, fault.IntegrationNotFound) {
		return meta.Integration{}, nil, nil
	}
	return by, nil, err
}

// onSend resolves a copy to another installation. A caller other than the operator needs the permissions for pulling the image and
// ecrin:UseIntegration, since the copy is made with the credentials of the integration.
func onSend(req guard.Request, in *ecrintypes.CopyImageRequest, from guard.Target[ecr.Images], v Copy, by meta.Integration, absent error) (
	t guard.Target[Copy], err error) {
	to, err := name.ParseRepo(in.DestinationRepositoryName)
	if err != nil {
		return t, err
	}
	v.Send = &replication.Send{By: by, From: v.From.Repository, Digest: v.Digest, To: to, Tags: v.Tags}
	t = guard.Target[Copy]{Value: v, Asks: from.Asks, Absent: from.Absent}
	if t.Absent == nil {
		t.Absent = absent
	}
	if req.By.Kind != identity.Operator {
		t.Asks = append(asksOfPull(from.Asks[0]), guard.Ask{Action: "ecrin:UseIntegration", Owner: guard.OwnedBy(by.Account),
			Region: req.Region, Resource: by.ARN()})
	}
	return t, nil
}

// CopyImage copies an image, with the images of an index, to another repository. Inside of the installation no bytes are moved; to another
// installation a job copies it, with its referrers. Without destinationTags the copy gets the tag of the request.
//
// Errors: those of replication.Service.Copy and Send.
func (s *Service) CopyImage(ctx context.Context, by identity.Caller, c Copy, _ *ecrintypes.CopyImageRequest) (*ecrintypes.CopyImageResponse,
	error) {
	out := &ecrintypes.CopyImageResponse{ImageDigest: c.Digest.String(), ImageTags: []string{}}
	for _, tag := range c.Tags {
		out.ImageTags = append(out.ImageTags, tag.String())
	}
	if c.Send != nil {
		job, err := s.copies.Send(ctx, *c.Send)
		out.JobId = strconv.FormatInt(job, 10)
		return out, err
	}
	done, err := s.copies.Copy(ctx, by, c.From.Repository, c.To.Repository, c.Digest, c.Tags)
	if err != nil {
		return nil, err
	}
	out.New = done.New
	return out, nil
}
