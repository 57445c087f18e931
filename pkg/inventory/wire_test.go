package inventory

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files")

// everything is a layer with all that a layer can have.
var everything = Layer{
	Releases: []ReleaseFile{{"etc/os-release", distro.Distribution{ID: "rocky", VersionID: "9.2", Codename: "blue onyx", Pretty: "Rocky Linux 9.2", CPE: "cpe:/o:rocky:rocky:9::baseos"}}},
	Databases: []Database{
		{"lib/apk/db/installed", APK, nil},
		{"var/lib/dpkg/status", Deb, []Package{
			{Kind: Deb, Name: "gcc", Version: "4:12.2.0-3", Arch: "amd64", SourceName: "gcc-defaults", SourceVersion: "1.203"},
			{Kind: Deb, Name: "libc6", Version: "2.36-9+deb12u4", Arch: "amd64", SourceName: "glibc", SourceVersion: "2.36-9+deb12u4"},
			{Kind: Deb, Name: "zlib1g", Version: "1:1.2.13", SourceName: "zlib1g", SourceVersion: "1:1.2.13"},
		}},
		{"var/lib/rpm/rpmdb.sqlite", RPM, []Package{
			{Kind: RPM, Name: "nodejs", Version: "1:18.14.2-3.el9", Arch: "x86_64", SourceName: "nodejs", SourceVersion: "1:18.14.2-3.el9", Module: "nodejs:18:9020020230327152102:rhel9"},
		}},
	},
	Removed:  []string{"etc/debian_version"},
	Opaque:   []string{"var/lib/dpkg"},
	Problems: []Problem{{Path: "var/lib/dpkg/status", Kind: "corrupt", Detail: "stanza at line 7: no Version", Count: 1}, {Kind: "corrupt", Detail: "garbage"}},
}

func TestLayerGolden(t *testing.T) {
	const golden = "testdata/layer.json"
	got, err := everything.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the stored form changed, which needs a new format number; want (-), got (+):\n%s", diff)
	}
	back, err := UnmarshalLayer(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&everything, back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("read back: want (-), got (+):\n%s", diff)
	}
}

func TestLayerRoundTrip(t *testing.T) {
	word := rapid.StringMatching(`[a-zA-Z0-9.+~:_-]{1,12}`)
	maybe := rapid.OneOf(rapid.Just(""), word)
	rapid.Check(t, func(t *rapid.T) {
		packages := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Package {
			p := Package{Kind: RPM, Name: word.Draw(t, "name"), Version: word.Draw(t, "version"), Arch: maybe.Draw(t, "arch"), Module: maybe.Draw(t, "module")}
			p.SourceName = rapid.OneOf(rapid.Just(p.Name), word).Draw(t, "source name")
			p.SourceVersion = rapid.OneOf(rapid.Just(p.Version), word).Draw(t, "source version")
			return p
		})).Draw(t, "packages")
		l := &Layer{Databases: []Database{{"var/lib/rpm/Packages", RPM, packages}}}
		b, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := UnmarshalLayer(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("want (-), got (+):\n%s", diff)
		}
	})
}

func TestMarshalErrors(t *testing.T) {
	for _, p := range []Package{
		{Kind: Deb, Name: "a b", Version: "1", SourceName: "a", SourceVersion: "1"},
		{Kind: Deb, Name: "a", Version: "1", SourceName: "a", SourceVersion: "1", Module: "1 2"},
		{Kind: RPM, Name: "a", Version: "1", SourceName: "a", SourceVersion: "1"}, // in a database of debs
		{Kind: Deb, Name: "a", Version: "1", SourceVersion: "1"},
	} {
		l := &Layer{Databases: []Database{{"var/lib/dpkg/status", Deb, []Package{p}}}}
		if b, err := l.Marshal(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %s, %v", p, b, err)
		}
	}
}

func TestUnmarshalErrors(t *testing.T) {
	for text, kind := range map[string]fault.Kind{
		``:                         fault.Corrupt,
		`{"format":1`:              fault.Corrupt,
		`{}`:                       fault.Unsupported,
		`{"format":2,"new":[]}`:    fault.Unsupported,
		`{"format":1,"opaque":{}}`: fault.Corrupt,
		`{"format":1,"databases":[{"path":"x","kind":"deb","packages":["a b c d e f g"]}]}`: fault.Corrupt,
	} {
		if l, err := UnmarshalLayer([]byte(text)); fault.KindOf(err) != kind {
			t.Errorf("%s: got %+v, %v of kind %v, want kind %v", text, l, err, fault.KindOf(err), kind)
		}
	}
}

func FuzzUnmarshalLayer(f *testing.F) {
	b, err := everything.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1,"databases":[{"path":"x","kind":"deb","packages":["a","",null," b "]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := UnmarshalLayer(b); err == nil {
			Squash([]*Layer{l})
		}
	})
}

func BenchmarkUnmarshalLayer(b *testing.B) {
	var packages []Package
	for i := range 195 {
		p := deb(fmt.Sprintf("libpackage-%03d", i), "2.36-9+deb12u4")
		if i%2 == 0 {
			p.SourceName = "source-package"
		}
		packages = append(packages, p)
	}
	stored, err := (&Layer{Databases: status(packages...)}).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(stored)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalLayer(stored); err != nil {
			b.Fatal(err)
		}
	}
}
