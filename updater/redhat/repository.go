package redhat

import (
	"errors"
	"io"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// RepositoriesAddress is where the map of repositories to products is published.
const RepositoriesAddress = "https://security.access.redhat.com/data/metrics/repository-to-cpe.json"

// Repository is a package repository, and the products that publish in it. The content sets that Red Hat's images
// list in root/buildinfo/content_manifests are names of repositories.
type Repository struct {
	Name  string   // "rhel-9-for-x86_64-baseos-rpms"
	CPEs  []string // of the products: "cpe:/o:redhat:enterprise_linux:9::baseos"
	Paths []string // below Red Hat's content servers: "content/dist/rhel9/9/x86_64/baseos/os"
}

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Repositories reads the map. It yields a repository and nil; or a [*advisory.BadRecord] for one that cannot be
// used, and goes on; or any other error, and ends.
func Repositories(r io.Reader) iter.Seq2[Repository, error] {
	return func(yield func(Repository, error) bool) {
		w := jsonstream.New(r)
		var listed bool
		err := w.Object(func(name string) error {
			if name != "data" {
				return w.Skip()
			}
			listed = true
			return w.Object(func(name string) error {
				var entry struct {
					CPEs  []string `json:"cpes"`
					Paths []string `json:"repo_relative_urls"`
				}
				shape, broken := w.Value(&entry)
				if broken != nil {
					return broken
				}
				if !yieldRepository(Repository{name, entry.CPEs, entry.Paths}, shape, yield) {
					return errStopped
				}
				return nil
			})
		})
		if err == nil {
			err = w.End()
		}
		if err == nil && !listed {
			err = errors.New("the document has no member \"data\"")
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Repository{}, fault.New(fault.Corrupt, "parse", RepositoriesAddress, err))
		}
	}
}

func yieldRepository(r Repository, shape error, yield func(Repository, error) bool) bool {
	if shape == nil && len(r.CPEs) == 0 {
		shape = errors.New("it has no CPE")
	}
	if shape != nil {
		return yield(Repository{}, &advisory.BadRecord{Subject: r.Name, Reason: shape.Error()})
	}
	return yield(r, nil)
}
