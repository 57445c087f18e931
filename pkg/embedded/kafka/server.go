// Package kafka provides a Kafka broker inside this process, for a program that otherwise would ask its
// user to install one.
//
// It opens no port and no socket: clients made with [Server.ClientOpts] reach it through memory.
// Topics, records and committed offsets live in a directory, and what was acknowledged survives kill -9
// of the process. Power loss it survives if Config.Sync is set; else the last moments before it may be
// missing, as with Apache Kafka's own defaults.
//
// The directory stays bounded: see [Server.Trim].
//
// The broker is franz-go's kfake, which calls itself a fake for testing; it speaks the protocol in
// full, and the tests here hold it to what is said above. It has one node and no replicas. It cannot be
// reached by other processes, and the directory is for one process at a time (package datadir).
package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// broker is the address of the broker in the network of its server, where nothing else lives.
const (
	brokerPort = 9092
	broker     = "localhost:9092"
)

// segmentBytes is the size from which a file of a partition is closed and the next one begun. What is
// trimmed is given back by whole files, so that a partition takes up to this much more than it holds.
// Each file that is read keeps a descriptor: smaller ones would run into the limit.
const segmentBytes = 256 << 10

// Config says where a server keeps its data. Only Dir is required.
type Config struct {
	// Dir holds everything. Made if missing.
	Dir string
	// Sync forces each batch and each committed offset to disk before it is acknowledged. That costs
	// two flushes for each partition written to: 0.9 seconds instead of 5 milliseconds for a record to
	// each of 256 partitions, on a virtual disk that flushes in 1.5 milliseconds.
	Sync bool
	// PartitionBytes is how much a partition may hold, compressed, before its oldest records go, read
	// or not. Default 16 MiB; negative: no limit.
	PartitionBytes int64
	// TrimEvery is how often [Server.Trim] runs by itself. Default 1 minute; negative: never.
	TrimEvery time.Duration
	// Log takes what the broker has to say from warnings on, a line each. Nil: nobody.
	Log io.Writer
}

func (c Config) withDefaults() Config {
	if c.PartitionBytes == 0 {
		c.PartitionBytes = 16 << 20
	}
	if c.PartitionBytes < 0 {
		c.PartitionBytes = math.MaxInt64
	}
	if c.TrimEvery == 0 {
		c.TrimEvery = time.Minute
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	return c
}

// Server is a running broker. Safe for concurrent use. Whoever started it stops it.
type Server struct {
	config  Config
	network *kfake.VirtualNetwork
	cluster *kfake.Cluster
	admin   *kadm.Client

	stopOnce sync.Once
	stopTrim context.CancelFunc
	trimming sync.WaitGroup
	stopped  chan struct{}
}

// Start starts the broker of cfg.Dir and returns when it serves. Reading the directory after a kill
// takes about half a second for each gigabyte in it, which ctx does not cut short.
//
// Where the content of the directory cannot be understood the error is a fault.Corrupt. It may then be
// removed: Kafka is transport, and the store knows what is unfinished.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap("start kafka in", cfg.Dir, err)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fault.Wrap("start kafka in", cfg.Dir, err)
	}
	cfg.Dir = dir
	s := &Server{config: cfg.withDefaults(), network: &kfake.VirtualNetwork{}, stopped: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "start kafka in", dir, err)
	}
	if s.cluster, err = kfake.NewCluster(s.options()...); err != nil {
		return nil, fault.Wrap("start kafka in", dir, explain(err))
	}
	client, err := kgo.NewClient(s.ClientOpts()...)
	if err != nil {
		s.cluster.Close()
		return nil, fault.Wrap("start kafka in", dir, err)
	}
	s.admin = kadm.NewClient(client)
	trimCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopTrim = cancel
	if s.config.TrimEvery > 0 {
		s.trimming.Go(func() { s.trimForEver(trimCtx) })
	}
	return s, nil
}

// explain tells a directory that cannot be read from one whose content cannot be understood.
func explain(err error) error {
	var cause syscall.Errno
	if errors.As(err, &cause) {
		return fault.New(fault.Unavailable, "open", "the broker's files", err)
	}
	return fault.Newf(fault.Corrupt, "open", "the broker's files", "%w; the directory may be removed: it holds nothing that is not sent again", err)
}

func (s *Server) options() []kfake.Opt {
	options := []kfake.Opt{
		kfake.ClusterID("trawl"),
		kfake.Ports(brokerPort),
		kfake.ListenFn(s.network.Listen),
		kfake.DataDir(s.config.Dir),
		kfake.WithLogger(kfake.BasicLogger(s.config.Log, kfake.LogLevelWarn)),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes": strconv.Itoa(segmentBytes),
			// The broker's own cleaner may empty a partition, and after a restart an empty one begins
			// again at offset 0, below the offsets that its readers have committed. Trim never does,
			// and obeys the same settings.
			"log.cleaner.backoff.ms": strconv.FormatInt((100 * 365 * 24 * time.Hour).Milliseconds(), 10),
		}),
	}
	if s.config.Sync {
		options = append(options, kfake.SyncWrites())
	}
	return options
}

// Brokers returns the addresses of the brokers. They mean something only to clients that dial as those
// made with [Server.ClientOpts] do.
func (s *Server) Brokers() []string { return []string{broker} }

// ClientOpts returns the options that let a client reach the broker: its address, and a dialer that
// opens no socket. Clients are closed by who made them, before the server is stopped.
func (s *Server) ClientOpts() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(broker), kgo.Dialer(s.network.DialContext)}
}

// Stop writes what was not yet written and closes the broker; clients that are still open see it go.
// When ctx ends first, Stop returns its error, and the rest goes on in the background. Stopping twice
// is no error.
func (s *Server) Stop(ctx context.Context) error {
	go s.stopOnce.Do(func() {
		defer close(s.stopped)
		s.stopTrim()
		s.trimming.Wait()
		s.admin.Close()
		s.cluster.Close()
	})
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fault.Wrap("stop kafka in", s.config.Dir, ctx.Err())
	}
}

// trimForEver trims until ctx ends.
func (s *Server) trimForEver(ctx context.Context) {
	tick := time.NewTicker(s.config.TrimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := s.Trim(ctx); err != nil && ctx.Err() == nil {
				_, _ = fmt.Fprintln(s.config.Log, err)
			}
		}
	}
}
