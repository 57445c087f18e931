package version

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// goldenVersions are in their order, with versions that are equal beside each other. They touch every
// code of the format.
var goldenVersions = map[Scheme][]string{
	Dpkg: {
		"0~~", "0~", "0", "0-0", "00:00", "0-1~bpo12+1", "0-1", "0-1+b1", "0-1+deb12u1", "0a", "0a1Z",
		"0+ds", "0-1-1", "0.", "0.00-0", "0.0.1", "1.0~rc1-1", "1.0-1", "1.0-1ubuntu0.1", "1.122", "1.378", "1.20230914",
		"1.9999999999999999999", "1.10000000000000000000", "1." + strings.Repeat("9", 130),
		"2.36-9+deb12u4", "1:0", "1:2:3", "121:1", "122:1", "2147483647:1",
	},
	RPM: {
		"0", "0:0", ":0", "0-~", "0-1", "0-1.el9", "0-1.el9_2", "0^git1-1", "0A-1", "0a~1-1", "0a-1",
		"0a^1-1", "0a.b-1", "0a1-1", "0.ab-1", "0.0-1", "1.1.1k-9.el8_7",
		"2.4.37-51.module+el8.7.0+18026+7b169787.1",
		"4.18.0-513.24.1.el8_9", "20230914-1", "9999999999999999999-1", "10000000000000000000-1",
		"1:1~rc1-1", "1:1-1", "32:9.16.23-11.el9_2.1",
	},
	APK: {
		"0", "0-r0", "0.0", "0.00", "0.000", "0.001", "0.01", "0.1",
		"1.0_alpha", "1.0_alpha1", "1.0_beta", "1.0_pre2", "1.0_rc1_p1", "1.0",
		"1.0-r0", "01.0-r0", "1.0-r1", "1.0~0af-r1", "1.0_cvs",
		"1.0_svn", "1.0_git20230914-r2", "1.0_hg", "1.0_p", "1.0_p0", "1.0a", "1.0z",
		"1.0.0", "1.0.1", "1.36.1-r29", "6.4_p20231125-r0", "20240226-r0", "9999999999999999999", "10000000000000000000",
	},
	Semver: {
		"0.0.0-0", "0.0.0", "1.0.0-1", "1.0.0-1.a", "1.0.0-122", "1.0.0-20240226123456", "1.0.0-10000000000000000000", "1.0.0--", "1.0.0-0a",
		"1.0.0-A", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.1.x", "1.0.0-alpha.beta", "1.0.0-alpha0", "1.0.0-rc.1+build.5",
		"1.0.0-z", "1.0.0", "1.0.0+20130313144700", "1.0.122", "1.378.0", "65658.0.0",
	},
	NPM: {
		"0.0.0-0", "1.2.3-1", "=v1.02.3-01", "1.2.3-beta", "1.2.3beta", "1.2.3beta.1", "1.2.3", "v1.2.3+build", "4.17.21", "9007199254740991.0.0",
	},
	Go: {
		"v0.0.0-20191109021931-daa7c04131f5", "v0.0.0-20191109021932-000000000000", "v0.0.0", "v1", "1.0", "v1.0.0", "go1",
		"1.21.0-0", "go1.21rc", "1.21.0-rc.2", "go1.21rc2", "go1.21", "1.21.0", "go1.21.3", "go1.21.3-vendor", "v2.0.0+incompatible",
	},
	PyPI: {
		"0.0.dev0", "0", "1.dev1", "1.0.DEV2+local", "1a0.dev1", "1.0-ALPHA", "1a1", "1a1.post1.dev1", "1a1.post1", "1b", "1.0rc1", "1c2", "1",
		"v1.0.0", "1+0a", "1+abc", "1+abc.d", "1+abc.1", "1+abcd", "1+5", "1+5.a", "1+122", "1-1.dev0", "1.post1", "1-1+deb", "1.0.1", "1.122",
		"20240226", "1!0", "122!0",
	},
	Maven: {
		"alpha.1", "0-alpha", "0", "Final", "foo", "0-1", "1.alpha.2", "1.beta-2", "1.snapshot.2", "1.ga.rc.1", "1-alpha", "1-a1", "1-alpha-1",
		"1.0-beta2", "1-M3", "1-cr1", "1-RC2", "1-SNAPSHOT", "1-ga.rc.2", "1-ga-rc-2", "1.0.rc.2", "1", "1.0.0.RELEASE", "1.ga.sp.1", "1.sp.1",
		"1.foo.2", "1-ga.1", "1-sp", "1-!", "1-foo-alpha", "1-foo", "1.foo", "1-foo2", "1-foobar", "1.0.0.Final-redhat-00001", "1~~", "1--1", "1-0.1",
		"1-1", "1.0.sp.1", "1.0.1", "1.1", "1.122", "20040616", "9999999999999999999", "10000000000000000000",
	},
	RubyGems: {
		"0.a", "0", "0.0", "1.A", "1.a.0.b", "1.a", "1.0.a", "1.a.1", "1.b", "1.pr", "1.0-1", "1.pre.1", "1.prea", "1.rc.0.b", "1.rc", "1.rc.0", "1.rc.0.1", "1.rc1",
		"1", "1.0.0", "1.0.0.1", "1.0.1", "1.1", "1.122", "20240226",
	},
	NuGet: {
		"0", "0.0.0.0", "1.0-1", "1-122", "1.0.0-2147483647", "1--", "1-2147483648", "1-a", "1-A", "1-alpha.1", "1-beta.2", "1-beta.10", "1-beta.20240226123456",
		"1-Z", "1", "01.00", "1.0.0.0+sha", "1.0.0.1", "1.0.1", "1.122.0.2147483647",
	},
	Packagist: {
		"0.0-STABLE", "0-dev", "0.0.0.0", "1.0-Stable1", "1.0-dev", "1-alpha-dev", "1.0a", "1.0.0-alpha1", "1.0-beta", "1.0b1.2", "1.0-RC1-dev", "1.0_rc1",
		"1", "v1.0.0.0", "1.0-stable", "1.0+build", "1.0-p", "1.0-patch.1.dev", "1.0-pl1", "1.0.1", "1.x-dev", "2020-01", "2020.01.02", "2020-01-02-03-04-05",
		"20240226", "20240226-123456",
	},
}

// TestGoldenKeys pins keys byte by byte: they are stored. A change here is a change of KeyFormat.
func TestGoldenKeys(t *testing.T) {
	for _, scheme := range Schemes() {
		t.Run(string(scheme), func(t *testing.T) {
			var lines []string
			last := []byte{}
			for i, s := range goldenVersions[scheme] {
				key, err := Key(scheme, s)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Compare(last, key) > 0 {
					t.Errorf("%s sorts before %s", s, goldenVersions[scheme][i-1])
				}
				last = key
				lines = append(lines, s+" "+hex.EncodeToString(key))
			}
			name := filepath.Join("testdata", string(scheme)+".keys")
			if *update {
				header := "# Keys of format 1. They never change; see version_test.go.\n"
				if err := os.WriteFile(name, []byte(header+strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(readLines(t, name), lines); diff != "" {
				t.Errorf("keys changed, and KeyFormat is %d (-golden +now):\n%s", KeyFormat, diff)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	_, err := Key(Dpkg, "1.0 x")
	if got, want := err.Error(), `parse dpkg version "1.0 x": character not allowed at byte 3`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, err = Key(APK, strings.Repeat("x", 1000))
	if len(err.Error()) > 200 {
		t.Errorf("a long version makes an error of %d bytes", len(err.Error()))
	}
}

func TestUnknownScheme(t *testing.T) {
	for _, scheme := range []Scheme{"", "DPKG", "cobol"} {
		_, err := Key(scheme, "1.0")
		if !errors.Is(err, ErrScheme) || fault.KindOf(err) != fault.Unsupported {
			t.Errorf("scheme %q: %v", scheme, err)
		}
	}
}

// TestAppendKey holds that keys are appended, and cost nothing but their room.
func TestAppendKey(t *testing.T) {
	for _, scheme := range Schemes() {
		for _, s := range goldenVersions[scheme] {
			key, err := Key(scheme, s)
			if err != nil {
				t.Fatal(err)
			}
			longer, err := AppendKey([]byte("prefix"), scheme, s)
			if err != nil || string(longer) != "prefix"+string(key) {
				t.Errorf("%s %q: %x, %v", scheme, s, longer, err)
			}
			room := make([]byte, 0, 256)
			if n := testing.AllocsPerRun(10, func() { room, _ = AppendKey(room[:0], scheme, s) }); n != 0 {
				t.Errorf("%s %q: AppendKey allocates %v times", scheme, s, n)
			}
			if n := testing.AllocsPerRun(10, func() { _, _ = Compare(scheme, s, goldenVersions[scheme][0]) }); n != 0 && len(s) < 100 {
				t.Errorf("%s %q: Compare allocates %v times", scheme, s, n)
			}
		}
	}
}
