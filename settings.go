package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Every setting is a flag, a variable and a key: --data-dir, TRAWL_DATA_DIR and "data-dir:" in the YAML file.
// A flag wins over a variable, a variable over the file. The flags of all commands together are the schema of
// the file: a key that is no flag of any command is an error. Secrets are refused as flags.

// settings are what flags, variables and the file say.
type settings struct {
	config  string
	dataDir string
	server  string
	mirror  string
	output  string
	failOn  string
	quiet   bool
	verbose int

	connectionSettings
	name          string
	introspection string
	logFormat     string
	traceEndpoint string

	listen        string
	uploadAddress string
	maxUpload     int64

	layers    int
	drain     time.Duration
	resolving int

	sources []string
	cadence time.Duration

	registryMirrors []string
	registryRates   []string
	registrySlots   []string
	plainHTTP       []string
	registryCA      []string
	denyPrivate     bool
	denyLoopback    bool

	maxLayerBytes    int64
	maxInflatedBytes int64
	maxEntries       int64
	maxParsedBytes   int64
	maxRatio         int64
	layerTimeout     time.Duration
}

// sharedFlags are those of every command.
func (s *settings) sharedFlags(f *pflag.FlagSet) {
	f.StringVar(&s.config, "config", "", "YAML `file` with settings; default trawl.yaml in the working directory, then /etc/trawl/trawl.yaml")
	f.StringVar(&s.dataDir, "data-dir", defaultDataDir(), "`directory` for everything that is kept")
	f.StringVar(&s.server, "server", "", "`address` of a server to ask, instead of working in this process")
	f.StringVar(&s.mirror, "mirror", "", "`directory` or URL of a mirror to read advisories from")
	f.StringVarP(&s.output, "output", "o", "table", "`format` of results: table or json")
	f.StringVar(&s.failOn, "fail-on", "", "exit with 2 when a finding has this `severity` or a worse one")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "print results only")
	f.CountVarP(&s.verbose, "verbose", "v", "say more; twice for everything")
}

// processFlags are those of the commands that run roles.
func (s *settings) processFlags(f *pflag.FlagSet) {
	f.StringVar(&s.name, "name", "", "unique `name` of this process in the cluster; default made of host name and process")
	s.connectionFlags(f)
	f.StringVar(&s.traceEndpoint, "trace-endpoint", "", "`URL` of an OpenTelemetry collector to send traces to by OTLP over HTTP; default OTEL_EXPORTER_OTLP_ENDPOINT, else no traces")
	f.StringVar(&s.logFormat, "log-format", "", "`format` of the log: text or json; default text for people, json where stderr of a server is no terminal")
}

// servingFlags are those of the commands that run until they are told to stop.
func (s *settings) servingFlags(f *pflag.FlagSet) {
	s.processFlags(f)
	f.StringVar(&s.introspection, "introspection", "127.0.0.1:8089", "`address` for health, metrics and profiles; empty for none")
}

// apiFlags are those of the commands that serve the API.
func (s *settings) apiFlags(f *pflag.FlagSet) {
	f.StringVar(&s.listen, "listen", "127.0.0.1:6060", "`address` to serve the API on")
	f.StringVar(&s.uploadAddress, "upload-address", "", "`address` at which the other roles reach this API to read uploads; default as it listens")
	f.Int64Var(&s.maxUpload, "max-upload-bytes", 16<<30, "largest archive that is taken, in bytes")
}

// coordinatorFlags are those of the commands that run a coordinator.
func (s *settings) coordinatorFlags(f *pflag.FlagSet) {
	f.IntVar(&s.resolving, "resolving", 128, "submissions resolved at once")
}

// workerFlags are those of the commands that analyze layers.
func (s *settings) workerFlags(f *pflag.FlagSet) {
	f.IntVar(&s.layers, "layers", 8, "layers analyzed at once")
	f.DurationVar(&s.drain, "drain", 30*time.Second, "how long work in hand may take after the process is told to stop")
	f.Int64Var(&s.maxLayerBytes, "max-layer-bytes", 0, "largest layer as transferred, in bytes; 0 means 16 GiB, -1 no limit")
	f.Int64Var(&s.maxInflatedBytes, "max-inflated-bytes", 0, "largest layer inflated, in bytes; 0 means 64 GiB, -1 no limit")
	f.Int64Var(&s.maxEntries, "max-entries", 0, "most files in a layer; 0 means 5 million, -1 no limit")
	f.Int64Var(&s.maxParsedBytes, "max-parsed-bytes", 0, "largest package database, in bytes; 0 means 512 MiB, -1 no limit")
	f.Int64Var(&s.maxRatio, "max-ratio", 0, "most inflated bytes for a byte transferred; 0 means 400, -1 no limit")
	f.DurationVar(&s.layerTimeout, "layer-timeout", 0, "longest time for one layer; 0 means 30 minutes, negative no limit")
}

// updaterFlags are those of the commands that read advisories all the time.
func (s *settings) updaterFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&s.sources, "sources", nil, "`names` of the sources to read; default all")
	f.DurationVar(&s.cadence, "cadence", 0, "how often each source is looked at; default as the source suggests")
}

// registryFlags are those of the commands that speak to registries.
func (s *settings) registryFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.registryMirrors, "registry-mirror", nil, "`HOST=MIRROR` to ask before the registry HOST, or HOST=MIRROR,MIRROR; may be repeated")
	f.StringArrayVar(&s.registryRates, "registry-rate", nil, "`HOST=N`: all processes together make N requests of a kind (manifest, blob, token) a second to the registry HOST with one credential; may be repeated; default as many as it takes")
	f.StringArrayVar(&s.registrySlots, "registry-concurrency", nil, "`HOST=N`: all processes together have N requests under way to the registry HOST at once, 0 for as many as they like; may be repeated; default 128, and no limit for this machine")
	f.StringSliceVar(&s.plainHTTP, "plain-http", nil, "`hosts` of registries to speak to without TLS")
	f.StringSliceVar(&s.registryCA, "registry-ca", nil, "PEM `files` of certificate authorities to trust for registries")
	f.BoolVar(&s.denyPrivate, "deny-private", false, "refuse registries at private addresses")
	f.BoolVar(&s.denyLoopback, "deny-loopback", false, "refuse registries on this machine")
}

// defaultDataDir returns where data is kept. Root's home cannot be entered by the user that Postgres runs as,
// so root has a place of its own.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/trawl"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "trawl")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "trawl-data"
	}
	return filepath.Join(home, ".local", "share", "trawl")
}

// envName is the variable of a flag.
func envName(flag string) string {
	return "TRAWL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// load gives the command's flags that were not set the values of variables and the file.
func (s *settings) load(command *cobra.Command) error {
	file, err := readSettings(s.configFile(command))
	if err != nil {
		return err
	}
	if err := knownKeys(command.Root(), file); err != nil {
		return err
	}
	var failed error
	command.Flags().VisitAll(func(f *pflag.Flag) {
		if value, ok := f.Value.(*secret); ok {
			value.open = true
			defer func() { value.open = false }()
		}
		if f.Changed || failed != nil {
			return
		}
		if value := os.Getenv(envName(f.Name)); value != "" { // an empty variable says nothing, as in a shell
			if err := command.Flags().Set(f.Name, value); err != nil {
				failed = usageError(fmt.Errorf("%s: %w", envName(f.Name), err))
			}
			return
		}
		if value := file.values[f.Name]; value != nil { // a key without a value says nothing
			if err := setFromFile(command.Flags(), f, value); err != nil {
				failed = usageError(fmt.Errorf("%s: %s: %w", file.name, f.Name, err))
			}
		}
	})
	return failed
}

// setFromFile sets a flag from a value of the file; a list sets a flag that takes several.
func setFromFile(flags *pflag.FlagSet, f *pflag.Flag, value any) error {
	list, isList := value.([]any)
	if _, isMap := value.(map[string]any); isMap {
		return errors.New("takes a value or a list, not a map")
	}
	if !isList {
		return flags.Set(f.Name, fmt.Sprint(value))
	}
	slice, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return errors.New("takes one value, not a list")
	}
	var items []string
	for _, item := range list {
		items = append(items, fmt.Sprint(item))
	}
	return slice.Replace(items)
}

// settingsFile is a parsed file.
type settingsFile struct {
	name   string
	values map[string]any
}

// configFile returns the file to read, and whether it must be there.
func (s *settings) configFile(command *cobra.Command) (name string, must bool) {
	if value := os.Getenv(envName("config")); value != "" && !command.Flags().Changed("config") {
		s.config = value
	}
	if s.config != "" {
		return s.config, true
	}
	for _, name := range []string{"trawl.yaml", "/etc/trawl/trawl.yaml"} {
		if _, err := os.Stat(name); err == nil {
			return name, false
		}
	}
	return "", false
}

func readSettings(name string, must bool) (settingsFile, error) {
	file := settingsFile{name: name}
	if name == "" {
		return file, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return file, nil
	}
	if err != nil {
		return file, usageError(fault.New(fault.Invalid, "read settings", name, cause(err)))
	}
	if err := yaml.Unmarshal(text, &file.values); err != nil {
		return file, usageError(fmt.Errorf("read settings %s: %w", name, err))
	}
	return file, nil
}

// knownKeys reports keys of the file that are no flag of any command.
func knownKeys(root *cobra.Command, file settingsFile) error {
	known := make(map[string]bool)
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(root)
	for _, name := range []string{"config", "help", "version"} { // these make sense on the command line alone
		delete(known, name)
	}
	var odd []string
	for key := range file.values {
		if !known[key] {
			odd = append(odd, key)
		}
	}
	if len(odd) == 0 {
		return nil
	}
	slices.Sort(odd)
	return usageError(fmt.Errorf("%s: no such setting: %s", file.name, strings.Join(odd, ", ")))
}

// cause returns what is wrong with a file without saying again which one it is.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkMirrors reports mirrors that cannot be meant: of advisories one that is not there, of registries one that
// names none.
func (s *settings) checkMirrors() error {
	if s.mirror != "" && !strings.Contains(s.mirror, "://") {
		info, err := os.Stat(s.mirror)
		if err != nil {
			return fmt.Errorf("mirror %s: %w", s.mirror, cause(err))
		}
		if !info.IsDir() {
			return fmt.Errorf("mirror %s: not a directory", s.mirror)
		}
	}
	for _, entry := range s.registryMirrors {
		if host, mirrors, ok := strings.Cut(entry, "="); !ok || host == "" || mirrors == "" {
			return fmt.Errorf("registry mirror %q: want HOST=MIRROR or HOST=MIRROR,MIRROR", entry)
		}
	}
	return nil
}
