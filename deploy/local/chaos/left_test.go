package chaos

import (
	"strings"
	"testing"
	"time"
)

// TestProgress: what does not change is stuck, unless it is parked; what changes is not.
func TestProgress(t *testing.T) {
	const look = 10 * time.Second
	for _, test := range []struct {
		name  string
		seen  func(n int) work // at the nth look
		stuck bool
	}{
		{"still", func(int) work { return work{stages: []stage{{"layers sent", 3}}} }, true},
		{"parked", func(int) work { return work{stages: []stage{{"layers parked", 3}}, parked: time.Minute} }, false},
		{"under way", func(n int) work { return work{stages: []stage{{"layers sent", 100 - n}}} }, false},
		{"moving", func(n int) work { return work{stages: []stage{{[]string{"layers sent", "layers parked"}[n%2], 1}}} }, false},
		{"parked, then still", func(n int) work {
			return work{stages: []stage{{"layers parked", 1}}, parked: max(0, time.Minute-time.Duration(n)*look)}
		}, true},
	} {
		began := time.Now()
		p := progress{changed: began}
		var err error
		for n := 0; err == nil && n < 30; n++ {
			err = p.see(test.seen(n), began.Add(time.Duration(n)*look))
		}
		if (err != nil) != test.stuck {
			t.Errorf("%s: %v, want stuck: %v", test.name, err, test.stuck)
		}
		if err != nil && !strings.Contains(err.Error(), "layers") {
			t.Errorf("%s: %v does not say what is left", test.name, err)
		}
	}
}
