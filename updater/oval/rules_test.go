package oval

import (
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestTooManyRanges holds a document that multiplies against the bounds: packages times platforms, and tests times
// names.
func TestTooManyRanges(t *testing.T) {
	var platforms, packages, tests, states strings.Builder
	for i := range 1000 {
		n := strings.Repeat("1", i%10+1) + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
		platforms.WriteString(`<criterion test_ref="t:p` + n + `"/>`)
		tests.WriteString(`<rpminfo_test id="t:p` + n + `"><object object_ref="o:release"/><state state_ref="s:` + n + `"/></rpminfo_test>`)
		states.WriteString(`<rpminfo_state id="s:` + n + `"><version>` + n + `</version></rpminfo_state>`)
		packages.WriteString(`<criterion test_ref="t:a&lt;1"/>`)
	}
	many := strings.Replace(strings.Replace(facts, "</tests>", tests.String()+"</tests>", 1), "</states>", states.String()+"</states>", 1)
	rules := Rules{
		Subject:    "test",
		Namespaces: func(p Platform) []string { return []string{"x:" + p.Version} },
		Identify:   func(d *Definition) (id, link string) { return d.ID, "" },
	}
	names := strings.Repeat("<value>x</value>", 5000)
	for name, open := range map[string]Opener{
		"platforms": document(`<definition id="d:1" class="patch"><criteria><criteria operator="OR">`+platforms.String()+
			`</criteria><criteria operator="OR">`+packages.String()+`</criteria></criteria></definition>`, many),
		"names": document(`<definition id="d:1" class="patch"><criteria>`+strings.Repeat(`<criterion test_ref="t:set&lt;2"/>`, 101)+
			`</criteria></definition>`, strings.Replace(facts, "<value>x</value>", names, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range rules.Parse(open, "") {
				last = err
			}
			if fault.KindOf(last) != fault.TooLarge {
				t.Errorf("got %v, want a fault of kind too-large", last)
			}
		})
	}
}
