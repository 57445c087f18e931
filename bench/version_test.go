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
}

var ecosystems = map[version.Scheme]string{version.Dpkg: "Debian", version.RPM: "Red Hat", version.APK: "Alpine"}

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
