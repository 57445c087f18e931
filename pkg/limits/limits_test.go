package limits

import (
	"errors"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestWithDefaults(t *testing.T) {
	if got := (Limits{}).WithDefaults(); got != Default() {
		t.Errorf("zero value: got %+v, want the defaults", got)
	}
	got := Limits{Entries: 7, Ratio: -1}.WithDefaults()
	if got.Entries != 7 || got.Ratio != -1 || got.InflatedBytes != Default().InflatedBytes {
		t.Errorf("set fields must stay: %+v", got)
	}
}

func TestCheck(t *testing.T) {
	if err := Check("entries of the layer", "entries", 3, 3); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := Check("entries of the layer", "entries", -1, 1<<40); err != nil {
		t.Errorf("no limit: %v", err)
	}
	err := Check("entries of the layer", "entries", 3, 4)
	var e *Error
	if !errors.As(err, &e) || fault.KindOf(err) != fault.TooLarge || fault.Retryable(err) {
		t.Errorf("above the limit: %v", err)
	}
}
