package registrytest

import (
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/certtest"
)

// Authority makes a certificate authority, and a certificate for 127.0.0.1 that it signs with its key, as PEM files. They
// are valid for an hour.
func Authority(tb testing.TB) (ca, cert, key string) {
	tb.Helper()
	a := certtest.NewAuthority(tb, tb.TempDir())
	cert, key = a.Issue("registry", time.Now().Add(time.Hour))
	return a.File, cert, key
}
