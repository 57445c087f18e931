//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/deploy/local"
	"github.com/trawl-scanner/trawl/pkg/certtest"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
)

// Real servers that let nobody in without TLS and credentials, as the tests of connections want them. They say what they
// have to say to the log of the test.

// The user that all servers know, and the password.
const (
	secureUser     = "trawl"
	securePassword = "p4ss, with 'quotes'"
)

// startServer starts a program, which ends with the test, and waits until something listens on the address.
func startServer(t *testing.T, as *syscall.Credential, dir, address, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=arm64")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // whose end would end the server too, see PR_SET_PDEATHSIG(2const)
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.String())
		}
	})
	clustertest.Eventually(t, program+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// secureDir returns a directory that any user may enter.
func secureDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := letPass(filepath.Join(dir, "x")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startSecurePostgres starts a database with TLS that asks for a password, and returns its address without one.
func startSecurePostgres(t *testing.T, certFile, keyFile string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Skip("SKIPPED: no server of PostgreSQL below /usr/lib/postgresql (apt-get install postgresql)")
	}
	bin, dir, address := filepath.Dir(found[len(found)-1]), secureDir(t), freeAddress(t)
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Skipf("SKIPPED: the server of PostgreSQL does not run as root, and there is nobody else: %v", err)
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	put := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if as != nil {
			if err := os.Chown(file, int(as.Uid), int(as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", secureUser, "--pwfile", put("password", securePassword),
		"--auth", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale", "C")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if said, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, said)
	}
	hba := put("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n")
	host, port, _ := net.SplitHostPort(address)
	startServer(t, as, dir, address, filepath.Join(bin, "postgres"), "-D", data, "-h", host, "-p", port,
		"-c", "ssl=on", "-c", "ssl_cert_file="+put("cert.pem", read(t, certFile)), "-c", "ssl_key_file="+put("key.pem", read(t, keyFile)),
		"-c", "hba_file="+hba, "-c", "unix_socket_directories=", "-c", "fsync=off")
	return "postgres://" + secureUser + "@" + address + "/postgres"
}

// startSecureEtcd starts an etcd that wants a certificate of the authority, and returns its address.
func startSecureEtcd(t *testing.T, authority *certtest.Authority, certFile, keyFile string) string {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Skipf("SKIPPED: no etcd on PATH (apt-get install etcd-server): %v", err)
	}
	address, peer := freeAddress(t), freeAddress(t)
	startServer(t, nil, secureDir(t), address, program, "--name", "secure", "--data-dir", t.TempDir(),
		"--listen-client-urls", "https://"+address, "--advertise-client-urls", "https://"+address,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer, "--initial-cluster", "secure=http://"+peer,
		"--client-cert-auth", "--trusted-ca-file", authority.File, "--cert-file", certFile, "--key-file", keyFile,
		"--log-level", "error")
	return address
}

// kafkaSecure are the settings of a broker with two listeners for clients: one that wants a login, by SCRAM or PLAIN, over
// TLS, and one that wants a certificate. Each field is used once: directory, SASL_SSL, SSL, inner listener, controller,
// certificate chain with key, authority, PLAIN's users.
const kafkaSecure = `process.roles=broker,controller
node.id=1
log.dirs=%[1]s/data
controller.quorum.voters=1@%[5]s
listeners=SASL_SSL://%[2]s,SSL://%[3]s,INNER://%[4]s,CONTROLLER://%[5]s
advertised.listeners=SASL_SSL://%[2]s,SSL://%[3]s,INNER://%[4]s
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=INNER
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_trawl="%[8]s";
ssl.keystore.type=PEM
ssl.keystore.location=%[6]s
ssl.truststore.type=PEM
ssl.truststore.location=%[7]s
listener.name.ssl.ssl.client.auth=required
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
`

// kafkaPassword is [securePassword] for Kafka, whose tools know no quotes.
const kafkaPassword = "p4ssword"

// startSecureKafka starts a broker, and returns the address that wants a login, and the one that wants a certificate.
func startSecureKafka(t *testing.T, authority *certtest.Authority, certFile, keyFile string) (login, certificate string) {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skipf("SKIPPED, and with it all that Kafka's TLS and SASL are tested by: Java is not installed (apt-get install default-jre-headless): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	jars, err := local.Jars(ctx, "", nil)
	if err != nil {
		t.Skipf("SKIPPED, and with it all that Kafka's TLS and SASL are tested by: no jars of Kafka: %v", err)
	}
	dir := secureDir(t)
	login, certificate = freeAddress(t), freeAddress(t)
	keystore := filepath.Join(dir, "keystore.pem")
	files := map[string]string{
		keystore: read(t, keyFile) + read(t, certFile),
		filepath.Join(dir, "server.properties"): fmt.Sprintf(kafkaSecure, dir, login, certificate, freeAddress(t), freeAddress(t),
			keystore, authority.File, kafkaPassword),
		filepath.Join(dir, "log4j2.xml"): `<Configuration><Appenders><Console name="out"/></Appenders><Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>`,
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx384m", "-XX:-UsePerfData", "-Djava.io.tmpdir=" + dir,
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.xml"), "-cp", filepath.Join(jars, "*"),
	}
	format := exec.CommandContext(ctx, java, append(args[:len(args):len(args)], "kafka.tools.StorageTool", "format",
		"--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config", filepath.Join(dir, "server.properties"),
		"--add-scram", "SCRAM-SHA-512=[name="+secureUser+",password="+kafkaPassword+"]",
		"--add-scram", "SCRAM-SHA-256=[name="+secureUser+",password="+kafkaPassword+"]")...)
	if said, err := format.CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, said)
	}
	startServer(t, nil, dir, login, java, append(args, "kafka.Kafka", filepath.Join(dir, "server.properties"))...)
	return login, certificate
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
