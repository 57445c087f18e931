// Package fault provides the one error type of the program: what was being done, to which
// thing, of which kind the trouble is, and whether trying again can help.
//
// Kinds are mapped to HTTP statuses in one table (api), to hints in another (the command line),
// and to "try again" in a third ([Kind.Retryable]). It neither logs nor retries.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what an error means to the caller.
type Kind uint8

// The kinds. The zero value says nothing is known; it is retryable, for what nobody understands
// is more often a passing fault than a lasting one, and attempts are bounded.
const (
	Unknown      Kind = iota
	Invalid           // what was asked is malformed; asking again gives the same answer
	NotFound          // the thing is not there
	Unauthorized      // who asks is not known, or not allowed
	Corrupt           // foreign bytes break their format or their digest
	TooLarge          // a limit was reached; see package limits
	Unsupported       // well-formed, and nothing here can read it
	RateLimited       // told to come back later; see Error.After
	Unavailable       // a peer does not answer, or answers that it cannot now
	Conflict          // another holds what is needed, or was faster
	Canceled          // told to stop
)

var names = [...]string{
	"unknown", "invalid", "not-found", "unauthorized", "corrupt", "too-large", "unsupported",
	"rate-limited", "unavailable", "conflict", "canceled",
}

// String returns the kind as it stands in reports, dead letters and problem documents.
func (k Kind) String() string { return names[k] }

// Parse returns the kind of that name, or Unknown.
func Parse(name string) Kind {
	for k, n := range names {
		if n == name {
			return Kind(k)
		}
	}
	return Unknown
}

// Retryable reports whether the same request may succeed later with nothing changed on our side.
func (k Kind) Retryable() bool {
	switch k {
	case Unknown, RateLimited, Unavailable, Conflict, Canceled:
		return true
	}
	return false
}

// Error is an error with its context. Op and Subject read as the start of a sentence:
// "pull registry.example/app@sha256:…: …".
type Error struct {
	Kind    Kind
	Op      string        // what was being done, a verb: "pull"
	Subject string        // to which thing: "registry.example/app@sha256:…"
	After   time.Duration // for RateLimited and Unavailable: not before this long from now; 0 if not told
	Err     error
}

// New returns an Error. Use [Wrap] to add context and keep the kind of a cause.
func New(kind Kind, op, subject string, err error) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Err: err}
}

// Newf is New with a formatted cause; %w keeps a cause in the chain.
func Newf(kind Kind, op, subject, format string, args ...any) *Error {
	return New(kind, op, subject, fmt.Errorf(format, args...))
}

// Wrap says what was being done to which thing when err came up, and keeps its kind and delay.
// It returns nil for a nil error.
func Wrap(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Op: op, Subject: subject, After: AfterOf(err), Err: err}
}

func (e *Error) Error() string {
	s := e.Op
	if e.Subject != "" {
		s += " " + e.Subject
	}
	if e.Err == nil {
		return s + ": " + e.Kind.String()
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// kinder lets the error types of other packages carry a kind without importing Error.
type kinder interface{ FaultKind() Kind }

// KindOf returns the kind of the outermost error in the chain that has one.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) && e.Kind != Unknown {
		return e.Kind
	}
	var k kinder
	if errors.As(err, &k) {
		return k.FaultKind()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Unknown
}

// AfterOf returns the delay that the outermost error in the chain asks for, or 0.
func AfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}

// Retryable reports whether err is of a kind that may pass.
func Retryable(err error) bool { return KindOf(err).Retryable() }
