package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TLS says how connections to a server are encrypted, and what proves who is at their ends. Its zero value is a
// connection in the clear.
type TLS struct {
	// On asks for TLS. A file below asks for it too.
	On bool
	// CAFile holds the authorities that the server's certificate is checked against, in PEM. "" means those of the system.
	CAFile string
	// CertFile and KeyFile hold a certificate of this process and its key, in PEM. They are read again for each connection,
	// so that a certificate that is renewed counts without a restart. "" means none.
	CertFile, KeyFile string
	// ServerName is the name that the server's certificate must have. "" means that of the address.
	ServerName string
}

// IsOn reports whether connections are encrypted.
func (t TLS) IsOn() bool {
	return t.On || t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != ""
}

// Config returns the configuration for package tls, or nil where connections are in the clear. Its error, of kind
// [fault.Invalid], names the file that cannot be used.
func (t TLS) Config() (*tls.Config, error) {
	if !t.IsOn() {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read authorities", t.CAFile, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fault.Newf(fault.Invalid, "read authorities", t.CAFile, "it holds no certificate in PEM")
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return config, nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, fault.Newf(fault.Invalid, "read certificate", t.CertFile+t.KeyFile, "a certificate and its key are two files, and one is given")
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return nil, fault.New(fault.Invalid, "read certificate", t.CertFile, err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read certificate", t.CertFile, err)
		}
		return &pair, nil
	}
	return config, nil
}
