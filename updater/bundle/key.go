package bundle

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The types of PEM blocks, as openssl has them.
const (
	privateType = "PRIVATE KEY"
	publicType  = "PUBLIC KEY"
)

// NewKey returns a new pair of Ed25519 keys as PEM: PKCS #8 (RFC 8410) for the one that signs, SubjectPublicKeyInfo for the
// one that verifies.
func NewKey() (private, public []byte, err error) {
	verify, sign, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(sign)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	private = pem.EncodeToMemory(&pem.Block{Type: privateType, Bytes: encoded})
	if encoded, err = x509.MarshalPKIXPublicKey(verify); err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	return private, pem.EncodeToMemory(&pem.Block{Type: publicType, Bytes: encoded}), nil
}

// ParsePrivateKey reads a key that signs. Errors are faults of kind Invalid.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != privateType {
		return nil, fault.Newf(fault.Invalid, "read key", "", "it is no PEM file with a %s", privateType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key", "", err)
	}
	sign, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fault.Newf(fault.Invalid, "read key", "", "it is no Ed25519 key")
	}
	return sign, nil
}

// ParsePublicKey reads a key that verifies. Errors are faults of kind Invalid.
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != publicType {
		return nil, fault.Newf(fault.Invalid, "read key", "", "it is no PEM file with a %s", publicType)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key", "", err)
	}
	verify, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fault.Newf(fault.Invalid, "read key", "", "it is no Ed25519 key")
	}
	return verify, nil
}
