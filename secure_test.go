//go:build linux

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/certtest"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// TestSecureServers runs the whole pipeline on real servers that let nobody in without TLS and credentials, and looks at
// what is said when one of them does not let us in.
func TestSecureServers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: it starts PostgreSQL, etcd and Apache Kafka")
	}
	authority := certtest.NewAuthority(t, t.TempDir())
	stranger := certtest.NewAuthority(t, t.TempDir())
	soon := time.Now().Add(time.Hour)
	serverCert, serverKey := authority.Issue("server", soon)
	cert, key := authority.Issue("root", soon) // the name is etcd's user
	login, certificate := startSecureKafka(t, authority, serverCert, serverKey)
	postgres := startSecurePostgres(t, serverCert, serverKey)
	etcd := startSecureEtcd(t, authority, serverCert, serverKey)

	dir := t.TempDir()
	secretFile := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// settings are flags and their values; each test changes some.
	base := map[string]string{
		"postgres":               postgres + "?sslmode=verify-full&sslrootcert=" + authority.File,
		"postgres-password-file": secretFile("postgres", securePassword),
		"etcd":                   etcd, "etcd-ca": authority.File, "etcd-cert": cert, "etcd-key": key,
		"kafka": login, "kafka-ca": authority.File, "kafka-user": secureUser, "kafka-password-file": secretFile("kafka", kafkaPassword),
		"gossip-key-file": secretFile("gossip", "MDEyMzQ1Njc4OWFiY2RlZg=="),
	}
	with := func(changes map[string]string, command ...string) []string {
		all := map[string]string{}
		for _, m := range []map[string]string{base, changes} {
			for name, value := range m {
				all[name] = value
			}
		}
		args := append(slices.Clone(command), "--data-dir", filepath.Join(dir, "data"))
		for name, value := range all {
			if value != "" {
				args = append(args, "--"+name+"="+value)
			}
		}
		return args
	}
	archive := filepath.Join(dir, "root.tar")
	if err := os.WriteFile(archive, tarOf(t, debianFiles), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name    string
		changes map[string]string
	}{
		{"SCRAM-SHA-512", nil},
		{"SCRAM-SHA-256", map[string]string{"kafka-sasl": "SCRAM-SHA-256"}},
		{"PLAIN", map[string]string{"kafka-sasl": "plain"}},
		{"certificate", map[string]string{
			"kafka": certificate, "kafka-cert": cert, "kafka-key": key, "kafka-user": "", "kafka-password-file": "",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			run(with(c.changes, "scan", "-o", "json", "rootfs:"+archive), strings.NewReader(""), &stdout, &stderr)
			var r report.Report
			if err := json.Unmarshal([]byte(stdout.String()), &r); err != nil || len(r.Packages) != 1 {
				t.Errorf("the report: %v: %s\n%s", err, stdout.String(), stderr.String())
			}
		})
	}

	for _, c := range []struct {
		name    string
		changes map[string]string
		server  string
		says    []string // in this order
	}{
		{"database, another authority", map[string]string{"postgres": postgres + "?sslmode=verify-full&sslrootcert=" + stranger.File},
			"the database", []string{"unknown authority", "sslrootcert=FILE"}},
		{"database, no TLS", map[string]string{"postgres": postgres + "?sslmode=disable"},
			"the database", []string{"no encryption", "sslmode=verify-full"}},
		{"database, wrong password", map[string]string{"postgres-password-file": secretFile("wrong", "wrong")},
			"the database", []string{"password authentication failed", "--postgres-password-file"}},
		{"etcd, another authority", map[string]string{"etcd-ca": stranger.File},
			"etcd", []string{"unknown authority", "--etcd-ca FILE"}},
		{"etcd, no certificate", map[string]string{"etcd-cert": "", "etcd-key": ""},
			"etcd", []string{"certificate", "--etcd-cert FILE and --etcd-key FILE"}},
		{"etcd, no TLS", map[string]string{"etcd-ca": "", "etcd-cert": "", "etcd-key": ""},
			"etcd", []string{"it speaks TLS", "--etcd https://HOST:PORT"}},
		{"etcd, another name", map[string]string{"etcd-server-name": "etcd.example"},
			"etcd", []string{"etcd.example", "--etcd-server-name NAME"}},
		{"Kafka, another authority", map[string]string{"kafka-ca": stranger.File},
			"Kafka", []string{"unknown authority", "--kafka-ca FILE"}},
		{"Kafka, no TLS", map[string]string{"kafka-ca": ""},
			"Kafka", []string{"it speaks TLS", "--kafka-tls"}},
		{"Kafka, wrong password", map[string]string{"kafka-password-file": secretFile("wrong", "wrong")},
			"Kafka", []string{"SASL", "--kafka-password-file"}},
		{"Kafka, no certificate", map[string]string{"kafka": certificate, "kafka-user": "", "kafka-password-file": ""},
			"Kafka", []string{"certificate", "--kafka-cert FILE and --kafka-key FILE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			command := exec.CommandContext(ctx, "trawl", with(c.changes, "notifier", "--introspection=")...)
			var stderr strings.Builder
			command.Stderr = &stderr
			_ = command.Run() // looked at below
			code := command.ProcessState.ExitCode()
			_, said, _ := strings.Cut(stderr.String(), "trawl: ")
			rest, ok := strings.CutPrefix(said, "connect to "+c.server+": ")
			for _, want := range c.says {
				var found bool
				_, rest, found = strings.Cut(rest, want)
				ok = ok && found
			}
			if code != exitError || !ok {
				t.Errorf("exit code %d, want 1 and, about %s, %q; it said\n%s", code, c.server, c.says, stderr.String())
			}
			if strings.Contains(stderr.String(), securePassword) || strings.Contains(stderr.String(), kafkaPassword) {
				t.Error("it told the password")
			}
		})
	}
}
