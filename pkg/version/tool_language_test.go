package version

import (
	gotool "go/version"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/semver"
)

// The tools of the language ecosystems. What has to be fetched or built for them is kept in the user's
// cache, and is fetched only with -update.

// cached returns the path of a file in the cache, which the commands, run there in turn, make if it is
// missing and -update is given; or skips the test.
func cached(t *testing.T, file string, commands ...[]string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("SKIPPED: no cache: %v", err)
	}
	dir := filepath.Join(cache, "trawl-version-tools")
	file = filepath.Join(dir, filepath.FromSlash(file))
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if !*update {
		t.Skipf("SKIPPED: %s, which this test asks, is not there; -update fetches it", file)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %s: %v %.300s", cmd, err, out)
		}
	}
	return file
}

// toolFile returns the path of a file in testdata/tools.
func toolFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "tools", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func semverTool(t *testing.T) tool {
	return conversation(t, cached(t, "cargo/release/semver-oracle", []string{"cargo", "build", "--quiet", "--release", "--locked",
		"--target-dir", "cargo", "--manifest-path", toolFile(t, "semver/Cargo.toml")}))
}

func npmTool(t *testing.T) tool {
	node := firstLine(t, "node", "-p", "process.execPath")
	return conversation(t, "node", toolFile(t, "npm.js"), filepath.Join(node, "../../lib/node_modules/npm/node_modules/semver"))
}

func pypiTool(t *testing.T) tool { return conversation(t, "python3", toolFile(t, "pypi.py")) }

func gemTool(t *testing.T) tool { return conversation(t, "ruby", toolFile(t, "rubygems.rb")) }

// mavenJar is an artifact of the newest Maven 3.9 when this was written.
const mavenJar = "org/apache/maven/maven-artifact/3.9.11/maven-artifact-3.9.11.jar"

// mavenTool is the ComparableVersion of Maven, with the parts that it needs. It takes all there is.
func mavenTool(t *testing.T) tool {
	jar := cached(t, "m2/"+mavenJar, []string{"mvn", "--quiet", "-Dmaven.repo.local=m2", "dependency:get",
		"-Dartifact=org.apache.maven:maven-artifact:3.9.11", "-Dtransitive=false"})
	program := conversation(t, "java", "-cp", jar, toolFile(t, "Maven.java"))
	program.valid = nil
	return program
}

// nugetTool is the NuGet of an npm package that brings nuget.exe.
func nugetTool(t *testing.T) tool {
	nuget := cached(t, "package/nuget-5.8.0.exe",
		[]string{"npm", "pack", "--silent", "nuget-exe@5.8.0"}, []string{"tar", "-xzf", "nuget-exe-5.8.0.tgz"})
	asker := filepath.Join(t.TempDir(), "asker.exe")
	if out, err := exec.Command("mcs", "-out:"+asker, toolFile(t, "NuGet.cs")).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: mcs, which this test needs, does not run here: %v %.300s", err, out)
	}
	return conversation(t, "mono", asker, nuget)
}

// packagistTool is the composer/semver whose autoload.php TRAWL_TEST_COMPOSER names, or Debian's. Before
// 3.4.3 it read fewer dates.
func packagistTool(t *testing.T) tool {
	autoload := os.Getenv("TRAWL_TEST_COMPOSER")
	if autoload == "" {
		autoload = "/usr/share/php/Composer/Semver/autoload.php"
	}
	program := conversation(t, "php", toolFile(t, "packagist.php"), autoload)
	if !program.valid(t, "2020-01-02-03-4-5") {
		t.Skip("SKIPPED: TRAWL_TEST_COMPOSER does not name the autoload.php of a composer/semver from 3.4.3 on")
	}
	return program
}

// goTool has the libraries of the go command. Neither compares a module's version with a toolchain's.
func goTool(*testing.T) tool {
	isTool := func(s string) bool { return strings.HasPrefix(s, "go") }
	module := func(s string) string { return "v" + strings.TrimPrefix(s, "v") }
	return tool{
		name: "golang.org/x/mod/semver and go/version of " + runtime.Version(),
		order: func(t *testing.T, pairs [][2]string) []string {
			var ops []string
			for _, p := range pairs {
				a, b := p[0], p[1]
				c := 0
				switch {
				case isTool(a) && isTool(b):
					c = gotool.Compare(a, b)
				case isTool(a) || isTool(b):
					t.Errorf("nothing compares %s and %s", a, b)
				default:
					c = semver.Compare(module(a), module(b))
				}
				ops = append(ops, string("<=>"[c+1]))
			}
			return ops
		},
		valid: func(_ *testing.T, s string) bool {
			return isTool(s) && gotool.IsValid(s) || !isTool(s) && semver.IsValid(module(s))
		},
	}
}
