package version

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// notVersions are strings that cannot be read, and what is said of them.
var notVersions = []struct {
	scheme  Scheme
	version string
	offset  int
	reason  string
}{
	{Dpkg, "", 0, "empty"},
	{Dpkg, " \t", 2, "empty"},
	{Dpkg, "1.0 x", 3, "character not allowed"}, // dpkg: embedded spaces
	{Dpkg, "0:3.x only", 5, "character not allowed"},
	{Dpkg, ":1.0", 0, "epoch is not a number from 0 to 2147483647"},
	{Dpkg, "a:1.0", 0, "epoch is not a number from 0 to 2147483647"},
	{Dpkg, "-1:1.0", 0, "epoch is not a number from 0 to 2147483647"},
	{Dpkg, "+1:1.0", 0, "epoch is not a number from 0 to 2147483647"}, // dpkg takes it
	{Dpkg, "2147483648:1.0", 0, "epoch is not a number from 0 to 2147483647"},
	{Dpkg, "1.0-1:2", 0, "epoch is not a number from 0 to 2147483647"},
	{Dpkg, "1:", 2, "upstream version is empty"},
	{Dpkg, "-1", 0, "upstream version is empty"},
	{Dpkg, "1:-1", 2, "upstream version is empty"},
	{Dpkg, "1.0-", 4, "revision is empty"},
	{Dpkg, "0:1.0-1:2", 7, "colon in the revision"},
	{Dpkg, "v1.0", 0, "upstream version does not begin with a digit"},
	{Dpkg, "unknown", 0, "upstream version does not begin with a digit"},
	{Dpkg, "<unfixed>", 0, "upstream version does not begin with a digit"},
	{Dpkg, "1:1.12_1.12.6-1+deb9u1", 6, "character not allowed"},
	{Dpkg, "1.0-1_2", 5, "character not allowed"},
	{Dpkg, "1.é", 2, "character not allowed"},
	{Dpkg, "1.\x00", 2, "character not allowed"},
	{Dpkg, strings.Repeat("1", 1025), 1024, "longer than 1024 bytes"},

	{RPM, "", 0, "version is empty"},
	{RPM, "1:", 2, "version is empty"},
	{RPM, "-1", 0, "version is empty"},
	{RPM, "1:-1", 2, "version is empty"},
	{RPM, "1.0-", 4, "release is empty"},
	{RPM, "1.0-1-2", 5, "character not allowed"},
	{RPM, "openssl-1.0-1", 11, "character not allowed"},
	{RPM, "(none):1.0-1", 0, "character not allowed"},
	{RPM, "a:1.0-1", 1, "character not allowed"},
	{RPM, "1:2:3-1", 3, "character not allowed"},
	{RPM, "1.0 -1", 3, "character not allowed"},
	{RPM, "1.0-1.é", 6, "character not allowed"},
	{RPM, strings.Repeat("1", 1025), 1024, "longer than 1024 bytes"},

	{APK, "", 0, "no number"},
	{APK, "a1", 0, "no number"},
	{APK, ".1", 0, "no number"},
	{APK, "1.", 2, "no number after the dot"},
	{APK, "1..2", 2, "no number after the dot"},
	{APK, "1.18.-r2", 5, "no number after the dot"},
	{APK, "0.8.21.r2", 7, "no number after the dot"},
	{APK, "1.0ab", 4, "cannot go on like this"},
	{APK, "1.0A", 3, "cannot go on like this"},
	{APK, "6.6.4p1-r1", 6, "cannot go on like this"},
	{APK, "1.0a.1", 4, "cannot go on like this"},
	{APK, "1.0_", 4, "no such suffix"},
	{APK, "1.0_foo", 4, "no such suffix"},
	{APK, "1.0_P1", 4, "no such suffix"},
	{APK, "1.0~", 4, "no hash after the tilde"},
	{APK, "1.0~AB", 4, "no hash after the tilde"},
	{APK, "1.0~ab~cd", 6, "cannot go on like this"},
	{APK, "1.0_p1a", 6, "cannot go on like this"},
	{APK, "1.0-1", 3, "cannot go on like this"},
	{APK, "1.0-", 3, "cannot go on like this"},
	{APK, "1.0-r", 5, "no number of a revision"},
	{APK, "1.0-r1-r2", 6, "more after the revision"},
	{APK, "1.0-r1~ab", 6, "more after the revision"},
	{APK, "1.0 ", 3, "cannot go on like this"},
	{APK, strings.Repeat("1", 1025), 1024, "longer than 1024 bytes"},

	{Semver, "", 0, "no number"},
	{Semver, "v1.0.0", 0, "no number"},
	{Semver, " 1.0.0", 0, "no number"},
	{Semver, "1", 1, "fewer than three numbers"},
	{Semver, "1.0", 3, "fewer than three numbers"},
	{Semver, "1.0-a", 3, "fewer than three numbers"},
	{Semver, "1..0", 2, "no number"},
	{Semver, "01.0.0", 0, "number with leading zeros"},
	{Semver, "1.0.0.0", 5, "cannot go on like this"},
	{Semver, "1.0.0a", 5, "cannot go on like this"},
	{Semver, "1.0.0-", 6, "identifier is empty"},
	{Semver, "1.0.0-a..b", 8, "identifier is empty"},
	{Semver, "1.0.0-a.01", 8, "number with leading zeros"},
	{Semver, "1.0.0-a_b", 7, "cannot go on like this"},
	{Semver, "1.0.0+", 6, "identifier is empty"},
	{Semver, "1.0.0+a+b", 7, "character not allowed"},

	{NPM, "", 0, "no number"},
	{NPM, " v= ", 3, "no number"},
	{NPM, "latest", 0, "no number"},
	{NPM, "^1.2.3", 0, "no number"},
	{NPM, "1.2", 3, "fewer than three numbers"},
	{NPM, "1.2.x", 4, "no number"},
	{NPM, " 1.2.3.4", 6, "cannot go on like this"},
	{NPM, "1.2.34.5", 6, "cannot go on like this"},
	{NPM, "1.2.3-", 6, "identifier is empty"},
	{NPM, "1.2.30-", 7, "identifier is empty"},
	{NPM, "1.2.3_a", 5, "cannot go on like this"},
	{NPM, "9007199254740992.0.0", 0, "number above 9007199254740991"},
	{NPM, "1.2.3-" + strings.Repeat("a", 251), 256, "longer than 256 bytes"},

	{Go, "", 0, "no number"},
	{Go, "v", 1, "no number"},
	{Go, "(devel)", 0, "no number"},
	{Go, "devel go1.22-3b3d6f1", 0, "no number"},
	{Go, "v1.2-rc", 4, "fewer than three numbers"},
	{Go, "v1.02.0", 3, "number with leading zeros"},
	{Go, "v1.2.3+", 7, "identifier is empty"},
	{Go, "go", 2, "no number"},
	{Go, "gopher", 2, "no number"},
	{Go, "go1.", 4, "no number"},
	{Go, "go1.21.3rc1", 8, "cannot go on like this"},
	{Go, "go1rc1", 3, "cannot go on like this"},
	{Go, "go1.21rc01", 8, "number with leading zeros"},
	{Go, "go1.21rc1x", 9, "cannot go on like this"},
	{Go, "go1.21.3 X:boringcrypto", 8, "cannot go on like this"},

	{PyPI, "", 0, "no number"},
	{PyPI, "v", 1, "no number"},
	{PyPI, "unknown", 0, "no number"},
	{PyPI, "!1", 0, "no number"},
	{PyPI, "1!", 2, "no number"},
	{PyPI, " 2004d", 5, "cannot go on like this"},
	{PyPI, "0.1dev-r123", 7, "cannot go on like this"},
	{PyPI, "1..0", 1, "cannot go on like this"},
	{PyPI, "1.0-final", 3, "cannot go on like this"},
	{PyPI, "1.0.dev1.post1", 8, "cannot go on like this"},
	{PyPI, "1.0+", 4, "segment of the local version is empty"},
	{PyPI, "1.0+a..b", 6, "segment of the local version is empty"},
	{PyPI, "1.0+a+b", 5, "character not allowed"},
	{PyPI, "2013-01-21T20:33:09", 7, "cannot go on like this"},

	{Maven, "", 0, "empty"},
	{Maven, " 1.0", 0, "character not allowed"},
	{Maven, "1.0 (build 3)", 3, "character not allowed"},
	{Maven, "${revision}", 1, "character not allowed"},
	{Maven, "[1.0,2.0)", 0, "character not allowed"},
	{Maven, "1.0é", 3, "character not allowed"},

	{RubyGems, "", 0, "no number"},
	{RubyGems, "a.1", 0, "no number"},
	{RubyGems, " 1.", 3, "segment is empty"},
	{RubyGems, "1beta", 1, "character not allowed"},
	{RubyGems, "1.0-", 4, "segment is empty"},
	{RubyGems, "1.0-x86_64-linux", 7, "character not allowed"},
	{RubyGems, "1.0+1", 3, "character not allowed"},

	{NuGet, "", 0, "no number"},
	{NuGet, "v1.0", 0, "no number"},
	{NuGet, "1.", 2, "no number"},
	{NuGet, "1 .0", 1, "cannot go on like this"},
	{NuGet, "1.0.0.0.0", 7, "cannot go on like this"},
	{NuGet, " 1.2147483648", 3, "number above 2147483647"},
	{NuGet, "1.0-", 4, "identifier is empty"},
	{NuGet, "1.0-01", 4, "number with leading zeros"},
	{NuGet, "1.0-a.-5", 6, "negative number"},
	{NuGet, "1.*", 2, "no number"},

	{Packagist, "", 0, "no number"},
	{Packagist, "x", 0, "no number"},
	{Packagist, "dev-main", 0, "a branch, which has no place in the order"},
	{Packagist, " DEV-1.0", 1, "a branch, which has no place in the order"},
	{Packagist, "master", 0, "a branch, which has no place in the order"},
	{Packagist, "main-dev", 0, "no number"},
	{Packagist, "1.0.0.0.0", 8, "cannot go on like this"},
	{Packagist, "1.0-test1", 4, "cannot go on like this"},
	{Packagist, "1.0-beta1.", 9, "cannot go on like this"},
	{Packagist, "12345678901234567890123", 0, "cannot go on like this"},
	{Packagist, "1.0+", 3, "cannot go on like this"},
	{Packagist, "1.0+a b", 3, "cannot go on like this"},
	{Packagist, "1.0@dev", 3, "cannot go on like this"},
	{Packagist, "1.0 as 2.0", 3, "cannot go on like this"},
}

// TestNotAVersion holds that what cannot be read has no place in the order.
func TestNotAVersion(t *testing.T) {
	for _, c := range notVersions {
		prefix := []byte("prefix")
		key, err := AppendKey(prefix, c.scheme, c.version)
		var parse *ParseError
		if !errors.As(err, &parse) {
			t.Errorf("%s %q: key %x, error %v", c.scheme, c.version, key, err)
			continue
		}
		if diff := cmp.Diff(&ParseError{c.scheme, c.version, c.offset, c.reason}, parse); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", c.scheme, c.version, diff)
		}
		if fault.KindOf(err) != fault.Invalid || fault.Retryable(err) {
			t.Errorf("%s %q: kind %v", c.scheme, c.version, fault.KindOf(err))
		}
		if string(key) != "prefix" {
			t.Errorf("%s %q: dst came back as %x", c.scheme, c.version, key)
		}
		if key, err := Key(c.scheme, c.version); key != nil || err == nil {
			t.Errorf("%s %q: Key is %x, %v", c.scheme, c.version, key, err)
		}
		valid := goldenVersions[c.scheme][0]
		for _, pair := range [][2]string{{c.version, valid}, {valid, c.version}} {
			if n, err := Compare(c.scheme, pair[0], pair[1]); n != 0 || !errors.As(err, &parse) {
				t.Errorf("%s: Compare(%q, %q) is %d, %v", c.scheme, pair[0], pair[1], n, err)
			}
		}
	}
}
