package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// secret is a setting that no command line may show: every user of a machine can list the arguments of its processes.
// It is a variable, a key of the YAML file, or the content of a file that another setting names.
type secret struct {
	value string
	open  bool // what is set now comes from a variable or the file
}

var errShown = errors.New("a secret has no place on a command line, where every user of this machine sees it: use the variable, the YAML file, or the flag that names a file")

// concealed returns the error of a secret on the command line without the secret, and others as they are.
func concealed(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && errors.Is(err, errShown) {
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, errShown)
	}
	return err
}

// Set implements [pflag.Value].
func (s *secret) Set(value string) error {
	if !s.open {
		return errShown
	}
	s.value = value
	return nil
}

// String implements [pflag.Value]. It tells nobody.
func (s *secret) String() string { return "" }

// Type implements [pflag.Value].
func (s *secret) Type() string { return "secret" }

// read returns the secret, from the file if one is named. The line end that editors leave at the end of a file is none
// of the secret.
func (s *secret) read(file string) (string, error) {
	if file == "" {
		return s.value, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usageError(fault.New(fault.Invalid, "read secret", file, cause(err)))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", usageError(fault.Newf(fault.Invalid, "read secret", file, "the file is empty"))
	}
	return value, nil
}
