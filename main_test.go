package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMain lets the tests run the program: for a command "trawl" the test binary is it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"trawl": main})
}
