package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// settledError marks trouble that asking again at once does not change, whatever its kind: a name
// that does not exist, a certificate that is not trusted.
type settledError struct{ error }

func (e *settledError) Unwrap() error { return e.error }

// explain makes an error of what went wrong on the way to u: its kind, and words that help.
// The chain keeps the cause for errors.Is; the text has nothing of u but its host.
func explain(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.KindOf(context.Cause(ctx)), u.Host, "", context.Cause(ctx))
	}
	var refused *refusedError
	if errors.As(err, &refused) {
		return fault.New(fault.Invalid, u.Host, "", refused)
	}
	text, settled := diagnose(u, err)
	cause := error(&explainedError{text: text, cause: err})
	if settled {
		cause = &settledError{cause}
	}
	return fault.New(fault.Unavailable, u.Host, "", cause)
}

// diagnose returns what the trouble is, and whether it stays so.
func diagnose(u *url.URL, err error) (text string, settled bool) {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("no such host: the name %s is not in the DNS that this machine asks", dns.Name), true
	case errors.As(err, &dns):
		return fmt.Sprintf("looking up %s: %s", dns.Name, dns.Err), false
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that is not trusted here: add that one's certificate to the CA files", true
	case errors.As(err, &hostname):
		return "its certificate is for another name: " + hostname.Error(), true
	case errors.As(err, &invalid):
		return "its certificate is not valid: " + invalid.Error(), true
	case errors.As(err, &alert):
		return "it refuses the TLS handshake: " + alert.Error(), true
	case isPlainAnswer(err):
		return "it does not speak TLS: list it as plain HTTP if that is meant", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there", false
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset", false
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time: " + redact(err.Error(), u), false
	}
	return redact(err.Error(), u), false
}

// redact removes the address asked for from an error's text, for it may be signed.
func redact(text string, u *url.URL) string {
	text = strings.ReplaceAll(text, u.String(), u.Host)
	if u.RawQuery != "" {
		text = strings.ReplaceAll(text, u.RawQuery, "…")
	}
	return printable(text)
}

// explainedError has the words of [diagnose] and the cause that they are about.
type explainedError struct {
	text  string
	cause error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.cause }
