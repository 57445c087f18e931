package postgres

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// setting is a line of postgresql.conf and its reason, which stands above it in the file.
type setting struct{ name, value, why string }

// settings returns what is set for a server; the rest is as PostgreSQL has it.
func settings(cfg Config) []setting {
	list := []setting{
		{"max_connections", "100", "Every role of the process has a pool of its own."},

		{"shared_buffers", "256MB", "The indexes that every scan touches; the rest is left to the page cache."},
		{"work_mem", "32MB", "Correlation sorts and hashes by the million rows, in few sessions at a time."},
		{"maintenance_work_mem", "256MB", "Building and cleaning GIN indexes."},
		{"dynamic_shared_memory_type", sharedMemory("/dev/shm"), "posix, or mmap where /dev/shm is too small for a parallel hash join, as in most containers."},
		{"random_page_cost", "1.1", "Solid-state disks, or the page cache."},
		{"jit", "off", "Compiling takes longer than our statements run."},

		{"wal_level", "minimal", "Nothing replicates from here, and tables that are filled in the transaction that makes them need no log."},
		{"max_wal_senders", "0", "Asked for by wal_level = minimal."},
		{"synchronous_commit", "on", "What is committed is on disk: it survives kill -9 and power loss."},
		{"checkpoint_timeout", "15min", "Few checkpoints: each makes the next write of every page a full one."},
		{"max_wal_size", "2GB", "A bulk load does not force a checkpoint; it bounds recovery to some seconds."},
		{"min_wal_size", "128MB", "A laptop at rest gets its disk back."},
		{"autovacuum_naptime", "15s", "Rollups and queues turn rows over quickly."},

		{"log_destination", "stderr", "Read by the process that started the server, which keeps the log within bounds."},
		{"logging_collector", "off", ""},
		{"log_min_messages", "warning", ""},
		{"log_min_error_statement", "panic", "Statements hold what they were called with; the roles report their own errors."},
		{"log_checkpoints", "off", ""},
		{"log_line_prefix", "%m [%p] ", ""},
		{"log_timezone", "UTC", ""},

		{"timezone", "UTC", "Times are UTC everywhere."},
		{"datestyle", "ISO, MDY", ""},
		{"lc_messages", "C", "The log is in English, whatever the locale of who starts us."},
		{"default_text_search_config", "pg_catalog.english", ""},
	}
	if cfg.Scratch {
		list = append(list, scratchSettings...)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Settings)) {
		list = append(list, setting{name, cfg.Settings[name], "Asked for by the configuration."})
	}
	return list
}

// arguments returns the settings that are given on the command line, where no file can change them:
// whoever can connect is trusted, so that nobody else must be able to.
func arguments(socketDir string) []string {
	return []string{
		"-c", "listen_addresses=", // no network
		"-c", `unix_socket_directories="` + strings.ReplaceAll(socketDir, `"`, `""`) + `"`, // a list; quotes keep commas and blanks
		"-c", "unix_socket_permissions=0700",
		"-c", "port=" + port, // a part of the socket's name, no more
	}
}

// scratchSettings come after the others and win: the last line of a name counts.
var scratchSettings = []setting{
	{"fsync", "off", "A test's data need not survive a crash of the machine."},
	{"synchronous_commit", "off", ""},
	{"full_page_writes", "off", ""},
	{"shared_buffers", "64MB", ""},
	{"max_connections", "200", "Tests run beside one another, each with a pool."},
	{"autovacuum_naptime", "1min", ""},
}

// sharedMemory returns how backends share memory beyond what is set aside at the start.
func sharedMemory(shm string) string {
	const enoughBytes = 1 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(shm, &st); err == nil && st.Bavail*uint64(st.Bsize) < enoughBytes {
		return "mmap"
	}
	return "posix"
}

// render writes the settings as postgresql.conf has them
// (https://www.postgresql.org/docs/current/config-setting.html).
func render(list []setting) []byte {
	var b bytes.Buffer
	for _, s := range list {
		if s.why != "" {
			fmt.Fprintf(&b, "\n# %s\n", s.why)
		}
		fmt.Fprintf(&b, "%s = '%s'\n", s.name, quoter.Replace(s.value))
	}
	return b.Bytes()
}

// quoter doubles quotes and backslashes, and drops line ends, which no value can hold.
var quoter = strings.NewReplacer(`'`, `''`, `\`, `\\`, "\n", " ", "\r", " ")

// writeSettings replaces the configuration of the cluster in dataDir.
func writeSettings(dataDir string, as account, list []setting) error {
	path := filepath.Join(dataDir, "postgresql.conf")
	local := filepath.Join(filepath.Dir(dataDir), "local.conf")
	content := fmt.Appendf(nil, "# Written at every start. Your own settings go into %s.\n", local)
	content = append(content, render(list)...)
	if _, err := os.Stat(local); err == nil {
		content = fmt.Appendf(content, "\ninclude '%s'\n", quoter.Replace(local))
	}
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	if as.drop {
		if err := os.Chown(next, as.uid, as.gid); err != nil {
			return err
		}
	}
	return os.Rename(next, path)
}
