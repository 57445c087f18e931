package redhat

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

// pack returns an archive of the documents in testdata, those but the named ones.
func pack(t testing.TB, but ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	root := os.DirFS("testdata/vex")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
		}
		for _, b := range but {
			if name == b {
				return nil
			}
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return addEntry(w, name, text)
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addEntry(w *tar.Writer, name string, text []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

func TestParse(t *testing.T) {
	var census Census
	got := feedtest.Text(Parse(bytes.NewReader(pack(t)), &census))
	feedtest.Golden(t, "testdata/vex.golden", got+fmt.Sprintf("%+v\n", census))
}

func TestParseBroken(t *testing.T) {
	whole := pack(t)
	for name, archive := range map[string][]byte{
		"empty":             nil,
		"an error page":     []byte("<html>503</html>"),
		"cut in a document": whole[:3000],
		"cut in a header":   whole[:600],
		"zeros":             make([]byte, 4096),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range Parse(bytes.NewReader(archive), nil) {
				last = err
			}
			if fault.KindOf(last) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", last)
			}
		})
	}
	t.Run("gone on the way", func(t *testing.T) {
		gone := fault.Newf(fault.Unavailable, "read", "disk", "gone")
		var last error
		for _, err := range Parse(io.MultiReader(bytes.NewReader(whole[:10_000]), failing{gone}), nil) {
			last = err
		}
		if !errors.Is(last, gone) || fault.KindOf(last) != fault.Unavailable {
			t.Errorf("got %v", last)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestParseStops stops at each record in turn.
func TestParseStops(t *testing.T) {
	whole := pack(t)
	total := 0
	for range Parse(bytes.NewReader(whole), nil) {
		total++
	}
	for most := 1; most <= total; most++ {
		n := 0
		for range Parse(bytes.NewReader(whole), nil) {
			if n++; n == most {
				break
			}
		}
		if n != most {
			t.Errorf("%d records after a break at %d", n, most)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		cpe, namespace string
		reach          reach
	}{
		{"cpe:/o:redhat:enterprise_linux:9", "rhel:9", mainstream},
		{"cpe:/o:redhat:enterprise_linux:9::baseos", "rhel:9", mainstream},
		{"cpe:/a:redhat:enterprise_linux:8::crb", "rhel:8", mainstream},
		{"cpe:/a:redhat:enterprise_linux:8::resilientstorage", "rhel:8", mainstream},
		{"cpe:/o:redhat:enterprise_linux:7::ppc64le:server", "rhel:7", mainstream},
		{"cpe:/o:redhat:enterprise_linux:10.1", "rhel:10", mainstream},
		{"cpe:/a:redhat:rhel:8.3::appstream", "rhel:8", mainstream},
		{"cpe:/o:redhat:rhel_els:7", "rhel:7", mainstream},
		{"cpe:/a:redhat:rhel_extras:7", "rhel:7", mainstream},
		{"cpe:/a:redhat:rhel_virtualization:5:update9", "rhel:5", mainstream},
		{"cpe:/o:redhat:enterprise_linux:4::as", "rhel:4", mainstream},
		{"cpe:/o:redhat:enterprise_linux:8::hypervisor", "", layered},
		{"cpe:/o:redhat:enterprise_linux:9::fastdatapath", "", layered},
		{"cpe:/a:redhat:enterprise_linux_ai:3", "", layered},
		{"cpe:/a:redhat:openshift:4.14::el9", "", layered},
		{"cpe:/a:redhat:rhel_software_collections:3::el7", "", layered},
		{"cpe:/a:redhat:rhel_eus:9.2::appstream", "", minor},
		{"cpe:/o:redhat:rhel_aus:8.2::baseos", "", minor},
		{"cpe:/a:redhat:rhel_e4s:9.0::appstream", "", minor},
		{"cpe:/a:redhat:rhel_tus:8.8::appstream", "", minor},
		{"cpe:/o:redhat:enterprise_linux_eus:10.0", "", minor},
		{"cpe:/a:redhat:rhel_eus:sap_hana:6", "", minor},
		{"cpe:/o:redhat:enterprise_linux:next", "", 0},
		{"cpe:/o:redhat:enterprise_linux", "", 0},
		{"cpe:/o:redhat", "", 0},
		{"cpe:2.3:o:redhat:enterprise_linux:9:*:*:*:*:*:*:*", "", 0},
		{"cpe:/a:rhel_sam:1.0::el6", "", layered}, // the vendor is left out
		{"", "", 0},
	} {
		namespace, r, err := place(c.cpe)
		if namespace != c.namespace || r != c.reach || (err != nil) != (c.reach == 0) {
			t.Errorf("%s: %q, %d, %v; want %q, %d", c.cpe, namespace, r, err, c.namespace, c.reach)
		}
	}
}

func TestRepositories(t *testing.T) {
	file, err := os.Open("testdata/repository-to-cpe.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []Repository
	var bad []string
	for r, err := range Repositories(file) {
		var b *advisory.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, b.Subject)
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, r)
		}
	}
	want := []Repository{
		{"rhel-9-for-x86_64-baseos-rpms", []string{"cpe:/o:redhat:enterprise_linux:9::baseos"}, []string{"content/dist/rhel9/9/x86_64/baseos/os"}},
		{"rhel-8-for-x86_64-appstream-eus-rpms", []string{"cpe:/a:redhat:rhel_eus:8.6::appstream", "cpe:/a:redhat:rhel_eus:8.8::appstream"}, []string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("repositories differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"without-cpe-rpms", "odd-rpms"}, bad); diff != "" {
		t.Errorf("bad records differ (-want +got):\n%s", diff)
	}
	for _, document := range []string{``, `[]`, `{}`, `{"data": {"a": {"cpes": ["x"]}}`, `{"data": {}} 1`} {
		var last error
		for _, err := range Repositories(strings.NewReader(document)) {
			last = err
		}
		if fault.KindOf(last) != fault.Corrupt {
			t.Errorf("%s: got %v, want a fault of kind corrupt", document, last)
		}
	}
}

func FuzzParse(f *testing.F) {
	root := os.DirFS("testdata/vex")
	names, err := fs.Glob(root, "*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		read := func() string {
			var b strings.Builder
			w := func(r advisory.Record, err error) bool {
				fmt.Fprintln(&b, feedtest.Text(func(yield func(advisory.Record, error) bool) { yield(r, err) }))
				for _, a := range r.Affected {
					if a.Namespace == "" || a.Name == "" || a.Scheme == "" {
						t.Errorf("a range without name: %+v", a)
					}
				}
				return true
			}
			readDocument(bytes.NewReader(document), "fuzz", new(Census), w)
			return b.String()
		}
		if first, second := read(), read(); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}
