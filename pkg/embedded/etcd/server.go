// Package etcd provides a cluster of one etcd member inside this process, for a program that otherwise
// would ask its user to install one.
//
// It opens no port and no socket: the client calls the server directly. What was acknowledged is on
// disk, and survives kill -9 and power loss; leases that lived then live on, as after any restart of a
// member, for their full time to live.
//
// It cannot be joined by other members or reached by other processes, and keeps nothing big: its quota
// is 256 MiB. The directory is for one process at a time, and the caller sees to that (package
// datadir).
package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// quotaBytes bounds the database. Leases, elections and shard owners take some hundred kilobytes.
const quotaBytes = 256 << 20

// abandonGrace is how long Start, its context at an end, waits for etcd to begin, so as to stop it.
const abandonGrace = 5 * time.Second

// Config says where a server keeps its data. Only Dir is required.
type Config struct {
	// Dir holds the write-ahead log and the database: 130 MB from the start, which etcd sets
	// aside, and at most half a gigabyte. Made if missing.
	Dir string
	// Log takes what the server has to say from warnings on, a JSON object a line. Nil: nobody.
	Log io.Writer
	// Scratch is for tests: writes are not forced to disk.
	Scratch bool
}

// Server is a running member. Safe for concurrent use. Whoever started it stops it.
type Server struct {
	dir    string
	member *embed.Etcd
	client *clientv3.Client
	fatal  *fatal
	stop   func()
}

// Start starts the server of cfg.Dir and returns when it serves. ctx bounds the start alone. A failed
// start leaves nothing running, unless etcd itself met a condition that it takes for fatal, such as a
// corrupt database, from which it cannot clean up.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fault.Wrap("start etcd in", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, fatal: newFatal()}
	began := make(chan error, 1)
	go func() {
		// Where etcd takes an error for fatal, this goroutine ends before it sends.
		var err error
		s.member, err = embed.StartEtcd(configure(dir, cfg, logger(cfg.Log, s.fatal)))
		began <- err
	}()
	select {
	case err := <-began:
		if err != nil {
			return nil, fault.New(fault.Unavailable, "open", dir, err)
		}
	case <-s.fatal.met:
		return nil, s.fatal.err
	case <-ctx.Done():
		s.abandon(began)
		return nil, fault.Wrap("open", dir, ctx.Err())
	}
	s.stop = sync.OnceFunc(s.member.Close)
	select {
	case <-s.member.Server.ReadyNotify():
		s.client = v3client.New(s.member.Server)
		return s, nil
	case err := <-s.member.Err():
		s.stop()
		return nil, fault.New(fault.Unavailable, "serve", dir, err)
	case <-s.fatal.met:
		return nil, s.fatal.err
	case <-ctx.Done():
		s.stop()
		return nil, fault.Wrap("wait for the server in", dir, ctx.Err())
	}
}

// abandon stops a server that nobody waits for any more as soon as it has begun, which it does within
// milliseconds unless another process keeps it waiting for the database.
func (s *Server) abandon(began <-chan error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case err := <-began:
			if err == nil {
				s.member.Close()
			}
		case <-s.fatal.met:
		}
	}()
	select {
	case <-ended:
	case <-time.After(abandonGrace):
	}
}

// configure returns the configuration of a cluster of one that listens nowhere.
func configure(dir string, cfg Config, log *zap.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Name = "trawl"
	c.Dir = dir

	// A member has addresses, though nobody dials these: with no listener there is nothing behind them.
	nowhere := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false

	// The only voter waits for nobody; it is leader a tenth of a second after the start.
	c.TickMs, c.ElectionMs = 20, 100

	c.QuotaBackendBytes = quotaBytes
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"
	c.BootstrapDefragThresholdMegabytes = 16 // gives freed pages back at the start
	c.SnapshotCount = 5000                   // entries between snapshots, after which the log before them can go
	c.MaxWalFiles, c.MaxSnapFiles = 2, 2
	c.UnsafeNoFsync = cfg.Scratch

	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	return c
}

// Client returns the client of the server. It works as one that came over the network: leases, watches,
// transactions, and the elections and locks of package concurrency. It belongs to the server; do not
// close it.
func (s *Server) Client() *clientv3.Client { return s.client }

// Done is closed when the server has met an error that it cannot go on from, such as a full disk. Then
// [Server.Err] says which.
func (s *Server) Done() <-chan struct{} { return s.fatal.met }

// Err returns nil while the server runs and after it was stopped, and else a fault.Unavailable.
func (s *Server) Err() error {
	select {
	case <-s.fatal.met:
		return fault.Wrap("run etcd in", s.dir, s.fatal.err)
	default:
		return nil
	}
}

// Stop ends the client's requests and the server, and waits until both have; it writes nothing, so that
// it takes some milliseconds. When ctx ends first, Stop returns its error, and the rest goes on in the
// background. Stopping twice is no error.
func (s *Server) Stop(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped) // also where a fatal error ends this goroutine
		_ = s.client.Close()
		s.stop()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fault.Wrap("stop etcd in", s.dir, ctx.Err())
	}
}

// fatal is the first error that etcd took for fatal. It would end the process or panic; in a process
// that holds more than etcd, it ends the goroutine that met it, and whoever started the server is told.
type fatal struct {
	once sync.Once
	met  chan struct{} // closed when there is one
	err  error         // to be read once met is closed
}

func newFatal() *fatal { return &fatal{met: make(chan struct{})} }

// OnWrite is what zap calls in place of os.Exit and of panic.
func (f *fatal) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.once.Do(func() {
		cause := errors.New(entry.Message)
		for _, field := range fields {
			if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
				cause = fmt.Errorf("%s: %w", entry.Message, err)
			}
		}
		f.err = fault.New(fault.Unavailable, "run", "etcd", cause)
		close(f.met)
	})
	runtime.Goexit()
}

// logger returns what etcd logs with.
func logger(to io.Writer, f *fatal) *zap.Logger {
	if to == nil {
		to = io.Discard
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	out := zapcore.Lock(zapcore.AddSync(to))
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), out, zapcore.WarnLevel),
		zap.ErrorOutput(out), zap.WithFatalHook(f), zap.WithPanicHook(f))
}
