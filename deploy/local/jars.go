package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// DefaultKafkaVersion is the version of Apache Kafka that runs where none is asked for.
const DefaultKafkaVersion = "4.4.0"

// pinned holds, for versions whose jars were looked at once, what their files must be: kafka-VERSION.sums has a line
// "SHA256  FILE" for each, as sha256sum prints it.
//
//go:embed kafka-*.sums
var pinned embed.FS

// sumsFile is, beside jars in the cache, what they were when they were fetched.
const sumsFile = "SHA256SUMS"

// versionPattern is what a version looks like: it becomes a part of paths and of a project's description.
var versionPattern = regexp.MustCompile(`^4\.[0-9]{1,3}\.[0-9]{1,3}$`)

// jars returns the directory that holds Kafka's jars and those that they need, whole and unchanged. They are fetched
// by Maven where they are not cached; several processes may do so at once.
func (c *Cluster) jars(ctx context.Context) (string, error) {
	version := c.config.KafkaVersion
	if !versionPattern.MatchString(version) {
		return "", fault.Newf(fault.Invalid, "find Kafka", version, "want a version such as %s", DefaultKafkaVersion)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fault.New(fault.Invalid, "find", "the cache directory", err)
	}
	cache = filepath.Join(cache, "trawl")
	dir := filepath.Join(cache, "kafka-"+version)
	problem := checkJars(dir, version)
	if problem == nil {
		return dir, nil
	}
	if !errors.Is(problem, fs.ErrNotExist) {
		c.log.Warn("fetching Kafka again", "directory", dir, "error", problem)
	} else {
		c.log.Info("fetching Kafka", "version", version, "directory", dir)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	fetched, err := fetchJars(ctx, work, version)
	if err != nil {
		return "", fault.Wrap("fetch Kafka", version, err)
	}
	if err := checkJars(fetched, version); err != nil {
		return "", fault.Wrap("fetch Kafka", version, err)
	}
	// What is in the way is either broken or was just fetched by another process.
	if err := os.Rename(fetched, dir); err != nil {
		if checkJars(dir, version) == nil {
			return dir, nil
		}
		if err := errors.Join(os.Rename(dir, filepath.Join(work, "broken")), os.Rename(fetched, dir)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// project asks Maven for the broker and for what its logger needs to be heard. The latter comes first, so that its
// version of Log4j is the one for all.
const project = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>trawl</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version></dependency>
  </dependencies>
</project>
`

// fetchJars has Maven fetch the jars into a directory below work, and notes what they are.
func fetchJars(ctx context.Context, work, version string) (string, error) {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return "", fault.Newf(fault.NotFound, "find", "mvn", "Maven is not installed: apt-get install maven (%w)", err)
	}
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), fmt.Appendf(nil, project, version), 0o644); err != nil {
		return "", err
	}
	dir := filepath.Join(work, "jars")
	cmd := exec.CommandContext(ctx, maven, "--batch-mode", "--quiet", "--strict-checksums",
		"-Dmaven.repo.local="+filepath.Join(work, "repository"), "-DoutputDirectory="+dir, "-DincludeScope=runtime",
		"dependency:copy-dependencies")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "MAVEN_OPTS=-XX:-UsePerfData")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if said, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", fault.Wrap("run", maven, ctx.Err())
		}
		return "", fault.Newf(fault.Unavailable, "run", maven, "%w; it said:\n%s", err, bytes.TrimSpace(said))
	}
	sums, err := sumJars(dir)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, sumsFile), sums, 0o644)
}

// sumJars returns what the jars of a directory are: lines "SHA256  FILE", in order.
func sumJars(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".jar") {
			continue
		}
		file, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, file)
		_ = file.Close()
		if err != nil {
			return nil, err
		}
		out = fmt.Appendf(out, "%s  %s\n", hex.EncodeToString(h.Sum(nil)), entry.Name())
	}
	return out, nil
}

// checkJars holds the jars of a directory against what is pinned for the version, or else against what they were when
// they were fetched.
func checkJars(dir, version string) error {
	noted, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return err
	}
	want := noted
	if text, err := pinned.ReadFile("kafka-" + version + ".sums"); err == nil {
		want = text
	}
	got, err := sumJars(dir)
	if err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	wanted := strings.Split(string(want), "\n")
	for _, line := range strings.Split(string(got), "\n") {
		if !slices.Contains(wanted, line) {
			return fault.Newf(fault.Corrupt, "check", dir, "%q is not one of the jars of Kafka %s", line, version)
		}
	}
	return fault.Newf(fault.Corrupt, "check", dir, "jars of Kafka %s are missing", version)
}
