package oci_test

import (
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/oci"
)

func ExampleParseTarget() {
	for _, s := range []string{"alpine", "registry.example:5000/team/app:1", "docker-archive:app.tar"} {
		t, err := oci.ParseTarget(s)
		fmt.Println(t, t.IsLocal(), err)
	}
	// Output:
	// docker.io/library/alpine:latest false <nil>
	// registry.example:5000/team/app:1 false <nil>
	// docker-archive:app.tar true <nil>
}

func ExampleSelection() {
	arm, err := oci.ParsePlatform("linux/arm/v7")
	if err != nil {
		panic(err)
	}
	s := oci.Selection{arm}
	fmt.Println(s.Wants(oci.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}))
	fmt.Println(s.Wants(oci.Platform{OS: "linux", Architecture: "amd64"}))
	fmt.Println(s.Wants(oci.Platform{})) // not known: it may be the one
	// Output:
	// true
	// false
	// true
}
