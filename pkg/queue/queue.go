// Package queue provides what Trawl wants of Kafka: its topics, a producer that returns when all is
// acknowledged, and a reader of given partitions that serves the lane for those who wait first.
//
// It moves bytes. What they mean is known to package job, which partition has which owner is known
// to whoever calls [Reader.Assign], and that nothing is lost when all of Kafka is, is up to the store.
//
// # Guarantees
//
// At least once. A record is handed out until its offset, or a later one of its partition, was committed,
// and [Reader.Commit] commits only what lies below the oldest record that is still in hand. Whoever dies in
// between, or a broker that answers too late, causes a record to be seen twice. Exactly once is not to be
// had here: the effect of a job is rows in Postgres, which no Kafka transaction covers. So effects are
// idempotent, addressed by content, and a repetition costs time and changes nothing.
//
// Within a partition of one lane records are handed out in order. Between partitions there is no order.
//
// # No consumer group
//
// A shard must be read by the worker that owns it, with no rebalance that stops the world and no second opinion
// about who owns what. So partitions are assigned by hand, and a group is only the name under which
// offsets are kept. A member of a real group of that name would make commits fail.
package queue

import (
	"crypto/tls"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Connection says how to reach the brokers.
type Connection struct {
	// Brokers are "host:port" of some of the brokers; the others are learned from them. Port 9092
	// where none is given.
	Brokers []string
	// ClientID names this process in the logs and quotas of the brokers. "" means "trawl".
	ClientID string
	// TLS, if not nil, encrypts and authenticates the connections.
	TLS *tls.Config
	// Login, if its Mechanism is not "", is how to log in.
	Login Login
	// Options are added last, for what the fields above do not cover, such as a dialer that needs no socket.
	Options []kgo.Opt
}

// Login is a SASL login.
type Login struct {
	Mechanism string // "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  string
}

// Check returns a [fault.Unsupported] where the mechanism is none of these.
func (l Login) Check() error {
	if l.Mechanism == "" {
		return nil
	}
	_, err := l.mechanism()
	return err
}

func (l Login) mechanism() (sasl.Mechanism, error) {
	switch strings.ToUpper(l.Mechanism) {
	case "PLAIN":
		return plain.Auth{User: l.User, Pass: l.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha512Mechanism(), nil
	}
	return nil, fault.Newf(fault.Unsupported, "log in to", "kafka", "mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", l.Mechanism)
}

// metadataAge is how long a client at least waits before it asks again who leads a partition. Meanwhile it asks the
// former leader in vain, so it should be short; the client's own default is 5 s.
const metadataAge = 500 * time.Millisecond

// options returns the options of a client, with those of its use behind the ones that all share.
func (c Connection) options(more ...kgo.Opt) ([]kgo.Opt, error) {
	id := c.ClientID
	if id == "" {
		id = "trawl"
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(metadataAge),
	}
	if len(c.Brokers) == 0 {
		return nil, fault.Newf(fault.Invalid, "connect to", "kafka", "no brokers are given")
	}
	if c.TLS != nil {
		options = append(options, kgo.DialTLSConfig(c.TLS))
	}
	if c.Login.Mechanism != "" {
		mechanism, err := c.Login.mechanism()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return append(append(options, more...), c.Options...), nil
}

// client returns a client that has connected to nothing yet.
func (c Connection) client(more ...kgo.Opt) (*kgo.Client, error) {
	options, err := c.options(more...)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "configure", "kafka client", err)
	}
	return client, nil
}
