package main

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// How the servers are reached, and what proves to them who this process is.

// access is what the settings say of one server.
type access struct {
	cluster.TLS
	user         string
	password     secret
	passwordFile string
}

// connectionSettings are those of all servers.
type connectionSettings struct {
	postgres             string
	postgresPasswordFile string

	etcd       []string
	etcdAccess access

	kafka       []string
	kafkaAccess access
	kafkaLogin  string

	gossip        string
	gossipAddress string
	gossipKey     secret
	gossipKeyFile string
}

// postgresFlags are those of the commands that work with the database.
func (s *connectionSettings) postgresFlags(f *pflag.FlagSet) {
	f.StringVar(&s.postgres, "postgres", "", "`address` of the database: a DSN or URL, TLS by sslmode, sslrootcert, sslcert and sslkey; default a private one below the data directory")
	f.StringVar(&s.postgresPasswordFile, "postgres-password-file", "", "`file` with the database's password, read for each connection; default PGPASSWORD, then what PGPASSFILE says")
}

// connectionFlags are those of the commands that run roles.
func (s *connectionSettings) connectionFlags(f *pflag.FlagSet) {
	s.postgresFlags(f)
	f.StringSliceVar(&s.etcd, "etcd", nil, "`addresses` of etcd, https://HOST:PORT for TLS; default one in this process")
	s.etcdAccess.flags(f, "etcd")
	f.StringSliceVar(&s.kafka, "kafka", nil, "`addresses` of Kafka brokers; default one in this process")
	f.BoolVar(&s.kafkaAccess.On, "kafka-tls", false, "speak TLS to Kafka, with the authorities of this system; the other TLS flags imply it")
	s.kafkaAccess.flags(f, "kafka")
	f.StringVar(&s.kafkaLogin, "kafka-sasl", "", "`mechanism` of the login to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; default SCRAM-SHA-512 where there is a user")
	f.StringVar(&s.gossip, "gossip", "127.0.0.1:0", "`address` to listen on for the other members; port 0 takes any")
	f.StringVar(&s.gossipAddress, "gossip-address", "", "`address` at which the other members reach this one; default as it listens")
	f.Var(&s.gossipKey, "gossip-key", "`key` that encrypts what members say, base64 of 16, 24 or 32 bytes; as TRAWL_GOSSIP_KEY or in the YAML file alone")
	f.StringVar(&s.gossipKeyFile, "gossip-key-file", "", "`file` with that key, as openssl rand -base64 32 makes one")
}

// flags adds what each server has.
func (a *access) flags(f *pflag.FlagSet, server string) {
	f.StringVar(&a.CAFile, server+"-ca", "", "PEM `file` of the authorities that sign the certificates of "+server+"; default those of this system")
	f.StringVar(&a.CertFile, server+"-cert", "", "PEM `file` of the certificate to show to "+server)
	f.StringVar(&a.KeyFile, server+"-key", "", "PEM `file` of the key of that certificate")
	f.StringVar(&a.ServerName, server+"-server-name", "", "`name` that the certificate of "+server+" must have; default that of the address")
	f.StringVar(&a.user, server+"-user", "", "`user` to log in to "+server+" as")
	f.Var(&a.password, server+"-password", "`password` of that user; as "+envName(server+"-password")+" or in the YAML file alone")
	f.StringVar(&a.passwordFile, server+"-password-file", "", "`file` with the password of that user")
}

func (s *connectionSettings) storeConfig() store.Config {
	return store.Config{DSN: s.postgres, PasswordFile: s.postgresPasswordFile}
}

func (s *connectionSettings) etcdServers() (out cluster.Etcd, err error) {
	out = cluster.Etcd{Endpoints: s.etcd, User: s.etcdAccess.user}
	if out.TLS, err = s.etcdAccess.Config(); err != nil {
		return out, usageError(err)
	}
	if out.Password, err = s.etcdAccess.password.read(s.etcdAccess.passwordFile); err != nil {
		return out, err
	}
	if (out.User == "") != (out.Password == "") {
		return out, usageError(errors.New("a login to etcd is --etcd-user and a password, --etcd-password-file or TRAWL_ETCD_PASSWORD; one of the two is missing"))
	}
	return out, nil
}

func (s *connectionSettings) kafkaConnection(client string) (out queue.Connection, err error) {
	out = queue.Connection{Brokers: s.kafka, ClientID: client}
	if out.TLS, err = s.kafkaAccess.Config(); err != nil {
		return out, usageError(err)
	}
	out.Login = queue.Login{Mechanism: s.kafkaLogin, User: s.kafkaAccess.user}
	if out.Login.Password, err = s.kafkaAccess.password.read(s.kafkaAccess.passwordFile); err != nil {
		return out, err
	}
	if (out.Login.User == "") != (out.Login.Password == "") || (out.Login.User == "" && out.Login.Mechanism != "") {
		return out, usageError(errors.New("a login to Kafka is --kafka-user and a password, --kafka-password-file or TRAWL_KAFKA_PASSWORD; one of the two is missing"))
	}
	if out.Login.User != "" && out.Login.Mechanism == "" {
		out.Login.Mechanism = "SCRAM-SHA-512"
	}
	if err := out.Login.Check(); err != nil {
		return out, usageError(err)
	}
	return out, nil
}

// memberKey returns the key of the gossip, or nil where it is not encrypted.
func (s *connectionSettings) memberKey() ([]byte, error) {
	text, err := s.gossipKey.read(s.gossipKeyFile)
	if err != nil || text == "" {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, usageError(fmt.Errorf("gossip key: %w", err))
	}
	if n := len(key); n != 16 && n != 24 && n != 32 {
		return nil, usageError(fmt.Errorf("gossip key: %d bytes in base64: want 16, 24 or 32", n))
	}
	return key, nil
}

// refusalHints say what to do about a server that refuses this process.
var refusalHints = map[cluster.Server]map[cluster.Problem]string{
	cluster.ServerPostgres: {
		cluster.Untrusted:        "Name the authority that signed the database's certificate: sslrootcert=FILE in --postgres.",
		cluster.OtherName:        "The database's certificate is for another name: use an address that it names, or sslmode=verify-ca in --postgres.",
		cluster.Expired:          "The database's certificate is not valid now: renew it, or set this machine's clock.",
		cluster.SpeaksNoTLS:      "The database speaks no TLS: turn on ssl in postgresql.conf, or take sslmode out of --postgres.",
		cluster.WantsTLS:         "The database lets nobody in without TLS: sslmode=verify-full in --postgres, with sslrootcert=FILE for an authority of your own.",
		cluster.WantsCertificate: "The database wants a certificate: sslcert=FILE and sslkey=FILE in --postgres.",
		cluster.BadLogin:         "Check user and password of the database: --postgres, --postgres-password-file, PGPASSFILE; and its pg_hba.conf.",
	},
	cluster.ServerEtcd: {
		cluster.Untrusted:        "Name the authority that signed etcd's certificate: --etcd-ca FILE.",
		cluster.OtherName:        "Etcd's certificate is for another name: use an address that it names, or --etcd-server-name NAME.",
		cluster.Expired:          "Etcd's certificate is not valid now: renew it, or set this machine's clock.",
		cluster.SpeaksNoTLS:      "Etcd speaks no TLS at this address: use http:// and none of the --etcd-ca, --etcd-cert flags, or another port.",
		cluster.WantsTLS:         "Etcd speaks TLS at this address: --etcd https://HOST:PORT, with --etcd-ca FILE for an authority of your own.",
		cluster.WantsCertificate: "Etcd wants a certificate from an authority that it trusts: --etcd-cert FILE and --etcd-key FILE.",
		cluster.BadLogin:         "Check the login to etcd: --etcd-user, and --etcd-password-file or TRAWL_ETCD_PASSWORD.",
		cluster.NotPermitted:     "The user needs read and write permission on the prefix /trawl: etcdctl role grant-permission ROLE readwrite --prefix /trawl",
	},
	cluster.ServerKafka: {
		cluster.Untrusted:        "Name the authority that signed the brokers' certificates: --kafka-ca FILE.",
		cluster.OtherName:        "The broker's certificate is for another name: use an address that it names, or --kafka-server-name NAME.",
		cluster.Expired:          "The broker's certificate is not valid now: renew it, or set this machine's clock.",
		cluster.SpeaksNoTLS:      "The broker speaks no TLS at this address: use the port of its SSL or SASL_SSL listener, or leave out the --kafka-tls, --kafka-ca and --kafka-cert flags.",
		cluster.WantsTLS:         "The broker speaks TLS at this address: --kafka-tls, or --kafka-ca FILE for an authority of your own.",
		cluster.WantsCertificate: "The broker wants a certificate from an authority that it trusts: --kafka-cert FILE and --kafka-key FILE.",
		cluster.BadLogin:         "Check the login to Kafka: --kafka-sasl, --kafka-user, and --kafka-password-file or TRAWL_KAFKA_PASSWORD.",
		cluster.NotPermitted:     "The user needs rights on topics named trawl.* (create, describe, read, write) and on groups named trawl-* (read): kafka-acls.sh --add --resource-pattern-type prefixed …",
	},
}

// refusalHint says what to do about an error that wraps a [cluster.Refusal], or nothing.
func refusalHint(err error) string {
	var refusal *cluster.Refusal
	if !errors.As(err, &refusal) {
		return ""
	}
	return refusalHints[refusal.Server][refusal.Problem]
}
