package job_test

import (
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
)

func ExampleLayer_Encode() {
	l := job.Layer{
		Digest:       digest.SHA256([]byte("hello")),
		Size:         5,
		Repositories: []string{"registry.example/app"},
		Lane:         job.Now,
	}
	value, err := l.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(value))
	// Output:
	// {"v":1,"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","size":5,"repositories":["registry.example/app"],"lane":"now"}
}
