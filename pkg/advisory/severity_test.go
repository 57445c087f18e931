package advisory

import "testing"

func TestSeverityText(t *testing.T) {
	for _, s := range Severities() {
		b, _ := s.MarshalText()
		var back Severity
		if err := back.UnmarshalText(b); err != nil || back != s {
			t.Errorf("%v: round trip gave %v, %v", s, back, err)
		}
	}
	if _, err := ParseSeverity("dreadful"); err == nil {
		t.Error("an unknown severity must be an error")
	}
	if s, err := ParseSeverity("HIGH"); err != nil || s != High {
		t.Errorf("HIGH: %v, %v", s, err)
	}
	if Severity(200).String() != "unknown" {
		t.Error("a severity out of range prints as unknown")
	}
}

func TestStatusText(t *testing.T) {
	for s := UnderInvestigation; s <= NotAffected; s++ {
		b, _ := s.MarshalText()
		var back Status
		if err := back.UnmarshalText(b); err != nil || back != s {
			t.Errorf("%v: round trip gave %v, %v", s, back, err)
		}
	}
	if err := new(Status).UnmarshalText([]byte("maybe")); err == nil {
		t.Error("an unknown status must be an error")
	}
}

func TestVerdict(t *testing.T) {
	want := map[Status]Verdict{
		UnderInvestigation: VerdictUndecided, Affected: VerdictAffected, Fixed: VerdictAffected,
		WillNotFix: VerdictAffected, Deferred: VerdictAffected, EndOfLife: VerdictAffected,
		NotAffected: VerdictNotAffected, Status(99): VerdictUndecided,
	}
	for s, v := range want {
		if s.Verdict() != v {
			t.Errorf("%v: %v, want %v", s, s.Verdict(), v)
		}
	}
}
