package bench

import (
	"testing"

	"github.com/google/osv-scalibr/semantic"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// usualVersions are as they stand in package databases and advisories, short and long.
var usualVersions = map[version.Scheme][]string{
	version.Dpkg: {
		"2.36-9+deb12u4", "1:9.18.19-1~deb12u1", "5.10.209-2", "0.17-3+b1", "1.1.1w-0+deb11u1", "12.4+deb12u5",
		"3.0.13-0ubuntu3.1", "2:8.39-13ubuntu0.22.04.1", "7.88.1-10+deb12u5", "20230311", "1.5.4-1", "8.0.32-1+b2",
		"2.4+20151223.gitfa8646d.1-2+b2", "1:1.2.13.dfsg-1", "6.1.0-18", "4.19.0+git20231205.1a2b3c4-1~bpo11+1",
	},
	version.RPM: {
		"2.28-236.el8_9.12", "1:1.1.1k-12.el8_9", "4.18.0-513.24.1.el8_9", "7.61.1-33.el8_9.5", "0:3.6.8-56.el8_9.3",
		"32:9.11.36-11.el8_9.1", "239-78.el8", "2.4.37-62.module+el8.9.0+19699+7a7a2044", "1.8.0.402.b06-2.el8", "20230731-1.git94f0e2c.el8",
		"8.0p1-19.el8_9.2", "5.14.0-362.24.1.el9_3", "2:2.1.0~rc1-3.fc39", "1.0^20240101git1a2b3c4-1.el9", "6.2-4.20210508.el9", "3.9.18-1.el9_3.1",
	},
	version.APK: {
		"1.36.1-r29", "3.1.4-r5", "1.2.4_git20230717-r4", "8.5.0-r0", "2.14.4-r0", "20240226-r0", "1.3.1-r0", "6.4_p20240330-r0",
		"9.7_p1-r4", "0.12.8-r2", "2.4.58-r0", "15.6-r0", "1.0.8-r6", "3.12.3-r1", "5.4.6-r1", "1.22.2_rc3-r1",
	},
	version.Semver: {
		"1.0.193", "0.4.31", "2.0.0-rc.1", "0.9.98", "1.35.1", "0.1.0-alpha.3", "0.14.28", "3.0.0-beta.5", "0.7.5", "1.0.0", "4.4.18", "0.21.7",
	},
	version.NPM: {
		"4.17.21", "18.2.0", "5.0.0-beta.23", "0.0.8", "1.2.6", "8.0.0-alpha.12", "2.0.1", "3.1.2", "7.5.4", "16.20.2", "1.0.30001574", "0.5.10",
	},
	version.Go: {
		"v1.9.1", "v0.0.0-20231108232855-2478ac86f678", "v0.17.0", "v20.10.24+incompatible", "go1.21.5", "v1.31.0", "v0.5.9",
		"v0.0.0-20180830031419-95f893ade6f2", "v1.0.0-rc6", "1.21.0-rc.4", "v2.2.3", "v0.16.1-0.20231013213740-ca3a3d5b1e4e",
	},
	version.PyPI: {
		"2.31.0", "4.2.9", "1.26.18", "2023.11.17", "0.0.1a3", "1.0.post1", "5.0rc1", "3.1.0.dev20240102", "41.0.7", "2.1.2+cu118", "68.2.2", "0.42.0",
	},
	version.Maven: {
		"2.15.3", "5.3.31", "4.1.104.Final", "3.0.0-M3", "32.1.3-jre", "1.2.13", "6.0.0-alpha-5", "2.9.10.8", "9.4.53.v20231009", "1.0.0-SNAPSHOT",
		"Hoxton.SR12", "4.3.2.RELEASE",
	},
	version.RubyGems: {
		"7.0.8", "2.2.8", "1.15.5", "3.0.0.rc1", "0.5.6", "2.1.0.beta1", "5.6.8", "1.0.0.pre", "4.2.11.3", "0.18.0", "6.4.1", "20231212.0",
	},
	version.NuGet: {
		"13.0.3", "4.3.0", "8.0.0-preview.7.23375.6", "6.0.1", "1.0.0-beta2", "2.88.6", "5.0.17", "3.1.32", "1.4.10.1", "8.0.0", "2.12.0-beta3", "7.0.0-rc.2.22472.3",
	},
	version.Packagist: {
		"v6.4.2", "2.9.3", "1.0.0-beta3", "v5.4.0-RC1", "3.x-dev", "10.38.2", "v1.28.0", "2.0.0-alpha.1", "4.10.5", "1.0.0.0", "7.4.1-p2", "v3.8.0",
	},
}

var ecosystems = map[version.Scheme]string{
	version.Dpkg: "Debian", version.RPM: "Red Hat", version.APK: "Alpine", version.Semver: "crates.io", version.NPM: "npm",
	version.Go: "Go", version.PyPI: "PyPI", version.Maven: "Maven", version.RubyGems: "RubyGems", version.NuGet: "NuGet",
	version.Packagist: "Packagist",
}

// BenchmarkVersionKey makes the key of one version, with room for it.
func BenchmarkVersionKey(b *testing.B) {
	for _, scheme := range version.Schemes() {
		versions := usualVersions[scheme]
		b.Run(string(scheme), func(b *testing.B) {
			b.ReportAllocs()
			key := make([]byte, 0, 128)
			size, n := 0, 0
			for b.Loop() {
				var err error
				if key, err = version.AppendKey(key[:0], scheme, versions[n%len(versions)]); err != nil {
					b.Fatal(err)
				}
				size += len(key)
				n++
			}
			b.ReportMetric(float64(size)/float64(n), "keybytes/op")
		})
	}
}

// BenchmarkVersionCompare compares two versions given as strings, beside osv-scalibr's comparator.
func BenchmarkVersionCompare(b *testing.B) {
	for _, scheme := range version.Schemes() {
		versions := usualVersions[scheme]
		each := func(compare func(x, y string) (int, error)) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					if _, err := compare(versions[n%len(versions)], versions[(n+1)%len(versions)]); err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
		}
		b.Run(string(scheme)+"/trawl", each(func(x, y string) (int, error) {
			return version.Compare(scheme, x, y)
		}))
		b.Run(string(scheme)+"/scalibr", each(func(x, y string) (int, error) {
			v, err := semantic.Parse(x, ecosystems[scheme])
			if err != nil {
				return 0, err
			}
			return v.CompareStr(y)
		}))
	}
}
