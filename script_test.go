package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
)

// TestScripts runs the stories of testdata/script, each of which shows a part of the command line as its users meet it.
//
// A script finds the files of testdata/fixtures.txtar in its working directory, a data directory that holds nothing yet
// in TRAWL_DATA_DIR, and an empty registry at $REGISTRY. Beside the commands of testscript it has those of
// scriptCommands.
func TestScripts(t *testing.T) {
	fixtures, err := txtar.ParseFile("testdata/fixtures.txtar")
	if err != nil {
		t.Fatal(err)
	}
	fresh := freshDataDir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Cmds:                scriptCommands,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(5 * time.Minute),
		Setup: func(env *testscript.Env) error {
			if err := txtar.Write(fixtures, env.WorkDir); err != nil {
				return err
			}
			images := &countingRegistry{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
			server := httptest.NewServer(images)
			env.Defer(server.Close)
			env.Values[registryKey{}] = images
			env.Setenv("REGISTRY", server.Listener.Addr().String())
			env.Setenv("TRAWL_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			if err := letPass(env.WorkDir); err != nil {
				return err
			}
			if out, err := exec.Command("cp", "-a", fresh, filepath.Join(env.WorkDir, "data")).CombinedOutput(); err != nil {
				return fmt.Errorf("copy the data directory: %w: %s", err, out)
			}
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			return nil
		},
	})
}

// freshDataDir makes a data directory as the first command that runs on it does. Copying it takes a fraction of the
// time.
func freshDataDir(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := letPass(root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "data")
	var stderr strings.Builder
	if code := run([]string{"feeds", "list", "--data-dir", dir}, strings.NewReader(""), io.Discard, &stderr); code != exitOK {
		t.Fatalf("make a data directory: exit code %d: %s", code, stderr.String())
	}
	return dir
}

// letPass lets other users pass through the temporary directories above dir: the one that Postgres runs as where this
// process is root.
func letPass(dir string) error {
	for dir = filepath.Dir(dir); dir != filepath.Clean(os.TempDir()) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

type registryKey struct{}

// countingRegistry counts the layers that are read from a registry.
type countingRegistry struct {
	http.Handler
	read atomic.Int64
}

func (c *countingRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		w = &layerCounter{ResponseWriter: w, read: &c.read}
	}
	c.Handler.ServeHTTP(w, r)
}

// layerCounter counts an answer that begins like gzip, which configurations do not.
type layerCounter struct {
	http.ResponseWriter
	read *atomic.Int64
	seen bool
}

func (c *layerCounter) Write(p []byte) (int, error) {
	if !c.seen && len(p) > 0 {
		c.seen = true
		if p[0] == 0x1f {
			c.read.Add(1)
		}
	}
	return c.ResponseWriter.Write(p)
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// archive docker-archive|oci-archive|oci-dir|aci|rootfs FILE DIR… makes an image of a layer for each directory.
	"archive": func(ts *testscript.TestScript, _ bool, args []string) {
		var dirs []string
		for _, dir := range args[2:] {
			dirs = append(dirs, ts.MkAbs(dir))
		}
		ts.Check(writeArchive(args[0], ts.MkAbs(args[1]), dirs...))
	},
	// push NAME:TAG [PLATFORM=]DIR[,DIR…]… pushes an image to $REGISTRY, or an index of one for each platform.
	"push": func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(pushImages(ts.Getenv("REGISTRY")+"/"+args[0], ts.MkAbs("."), args[1:]))
	},
	// layers-read N checks how many layers were read from $REGISTRY since it was last asked.
	"layers-read": func(ts *testscript.TestScript, _ bool, args []string) {
		got := ts.Value(registryKey{}).(*countingRegistry).read.Swap(0)
		if strconv.FormatInt(got, 10) != args[0] {
			ts.Fatalf("%d layers were read, not %s", got, args[0])
		}
	},
	// exits CODE PROGRAM ARG… runs a program that has to end with that code.
	"exits": func(ts *testscript.TestScript, _ bool, args []string) {
		code := 0
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				ts.Fatalf("%v", err)
			}
			code = exit.ExitCode()
		}
		if strconv.Itoa(code) != args[0] {
			ts.Fatalf("exit code %d, not %s", code, args[0])
		}
	},
	// await REGEXP PROGRAM ARG… runs a program until its output matches.
	"await": func(ts *testscript.TestScript, _ bool, args []string) {
		want := regexp.MustCompile("(?m)" + args[0])
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); ; <-tick.C {
			err := ts.Exec(args[1], args[2:]...)
			if err == nil && want.MatchString(ts.ReadFile("stdout")) {
				return
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%v does not come to match %s", args[1:], args[0])
			}
		}
	},
	// terminate WORD sends SIGTERM to the first command in the background that was called with the word.
	"terminate": func(ts *testscript.TestScript, _ bool, args []string) {
		for _, command := range ts.BackgroundCmds() {
			if slices.Contains(command.Args, args[0]) && command.ProcessState == nil {
				ts.Check(command.Process.Signal(syscall.SIGTERM))
				return
			}
		}
		ts.Fatalf("no command in the background was called with %s", args[0])
	},
	// server-of DIR sets $SERVER to the address of the server that runs on a data directory.
	"server-of": func(ts *testscript.TestScript, _ bool, args []string) {
		owner, err := datadir.OwnerOf(ts.MkAbs(args[0]))
		ts.Check(err)
		ts.Setenv("SERVER", owner.API)
	},
	// webserver DIR serves files and sets $WEBSERVER to its address.
	"webserver": func(ts *testscript.TestScript, _ bool, args []string) {
		server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
		ts.Defer(server.Close)
		ts.Setenv("WEBSERVER", server.URL)
	},
	// json FILE PATH VALUE checks a part of a JSON document: "findings.0.id", "name=debian.state"; "len" is the length of
	// a list.
	"json": func(ts *testscript.TestScript, neg bool, args []string) {
		part := jsonPart(ts, parseJSON(ts, args[0]), args[1])
		text, ok := part.(string)
		if !ok {
			b, err := json.Marshal(part)
			ts.Check(err)
			text = string(b)
		}
		if (text == args[2]) == neg {
			ts.Fatalf("%s is %s", args[1], text)
		}
	},
	// cmpjson GOT WANT compares JSON documents. In WANT the string "*" stands for any value, and what an object has beside
	// the members that stand there is not looked at: members may be added.
	"cmpjson": func(ts *testscript.TestScript, _ bool, args []string) {
		got, want := parseJSON(ts, args[0]), parseJSON(ts, args[1])
		if diff := cmp.Diff(want, narrow(got, want)); diff != "" {
			ts.Fatalf("%s is not %s (- want, + got):\n%s", args[0], args[1], diff)
		}
	},
}

func parseJSON(ts *testscript.TestScript, file string) any {
	var document any
	if err := json.Unmarshal([]byte(ts.ReadFile(file)), &document); err != nil {
		ts.Fatalf("%s is not one JSON document: %v", file, err)
	}
	return document
}

// jsonPart follows a path into a document.
func jsonPart(ts *testscript.TestScript, document any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch d := document.(type) {
		case map[string]any:
			value, ok := d[name]
			if !ok {
				ts.Fatalf("%s: there is no %s", path, name)
			}
			document = value
		case []any:
			if name == "len" {
				return len(d)
			}
			i, err := strconv.Atoi(name)
			if key, value, ok := strings.Cut(name, "="); ok {
				i = slices.IndexFunc(d, func(item any) bool {
					object, ok := item.(map[string]any)
					return ok && object[key] == value
				})
			} else if err != nil {
				i = -1
			}
			if i < 0 || i >= len(d) {
				ts.Fatalf("%s: there is no %s among %d", path, name, len(d))
			}
			document = d[i]
		default:
			ts.Fatalf("%s: %s is below %v", path, name, d)
		}
	}
	return document
}

// narrow leaves of got what want looks at.
func narrow(got, want any) any {
	switch w := want.(type) {
	case string:
		if w == "*" {
			return w
		}
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			out := make(map[string]any)
			for name := range w {
				if value, ok := g[name]; ok {
					out[name] = narrow(value, w[name])
				}
			}
			return out
		}
	case []any:
		if g, ok := got.([]any); ok {
			for i := range min(len(g), len(w)) {
				g[i] = narrow(g[i], w[i])
			}
		}
	}
	return got
}
