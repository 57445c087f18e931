package redhat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/updater/csaf"
)

// component is what a document says something about: a binary package, or a source package and with it all
// binary packages that are built from it.
type component struct {
	module  string // "nodejs:18"; "" for a package that is in none
	name    string
	source  bool
	version string // "1:3.0.7-27.el9", epoch 0 left out; "" for all versions
}

// rangeName returns the name of the component as ranges have it: "openssl-libs", "openssl.src",
// "nodejs:18/npm", "nodejs:18/nodejs.src".
func (c component) rangeName() string {
	name := c.name
	if c.module != "" {
		name = c.module + "/" + name
	}
	if c.source {
		name += inventory.SourceSuffix
	}
	return name
}

// errNotRPM says that a component is no rpm: a container image, a Maven artifact.
var errNotRPM = errors.New("not an rpm")

// parseComponent reads what identifies a component. The error wraps errNotRPM for one that is no rpm.
//
// Three generations of documents are in use. The oldest has no purl for what is not fixed, but the name of the
// source package, perhaps behind that of its module. The next names source and binary packages, each with its
// architecture where it has a version. The newest names source packages only, half of them without saying so; they
// all have a version then.
func parseComponent(p *csaf.Product) (component, error) {
	if p.PURL == "" {
		return parseName(p.Name)
	}
	u, err := packageurl.FromString(p.PURL)
	if err != nil {
		return component{}, fmt.Errorf("purl %q: %w", p.PURL, err)
	}
	if u.Type != packageurl.TypeRPM {
		return component{}, errNotRPM
	}
	qualifiers := u.Qualifiers.Map()
	c := component{name: u.Name, version: u.Version}
	switch arch := qualifiers["arch"]; arch {
	case "src", "nosrc", "source":
		c.source = true
	case "":
		c.source = c.version != ""
	}
	// Versions of source packages are compared without their epoch, see inventory.WithoutEpoch.
	if epoch := qualifiers["epoch"]; epoch != "" && epoch != "0" && c.version != "" && !c.source {
		c.version = epoch + ":" + c.version
	}
	if label, ok := qualifiers["rpmmod"]; ok {
		if c.module, err = moduleStream(label); err != nil {
			return component{}, fmt.Errorf("purl %q: %w", p.PURL, err)
		}
	}
	if stream, ok := moduleVersion(c.version); ok && c.module == "" {
		c.module = c.name + ":" + stream
	}
	return c, nil
}

// parseName reads "log4j" or "log4j:2/log4j". What has another slash is no rpm: an image, a Maven coordinate.
func parseName(name string) (component, error) {
	module, rest, found := strings.Cut(name, "/")
	if !found {
		if name == "" {
			return component{}, errors.New("it has no name")
		}
		return component{name: name, source: true}, nil
	}
	stream, err := moduleStream(module)
	if err != nil || rest == "" || strings.Contains(rest, "/") {
		return component{}, errNotRPM
	}
	return component{module: stream, name: rest, source: true}, nil
}

// moduleStream returns name and stream of a module label, "perl-FCGI:0.78:8060020250604201935:513b2a65",
// see https://docs.fedoraproject.org/en-US/modularity/core-concepts/nsvca/.
func moduleStream(label string) (string, error) {
	fields := strings.Split(label, ":")
	if len(fields) < 2 || fields[0] == "" || fields[1] == "" {
		return "", fmt.Errorf("%q names no module and stream", label)
	}
	return fields[0] + ":" + fields[1], nil
}

// moduleBuild is the version of a module rather than of a package in it: its stream, the time of its build, and its context.
var moduleBuild = regexp.MustCompile(`^(?:\d+:)?(.+)-\d{14,}\.[0-9a-f]{8}$`)

// moduleVersion returns the stream that the version tells where it is that of a module. The newest documents have
// such for packages of the module's name, "python39 3.9-8100020240826142629.d47b87a4"; versions of packages do not
// compare with it.
func moduleVersion(version string) (stream string, ok bool) {
	m := moduleBuild.FindStringSubmatch(version)
	if m == nil {
		return "", false
	}
	return m[1], true
}
