package registry_test

import (
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

func ExampleParseReference() {
	ref, err := registry.ParseReference("team/app:1.2")
	fmt.Println(ref.Host, ref.Name, ref.Tag, err)
	_, err = registry.ParseReference("registry.example/Team/App")
	fmt.Println(err)
	// Output:
	// docker.io team/app 1.2 <nil>
	// parse reference "registry.example/Team/App": repository name (Team/App) must be lowercase
}
