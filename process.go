package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/coordinator"
	"github.com/trawl-scanner/trawl/notifier"
	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/embedded"
	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/embedded/etcd"
	"github.com/trawl-scanner/trawl/pkg/embedded/kafka"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/introspect"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater"
	"github.com/trawl-scanner/trawl/updater/fetch"
	"github.com/trawl-scanner/trawl/worker"
)

// The roles that a process can have.
const (
	roleCoordinator = "coordinator"
	roleWorker      = "worker"
	roleUpdater     = "updater"
	roleNotifier    = "notifier"
	roleAPI         = "api"
)

// process is the program with some roles, and all that they stand on. What is not configured to be elsewhere it
// brings along: servers in or below this process.
type process struct {
	app   *app
	roles []string
	name  string
	log   *slog.Logger

	servers  *embedded.Servers
	cluster  *cluster.Cluster
	meta     membership.Meta // what the other members are told at first
	oci      *oci.Client
	monitor  *queue.Monitor
	tracing  trace.TracerProvider // nil where nobody looks at traces
	registry *prometheus.Registry
	probes   *introspect.Server

	api     *api.API
	updater *updater.Updater
	runs    []func(context.Context) error
	closers []func() error
}

// startProcess brings up what the roles stand on, and makes the roles. local permits targets on this machine. The
// caller runs and closes the process.
func (a *app) startProcess(ctx context.Context, local bool, roles ...string) (_ *process, err error) {
	p := &process{app: a, roles: roles, name: a.name, log: a.logger(), registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.name == "" {
		p.name = processName()
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	p.probes = introspect.New(p.registry)
	config, err := p.credentials()
	if err != nil {
		return nil, err
	}
	if a.introspection != "" && !a.beside {
		if err := p.answerProbes(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.startTracing(ctx); err != nil {
		return nil, err
	}
	if err := p.startServers(ctx); err != nil {
		return nil, err
	}
	if err := p.connect(ctx, config); err != nil {
		return nil, err
	}
	ociConfig, err := p.withBudget(ctx, a.ociConfig(local))
	if err != nil {
		return nil, err
	}
	if p.oci, err = oci.New(ociConfig); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, func() error { p.oci.Close(); return nil })
	for _, role := range roles {
		if err := p.addRole(role, local); err != nil {
			return nil, err
		}
	}
	p.probes.Add(startup, func(context.Context) error { return nil })
	return p, nil
}

// startup is the check that fails until the process has what it stands on.
const startup = "startup"

// answerProbes answers operators and orchestrators from the start: a process that waits for a server lives, and says
// that it is not ready. It goes on until everything else is closed.
func (p *process) answerProbes(ctx context.Context) error {
	listener, err := listen(ctx, p.app.introspection)
	if err != nil {
		return err
	}
	p.probes.Add(startup, func(context.Context) error {
		return errors.New("it is waiting for Postgres, etcd or Kafka, or preparing them")
	})
	p.background(ctx, func(ctx context.Context) error {
		return introspect.Serve(ctx, listener, p.probes.Handler(), time.Second)
	})
	return nil
}

// background runs f, which is there for the roles, until what came after it is closed.
func (p *process) background(ctx context.Context, f func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	p.closers = append(p.closers, func() error {
		stop()
		return <-done
	})
}

// startServers starts what is not configured to be elsewhere.
func (p *process) startServers(ctx context.Context) error {
	a := p.app
	config := embedded.Config{Dir: a.dataDir}
	if a.postgres == "" {
		config.Postgres = &postgres.Config{}
	}
	if len(a.etcd) == 0 {
		config.Etcd = &etcd.Config{}
	}
	if len(a.kafka) == 0 {
		config.Kafka = &kafka.Config{}
	}
	if config.Postgres == nil && config.Etcd == nil && config.Kafka == nil {
		return nil
	}
	servers, err := embedded.Start(ctx, config)
	var owned *datadir.OwnedError
	if errors.As(err, &owned) && !a.beside { // the one that this one takes over from
		a.note("waiting: %s is %v", a.dataDir, owned)
		config.Wait = true
		servers, err = embedded.Start(ctx, config)
	}
	if err != nil {
		return err
	}
	p.servers = servers
	p.closers = append(p.closers, servers.Close)
	p.probes.Add("servers", func(context.Context) error { return servers.Err() })
	p.runs = append(p.runs, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-servers.Failed():
			return servers.Err()
		}
	})
	return nil
}

// commandPatience is how long a command that works by itself waits for servers that do not answer.
const commandPatience = 20 * time.Second

// credentials reads what is configured of the ways to the servers, and of this process among the members.
func (p *process) credentials() (config cluster.Config, err error) {
	a := p.app
	config = cluster.Config{Postgres: a.storeConfig(), Logger: p.log}
	if config.Kafka, err = a.kafkaConnection(p.name); err != nil {
		return config, err
	}
	if config.EtcdServers, err = a.etcdServers(); err != nil {
		return config, err
	}
	key, err := a.memberKey()
	if err != nil {
		return config, err
	}
	capacity := 0
	if slices.Contains(p.roles, roleWorker) {
		capacity = worker.Config{Layers: a.layers}.Capacity()
	}
	p.meta = membership.Meta{Roles: p.roles, Capacity: capacity, Version: version}
	if a.beside { // somebody waits for a result
		config.Patience = commandPatience
	}
	config.Member = membership.Config{Name: p.name, BindAddr: a.gossip, AdvertiseAddr: a.gossipAddress, Key: key, Meta: p.meta}
	return config, nil
}

// connect takes this process's place in the cluster.
func (p *process) connect(ctx context.Context, config cluster.Config) (err error) {
	if p.servers != nil {
		if s := p.servers.Postgres(); s != nil {
			config.Postgres = store.Config{DSN: s.DSN()}
		}
		if s := p.servers.Etcd(); s != nil {
			config.Etcd = s.Client()
		}
		if s := p.servers.Kafka(); s != nil {
			config.Kafka = queue.Connection{Brokers: s.Brokers(), ClientID: p.name, Options: s.ClientOpts()}
		}
	}
	if p.cluster, err = cluster.Open(ctx, config); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { p.cluster.Close(); return nil })
	if p.monitor, err = queue.NewMonitor(config.Kafka); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { p.monitor.Close(); return nil })
	p.probes.Add("postgres", p.cluster.Store.Ping)
	p.probes.Add("etcd", p.cluster.CheckEtcd)
	p.runs = append(p.runs, p.cluster.Run)
	return nil
}

// addRole makes a role of this process.
func (p *process) addRole(role string, local bool) error {
	a, c := p.app, p.cluster
	log := p.log.With("role", role)
	switch role {
	case roleCoordinator:
		r, err := coordinator.New(coordinator.Config{
			ID: p.name, Store: c.Store, OCI: p.oci, Etcd: c.Etcd, Kafka: c.Kafka, Members: c.Members,
			Extractor: extract.Version, Resolving: a.resolving, Logger: log, Metrics: p.registry, Tracing: p.tracing,
		})
		if err != nil {
			return err
		}
		p.runs = append(p.runs, r.Run)
	case roleWorker:
		r, err := worker.New(worker.Config{
			ID: p.name, Store: c.Store, OCI: p.oci, Etcd: c.Etcd, Kafka: c.Kafka,
			Layers: a.layers, Limits: a.layerLimits(), Drain: a.drain, Logger: log, Metrics: p.registry, Tracing: p.tracing,
		})
		if err != nil {
			return err
		}
		p.probes.Add("worker", func(context.Context) error { return r.Healthy() })
		p.runs = append(p.runs, r.Run, func(ctx context.Context) error { return p.tellLoad(ctx, r.Load) })
	case roleUpdater:
		r, err := updater.New(p.updaterConfig(log))
		if err != nil {
			return err
		}
		p.updater = r
		p.runs = append(p.runs, r.Run)
	case roleNotifier:
		p.runs = append(p.runs, notifier.Run)
	case roleAPI:
		return p.addAPI(local, log)
	}
	return nil
}

func (p *process) addAPI(local bool, log *slog.Logger) error {
	a := p.app
	config := api.Config{
		Version: version, Store: p.cluster.Store, Kafka: p.cluster.Kafka, Cluster: p.picture,
		AllowLocal: local, MaxUploadBytes: a.maxUpload, Limits: a.layerLimits(), Logger: log, Metrics: p.registry,
		Tracing: p.tracing,
	}
	if !local {
		config.UploadDir, config.UploadAddress = filepath.Join(a.dataDir, "uploads"), a.uploadAddress
	}
	r, err := api.New(config)
	if err != nil {
		return err
	}
	p.api = r
	p.closers = append(p.closers, func() error { r.Close(); return nil })
	p.runs = append(p.runs, r.Run)
	return nil
}

func (p *process) updaterConfig(log *slog.Logger) updater.Config {
	a := p.app
	return updater.Config{
		Store: p.cluster.Store, Fetch: a.fetcher(), Sources: a.sources, Cadence: a.cadence, Logger: log, Metrics: p.registry,
		Lock: func(ctx context.Context, source string) (context.Context, func(), error) {
			held, unlock, err := p.cluster.TryLock(ctx, "source/"+source)
			if fault.KindOf(err) == fault.Conflict {
				err = fmt.Errorf("%w: %w", updater.ErrBusy, err)
			}
			return held, unlock, err
		},
	}
}

// run runs the roles until ctx is done, and then lets them finish what they have in hand.
func (p *process) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range p.runs {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// serveOn serves a handler on a listener, which it closes, while the process runs.
func (p *process) serveOn(listener net.Listener, handler http.Handler) {
	p.closers = append(p.closers, func() error {
		_ = listener.Close() // the server may have closed it
		return nil
	})
	p.runs = append(p.runs, func(ctx context.Context) error { return introspect.Serve(ctx, listener, handler, grace) })
}

// grace is how long requests may take after the process was told to stop.
const grace = 10 * time.Second

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on", address, err)
	}
	return listener, nil
}

// reachable returns an address at which a listener can be reached from this machine.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// close closes what was opened, the last first.
func (p *process) close() error {
	var failed []error
	for _, closer := range slices.Backward(p.closers) {
		failed = append(failed, closer())
	}
	p.closers = nil
	return errors.Join(failed...)
}

// processName makes a name that no other process of the cluster has.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "trawl"
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	return host + "-" + hex.EncodeToString(random)
}

// logger logs to stderr: text for people, JSON for programs. Beside the results of a command only what goes wrong is
// logged unless more is asked for.
func (a *app) logger() *slog.Logger {
	level := slog.LevelInfo
	switch {
	case a.quiet:
		level = slog.LevelError
	case a.beside && a.verbose == 0:
		level = slog.LevelWarn
	case a.verbose > 1 || (a.verbose == 1 && !a.beside):
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if a.logFormat == "json" || (a.logFormat == "" && !a.interactive && !a.beside) {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}

// outcomeLogger is the logger of what tells a command by its results what went wrong, which the command tells a person.
func (a *app) outcomeLogger() *slog.Logger {
	if a.isVerbose() {
		return a.logger()
	}
	return slog.New(slog.DiscardHandler)
}

func (a *app) fetcher() *fetch.Fetcher {
	return fetch.New(fetch.Config{Mirror: a.mirror, UserAgent: "trawl/" + version})
}

func (a *app) layerLimits() limits.Limits {
	return limits.Limits{
		CompressedBytes: a.maxLayerBytes, InflatedBytes: a.maxInflatedBytes, Ratio: a.maxRatio, Entries: a.maxEntries,
		ParsedFileBytes: a.maxParsedBytes, LayerTime: a.layerTimeout,
	}
}

// buildInfo is the metric that tells the version.
func buildInfo() prometheus.Collector {
	v := versionInfo()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trawl_build_info", Help: "Always 1; the labels tell what this process is.",
		ConstLabels: prometheus.Labels{"version": v.Version, "gzip": v.Gzip, "go": v.Go},
	}, func() float64 { return 1 })
}
