package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/trawl-scanner/trawl"

// readLayers reads the block of ARCHITECTURE.md that lists the layers: rows of packages, each row standing on
// the rows above it. A name stands for the folder and what is below it.
func readLayers(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```layers\n")
	block, _, end := strings.Cut(block, "```")
	if !ok || !end {
		t.Fatal("ARCHITECTURE.md has no block ```layers")
	}
	rows := make(map[string]int)
	for i, line := range strings.Split(strings.TrimSpace(block), "\n") {
		line, _, _ = strings.Cut(line, "#")
		for _, name := range strings.Fields(line) {
			rows[name] = i
		}
	}
	return rows
}

// place returns the entry of the layers block that a package belongs to: itself or the nearest folder above.
func place(rows map[string]int, importPath string) (name string, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
	if name == "" {
		name = "main"
	}
	for ; name != "."; name = path.Dir(name) {
		if _, ok := rows[name]; ok {
			return name, true
		}
	}
	return "", false
}

// TestArchitecture holds the imports against the layers that ARCHITECTURE.md lists.
func TestArchitecture(t *testing.T) {
	rows := readLayers(t)
	for _, pkg := range listPackages(t) {
		from, ok := place(rows, pkg.ImportPath)
		if !ok {
			t.Errorf("%s stands in no row of the layers in ARCHITECTURE.md; put it where it belongs", pkg.ImportPath)
			continue
		}
		if pkg.Doc == "" {
			t.Errorf("%s has no package comment that says what it provides and what it does not", pkg.ImportPath)
		}
		for _, imported := range pkg.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			to, ok := place(rows, imported)
			if !ok || from == to || rows[to] < rows[from] {
				continue
			}
			t.Errorf("%s imports %s, which stands beside or above it in ARCHITECTURE.md.\n"+
				"Move what both need into a row below, or let a package above join them.", pkg.ImportPath, imported)
		}
	}
}

type listed struct {
	ImportPath, Doc string
	Imports         []string
}

// listPackages returns the packages of the module, without their tests.
func listPackages(t *testing.T) []listed {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Doc,Imports", "./...")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
