package ociapi

import (
	"net/http"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// operation is one row of the operation table. A request without a row is refused.
type operation struct {
	method string
	route  route
	name   string // id in the specification and description
	event  string // name of the ECR operation in the audit trail; "" for an operation without a decision
	action string // IAM action for which the caller needs the permission
	or     string // an alternative action, the permission for which suffices; "" for none
	on     resource
	needs  need
	also   func(*request) []string // returns further actions that the request needs; nil for none
	serve  func(*API, *request) error
}

// resource is what a decision is about.
type resource uint8

const (
	onNothing         resource = iota // no decision: a valid token suffices
	onRepository                      // the repository of the path
	onImage                           // a stored image in it, by tag or digest
	onNewImage                        // an image to be stored in it
	onDeletedImage                    // an image to be deleted, or a tag
	onSubject                         // the subject of referrers, by digest; it need not be stored
	onAllRepositories                 // repository/*
)

// need is a condition on the repository of a request.
type need uint8

const (
	nothing  need = iota
	existing      // the repository must exist
	pushable      // the repository must exist, or the push creates it
	possible      // a repository that does not exist counts as empty, unless ECR's answer is wanted
)

// operations is the operation table. Sources: OCI distribution specification (ids), ECR user guide (actions, names of
// events).
var operations = []operation{
	// end-1 GET /v2/ 200; 404/401
	{http.MethodGet, routeBase, "end-1 version check", "", "", "", onNothing, nothing, nil, (*API).version},
	{http.MethodHead, routeBase, "end-1 version check", "", "", "", onNothing, nothing, nil, (*API).version},
	// end-2 GET, HEAD /v2/<name>/blobs/<digest> 200, 206; 404, 416
	{http.MethodGet, routeBlob, "end-2 get blob", "GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", "", onRepository,
		existing, nil, (*API).getBlob},
	{http.MethodHead, routeBlob, "end-2 head blob", "BatchCheckLayerAvailability", "ecr:BatchCheckLayerAvailability",
		"ecr:GetDownloadUrlForLayer", onRepository, existing, nil, (*API).getBlob},
	// end-3 GET, HEAD /v2/<name>/manifests/<reference> 200; 404
	{http.MethodGet, routeManifest, "end-3 get manifest", "BatchGetImage", "ecr:BatchGetImage", "", onImage, existing, nil,
		(*API).getManifest},
	{http.MethodHead, routeManifest, "end-3 head manifest", "BatchGetImage", "ecr:BatchGetImage", "", onImage, existing, nil,
		(*API).getManifest},
	// end-4a POST /v2/<name>/blobs/uploads/ 202; 404 - end-4b ?digest= 201, 202; 404, 400 - end-11 ?mount=&from= 201,
	// 202; 404
	{http.MethodPost, routeUploads, "end-4 begin upload", "InitiateLayerUpload", "ecr:InitiateLayerUpload", "", onRepository,
		pushable, nil, (*API).beginUpload},
	// end-5 PATCH /v2/<name>/blobs/uploads/<id> 202; 404, 416
	{http.MethodPatch, routeUpload, "end-5 upload chunk", "UploadLayerPart", "ecr:UploadLayerPart", "", onRepository,
		existing, nil, (*API).uploadChunk},
	// end-6 PUT /v2/<name>/blobs/uploads/<id>?digest= 201; 404, 400, 416
	{http.MethodPut, routeUpload, "end-6 complete upload", "CompleteLayerUpload", "ecr:CompleteLayerUpload", "",
		onRepository, existing, lastChunk, (*API).completeUpload},
	// end-7 PUT /v2/<name>/manifests/<reference> 201; 404, 413
	{http.MethodPut, routeManifest, "end-7 put manifest", "PutImage", "ecr:PutImage", "", onNewImage, pushable, nil, (*API).putManifest},
	// end-8 GET /v2/<name>/tags/list?n=&last= 200; 404
	{http.MethodGet, routeTags, "end-8 list tags", "ListImages", "ecr:ListImages", "", onRepository, existing, nil, (*API).listTags},
	// end-9 DELETE /v2/<name>/manifests/<reference> 202; 404, 400, 405
	{http.MethodDelete, routeManifest, "end-9 delete manifest", "BatchDeleteImage", "ecr:BatchDeleteImage", "",
		onDeletedImage, existing, nil, (*API).deleteManifest},
	// end-10 DELETE /v2/<name>/blobs/<digest> 202; 404, 405
	{http.MethodDelete, routeBlob, "end-10 delete blob", "BatchDeleteImage", "ecr:BatchDeleteImage", "", onRepository,
		existing, nil, (*API).deleteBlob},
	// end-12 GET /v2/<name>/referrers/<digest>?artifactType= 200; 400. 404 would mean that the registry lacks the API.
	{http.MethodGet, routeReferrers, "end-12 list referrers", "ListImageReferrers", "ecr:BatchGetImage", "", onSubject,
		possible, nil, (*API).listReferrers},
	// end-13 GET /v2/<name>/blobs/uploads/<id> 204; 404
	{http.MethodGet, routeUpload, "end-13 upload status", "UploadLayerPart", "ecr:UploadLayerPart", "", onRepository,
		existing, nil, (*API).uploadStatus},
	{http.MethodHead, routeUpload, "end-13 upload status", "UploadLayerPart", "ecr:UploadLayerPart", "", onRepository,
		existing, nil, (*API).uploadStatus},
	// end-14 DELETE /v2/<name>/blobs/uploads/<id> 204; 404
	{http.MethodDelete, routeUpload, "end-14 cancel upload", "UploadLayerPart", "ecr:UploadLayerPart", "", onRepository,
		existing, nil, (*API).cancelUpload},
	// GET /v2/_catalog is part of an older registry protocol; tools still use it.
	{http.MethodGet, routeCatalog, "list repositories", "DescribeRepositories", "ecr:DescribeRepositories", "",
		onAllRepositories, nothing, nil, (*API).catalog},
	// The token endpoint of registries that admit anonymous clients, and for customers of every one.
	{http.MethodGet, routeToken, "token", "", "", "", onNothing, nothing, nil, (*API).token},
	// A signed link that GetDownloadUrlForLayer returned; the caller is the one that requested the link.
	{http.MethodGet, routeLink, "layer link", "GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", "", onRepository,
		existing, nil, (*API).getBlob},
	{http.MethodHead, routeLink, "layer link", "GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", "", onRepository,
		existing, nil, (*API).getBlob},
}

// byRoute holds the rows by their route.
var byRoute = func() (index [routes][]*operation) {
	for i := range operations {
		index[operations[i].route] = append(index[operations[i].route], &operations[i])
	}
	return index
}()

// nameOf returns the name of an operation, for the event; "" if there is no such operation.
func nameOf(method string, r route) string {
	for _, op := range byRoute[r] {
		if op.method == method {
			return op.name
		}
	}
	return ""
}

// operationOf returns the row of a method and route.
//
// Errors: fault.MethodNotAllowed; operationOf then also sets the header Allow to the methods of the route.
func operationOf(method string, r route, header http.Header) (*operation, error) {
	for _, op := range byRoute[r] {
		if op.method == method {
			return op, nil
		}
	}
	for _, op := range byRoute[r] {
		header.Add("Allow", op.method)
	}
	return nil, fault.MethodNotAllowed.New("the operation is unsupported")
}
