package coordinator

import (
	"log/slog"
	"sync"
	"time"
)

// complaints logs what goes wrong again and again, such as an etcd that is away: what is new at once, what was said before
// after a while. Safe for concurrent use.
type complaints struct {
	log *slog.Logger

	mu     sync.Mutex
	said   map[string]time.Time // texts, and when they were logged
	last   time.Time
	silent int // how many were not logged since the last that was
}

// A text is logged again after repeatAfter. Texts that hold something that changes with each attempt, such as a port, are all new;
// of these one is logged every quietFor.
const (
	repeatAfter = 10 * time.Minute
	quietFor    = 10 * time.Second
)

// report logs an error, unless it was logged lately.
func (c *complaints) report(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for text, at := range c.said {
		if now.Sub(at) >= repeatAfter {
			delete(c.said, text)
		}
	}
	_, known := c.said[err.Error()]
	if known || (len(c.said) > 0 && now.Sub(c.last) < quietFor) {
		c.silent++
		return
	}
	c.log.Warn("cannot lead, will stand for election again", "error", err, "not_logged", c.silent)
	c.note(err, now)
}

// told notes that an error was logged by somebody else.
func (c *complaints) told(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(err, time.Now())
}

func (c *complaints) note(err error, now time.Time) {
	if c.said == nil {
		c.said = make(map[string]time.Time)
	}
	c.said[err.Error()], c.last, c.silent = now, now, 0
}

// forget lets everything be logged again: all is well now.
func (c *complaints) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.silent = nil, 0
}
