package job

import (
	"errors"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Backoff returns how long a job is parked after it failed, given how often it had failed before. It grows
// from 5 seconds to a quarter of an hour; [MaxAttempts] span 13 minutes, longer than a restart of whatever was away.
func Backoff(failures int) time.Duration {
	const first, longest = 5 * time.Second, 15 * time.Minute
	pause := first
	for range min(failures, 10) {
		pause *= 5
	}
	return min(pause, longest)
}

// otherTries is how often a job is tried that gets other bytes than it asked for: whoever always gives such is to be told from
// whoever did once within seconds.
const otherTries = 3

// Again reports whether a job is tried again after err, given how often it has failed, this time included. Being told to come back
// later is no failure: a registry's limit of pulls lasts for hours. local says that what was asked for is on this machine, where
// it is no other in a moment.
func Again(err error, failed int, local bool) bool {
	switch {
	case fault.KindOf(err) == fault.RateLimited:
		return true
	case errors.Is(err, digest.ErrOther):
		return failed < otherTries && !local
	}
	return fault.Retryable(err) && failed < MaxAttempts
}

// longestPark is the longest that a job is parked, whatever a registry asks for.
const longestPark = 24 * time.Hour

// Park returns how long a job is parked after err, given how often it had failed before: as long as err asks for, and at
// least what backoff says, [Backoff] for nil. Who is told to come back later, and not when, is in no hurry; who got other bytes than
// it asked for asks again soon.
func Park(err error, failures int, backoff func(failures int) time.Duration) time.Duration {
	if backoff == nil {
		backoff = Backoff
	}
	switch {
	case fault.KindOf(err) == fault.RateLimited:
		failures = max(failures, 2)
	case errors.Is(err, digest.ErrOther):
		failures = 0
	}
	return min(max(fault.AfterOf(err), backoff(failures)), longestPark)
}
