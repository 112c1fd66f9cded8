package vendor

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// Definition returns the files of an application that runs one image, with which a vendor begins: a Deployment, a Service and an
// Application. title is the name for people, slug that of the objects.
func Definition(title, slug, image string) []rewrite.File {
	fill := strings.NewReplacer("SLUG", slug, "TITLE", strings.ReplaceAll(title, `"`, `\"`), "IMAGE", image)
	return []rewrite.File{
		{Path: "application.yaml", Data: []byte(fill.Replace(helloApplication))},
		{Path: "deployment.yaml", Data: []byte(fill.Replace(helloDeployment))},
		{Path: "service.yaml", Data: []byte(fill.Replace(helloService))},
	}
}

const helloApplication = `apiVersion: app.k8s.io/v1beta1
kind: Application
metadata:
  name: SLUG
  labels:
    app.kubernetes.io/name: SLUG
spec:
  descriptor:
    description: "TITLE"
  componentKinds:
    - group: apps
      kind: Deployment
    - group: ""
      kind: Service
  selector:
    matchLabels:
      app: SLUG
`

const helloDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: SLUG
  labels:
    app: SLUG
spec:
  replicas: 1
  selector:
    matchLabels:
      app: SLUG
  template:
    metadata:
      labels:
        app: SLUG
    spec:
      containers:
        - name: SLUG
          image: IMAGE
          ports:
            - containerPort: 80
`

const helloService = `apiVersion: v1
kind: Service
metadata:
  name: SLUG
  labels:
    app: SLUG
spec:
  type: ClusterIP
  ports:
    - port: 80
      targetPort: 80
  selector:
    app: SLUG
`
