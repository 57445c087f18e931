package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Server is one of the servers that a cluster stands on, as people call it.
type Server string

// The servers.
const (
	ServerPostgres Server = "the database"
	ServerKafka    Server = "Kafka"
	ServerEtcd     Server = "etcd"
)

// Problem is why a server and this process do not come together although they reach one another.
type Problem int

// The problems.
const (
	Untrusted        Problem = iota + 1 // nobody whom we trust has signed the server's certificate
	OtherName                           // the server's certificate is for another name
	Expired                             // the server's certificate is not valid now
	SpeaksNoTLS                         // we speak TLS, the server does not
	WantsTLS                            // the server speaks TLS, we do not
	WantsCertificate                    // the server takes no certificate of ours, or we have none
	BadLogin                            // user, password or mechanism are not what the server wants
	NotPermitted                        // who we are may not do what we have to
)

// Refusal is an error that does not pass by waiting: an operator has to change something. It is wrapped by errors of
// kind [fault.Unauthorized].
type Refusal struct {
	Server  Server
	Problem Problem
	Err     error
}

// Error returns what the server, or the library that speaks to it, says.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error of the library.
func (r *Refusal) Unwrap() error { return r.Err }

// Explain makes a [Refusal] of an error of a server's client that is one, and leaves others as they are.
func Explain(server Server, err error) error {
	if problem := problemOf(err); problem != 0 {
		return refuse(server, problem, err)
	}
	return err
}

func refuse(server Server, problem Problem, err error) error {
	return fault.New(fault.Unauthorized, "connect to", string(server), &Refusal{server, problem, err})
}

// logins are the errors of the three clients that say who may come in.
var logins = []struct {
	err     error
	problem Problem
}{
	{kerr.SaslAuthenticationFailed, BadLogin},
	{kerr.UnsupportedSaslMechanism, BadLogin},
	{kerr.IllegalSaslState, BadLogin},
	{kerr.TopicAuthorizationFailed, NotPermitted},
	{kerr.GroupAuthorizationFailed, NotPermitted},
	{kerr.ClusterAuthorizationFailed, NotPermitted},
	{rpctypes.ErrAuthFailed, BadLogin},
	{rpctypes.ErrUserEmpty, BadLogin},
	{rpctypes.ErrAuthNotEnabled, BadLogin},
	{rpctypes.ErrPermissionDenied, NotPermitted},
}

// problemOf returns what an error says of the way to a server, or 0.
func problemOf(err error) Problem {
	for _, l := range logins {
		if errors.Is(err, l.err) {
			return l.problem
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case strings.HasPrefix(pg.Code, "28") && strings.HasSuffix(pg.Message, "no encryption"): // of pg_hba.conf
			return WantsTLS
		case strings.HasPrefix(pg.Code, "28"):
			return BadLogin
		}
		return 0
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return Untrusted
	case errors.As(err, &name):
		return OtherName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	case errors.As(err, &invalid):
		return Untrusted
	case errors.As(err, &header), err != nil && strings.Contains(err.Error(), "server refused TLS connection"): // pgx has no name for it
		return SpeaksNoTLS
	case err != nil && strings.Contains(err.Error(), "remote error: tls: ") && strings.Contains(err.Error(), "certificate"):
		return WantsCertificate // package tls does not export its alerts either
	}
	return 0
}

// probeTimeout is how long each step of a probe may take.
const probeTimeout = 2 * time.Second

// probe finds out whether TLS is why a server that can be reached does not answer: clients that try again by themselves
// say no more than that time was over. It returns cause where that is not so.
func probe(ctx context.Context, server Server, addresses []string, config *tls.Config, cause error) error {
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			address = u.Host
		}
		if problem, err := shakeHands(ctx, address, config); problem != 0 {
			return refuse(server, problem, err)
		}
	}
	return cause
}

// shakeHands makes one connection. It returns the problem that it found, or 0.
func shakeHands(ctx context.Context, address string, config *tls.Config) (Problem, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer plain.Close()
	if config == nil {
		// Whether the server speaks TLS at all is asked; nothing is said that would need to trust it.
		err := tls.Client(plain, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
		if problem := problemOf(err); err == nil || problem == WantsCertificate {
			return WantsTLS, errors.New("it speaks TLS, and this process does not")
		}
		return 0, err
	}
	config = config.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	conn := tls.Client(plain, config)
	err = conn.HandshakeContext(ctx)
	if err == nil {
		// In TLS 1.3 a server that does not take our certificate says so after the handshake.
		_ = conn.SetReadDeadline(time.Now().Add(probeTimeout / 4)) // the connection is open
		_, err = conn.Read(make([]byte, 1))
	}
	if errors.Is(err, io.EOF) && !conn.ConnectionState().HandshakeComplete {
		return SpeaksNoTLS, errors.New("it closed the connection when this process began to speak TLS")
	}
	return problemOf(err), err
}
