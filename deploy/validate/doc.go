// Package validate holds the files below deploy against what reads them: the Kubernetes API's own types, kustomize, Helm,
// Compose, BuildKit's parser, systemd, Prometheus, and the program itself.
//
// It has tests only, and is a module of its own, so that the libraries that this takes are no dependencies of the
// program. Nothing here starts a container or speaks to a cluster: that an image builds, or that a server accepts an
// object, is not shown.
package validate
