package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Authority makes a certificate authority, and a certificate for 127.0.0.1 that it signs with its key, as PEM files. They
// are valid for an hour.
func Authority(tb testing.TB) (ca, cert, key string) {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, kind string, der []byte) string {
		return WriteFile(tb, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	caKey, serverKey := newKey(tb), newKey(tb)
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca = write("ca.pem", "CERTIFICATE", sign(tb, 1, root, root, caKey, caKey))
	server := &x509.Certificate{
		Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert = write("cert.pem", "CERTIFICATE", sign(tb, 2, server, root, serverKey, caKey))
	der, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		tb.Fatal(err)
	}
	return ca, cert, write("key.pem", "EC PRIVATE KEY", der)
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, serial int64, template, parent *x509.Certificate, of, signer *ecdsa.PrivateKey) []byte {
	tb.Helper()
	template.SerialNumber = big.NewInt(serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &of.PublicKey, signer)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}
