package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Etcd says how to reach etcd.
type Etcd struct {
	// Endpoints are "host:port" of its members, or URLs; "https://" asks for TLS.
	Endpoints []string
	// TLS, if not nil, encrypts and authenticates the connections.
	TLS *tls.Config
	// User and Password are to log in with; a user may do with read and write permission on the prefix "/trawl". ""
	// means no login: etcd has none, or goes by the certificate.
	User, Password string
}

// secured returns the configuration with TLS where the endpoints ask for it.
func (e Etcd) secured() Etcd {
	for _, endpoint := range e.Endpoints {
		if e.TLS == nil && strings.HasPrefix(endpoint, "https://") {
			e.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	return e
}

// etcdPatience is how long one attempt to reach etcd may take.
const etcdPatience = 5 * time.Second

// client returns a client. Where there is a user it logs in, and so has to reach etcd.
func (e Etcd) client() (*clientv3.Client, error) {
	if len(e.Endpoints) == 0 {
		return nil, fault.Newf(fault.Invalid, "connect to", "etcd", "no endpoints are given")
	}
	if (e.User == "") != (e.Password == "") {
		return nil, fault.Newf(fault.Invalid, "log in to", "etcd", "a login is a user and a password, and one is given")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: e.Endpoints, TLS: named(e.TLS), Username: e.User, Password: e.Password, DialTimeout: etcdPatience, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to etcd at", strings.Join(e.Endpoints, ","), rpctypes.Error(err))
	}
	return client, nil
}

// named returns a configuration that holds servers to the name that config gives, if it does. Etcd's client puts the name of
// the address in its place, so the name is checked here, with all else that package tls checks of a server's chain.
func named(config *tls.Config) *tls.Config {
	if config == nil || config.ServerName == "" {
		return config
	}
	out := config.Clone()
	out.InsecureSkipVerify = true
	out.VerifyConnection = func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{DNSName: config.ServerName, Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}
	return out
}

// askEtcd tells whether etcd answers.
func askEtcd(ctx context.Context, client *clientv3.Client) error {
	if _, err := client.Get(ctx, "/trawl", clientv3.WithCountOnly()); err != nil {
		return fault.New(fault.Unavailable, "ask", "etcd", err)
	}
	return nil
}
