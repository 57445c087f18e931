package csaf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestRead(t *testing.T) {
	file, err := os.Open("testdata/widget.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	// The products in the order in which they come up: what a group mentions, last.
	const os1, widget, gadget, set, osWidget, osSet, osGadget, nowhere = 0, 1, 2, 3, 4, 5, 6, 7
	want := &Document{
		ID: "CVE-2026-0001", Title: "widget: wide open", Status: "final", Severity: "Important",
		Published: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		Modified:  time.Date(2026, 2, 3, 3, 5, 6, 0, time.UTC),
		Products: []Product{
			os1:      {ID: "os-1", Name: "Example OS 1", CPE: "cpe:/o:example:os:1", Component: None, Platform: None, Defined: true},
			widget:   {ID: "widget-0:1.2-3.x86_64", Name: "widget-0:1.2-3.x86_64", PURL: "pkg:rpm/example/widget@1.2-3?arch=x86_64", Component: None, Platform: None, Defined: true},
			gadget:   {ID: "gadget", Name: "gadget", Component: None, Platform: None, Defined: true},
			set:      {ID: "set", Name: "Example Set", Component: None, Platform: None, Defined: true},
			osWidget: {ID: "os-1:widget-0:1.2-3.x86_64", Component: widget, Platform: os1, Defined: true},
			osSet:    {ID: "os-1:set", Component: set, Platform: os1, Defined: true},
			osGadget: {ID: "os-1:set:gadget", Component: gadget, Platform: osSet, Defined: true},
			nowhere:  {ID: "os-1:nowhere", Component: None, Platform: None},
		},
		Vulnerabilities: []Vulnerability{{
			CVE: "CVE-2026-0001", Title: "widget: wide open", Description: "Anybody can come in.",
			Published: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Weakness:  "CWE-787", Link: "https://vendor.example/CVE-2026-0001",
			Products: map[Status][]Ref{Fixed: {osWidget}, KnownAffected: {osGadget}, KnownNotAffected: nil},
			Remedies: []Remedy{
				{Category: "vendor_fix", Details: "Update.", URL: "https://vendor.example/EX-1", Products: []Ref{osWidget}},
				{Category: "no_fix_planned", Details: "Will not fix", Products: []Ref{osGadget, nowhere}},
			},
			Threats: []Threat{{Category: "impact", Details: "Important", Products: []Ref{osWidget, osGadget, nowhere}}},
			Scores: []Score{{
				Vectors:  []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
				Products: []Ref{osWidget},
			}},
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Remedy{}, Threat{})); diff != "" {
		t.Errorf("document differs (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		ref, component, platform Ref
		ok                       bool
	}{
		{osWidget, widget, os1, true},
		{osGadget, gadget, os1, true},
		{os1, None, None, false},
		{nowhere, None, None, false},
		{None, None, None, false},
		{Ref(len(got.Products)), None, None, false},
	} {
		if component, platform, ok := got.Resolve(c.ref); component != c.component || platform != c.platform || ok != c.ok {
			t.Errorf("Resolve(%d) = %d, %d, %t; want %d, %d, %t", c.ref, component, platform, ok, c.component, c.platform, c.ok)
		}
	}
}

// TestOrder reads a document whose product tree stands last, as JSON may have it.
func TestOrder(t *testing.T) {
	got, err := Read(strings.NewReader(`{
		"vulnerabilities": [{"product_status": {"fixed": ["os:a"]}, "threats": [{"group_ids": ["g"]}]}],
		"product_tree": {
			"relationships": [{"full_product_name": {"product_id": "os:a"}, "product_reference": "a", "relates_to_product_reference": "os"}],
			"product_groups": [{"group_id": "g", "product_ids": ["os:a"]}],
			"full_product_names": [{"product_id": "a"}, {"product_id": "os"}]},
		"document": {"csaf_version": "2.0"}}`))
	if err != nil {
		t.Fatal(err)
	}
	v := got.Vulnerabilities[0]
	component, platform, ok := got.Resolve(v.Products[Fixed][0])
	if !ok || got.Products[component].ID != "a" || got.Products[platform].ID != "os" || len(v.Threats[0].Products) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestCircle resolves products that are components of one another.
func TestCircle(t *testing.T) {
	relation := func(id, component, platform string) string {
		return fmt.Sprintf(`{"full_product_name": {"product_id": %q}, "product_reference": %q, "relates_to_product_reference": %q}`, id, component, platform)
	}
	d, err := Read(strings.NewReader(`{"document": {"csaf_version": "2.0"}, "product_tree": {"full_product_names": [{"product_id": "x"}], "relationships": [` +
		relation("a", "x", "b") + "," + relation("b", "x", "a") + "," + relation("c", "c", "x") + `]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for r := range d.Products {
		if component, platform, ok := d.Resolve(Ref(r)); ok {
			t.Errorf("%s resolves to %d on %d", d.Products[r].ID, component, platform)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, document string
		kind           fault.Kind
	}{
		{"empty", ``, fault.Corrupt},
		{"an error page", `<html>503</html>`, fault.Corrupt},
		{"an array", `[]`, fault.Corrupt},
		{"cut off", `{"document": {"csaf_version": "2.0"`, fault.Corrupt},
		{"more behind", `{"document": {"csaf_version": "2.0"}} 1`, fault.Corrupt},
		{"no head", `{}`, fault.Corrupt},
		{"another version", `{"document": {"csaf_version": "3.0"}}`, fault.Unsupported},
		{"no version", `{"document": {}}`, fault.Unsupported},
		{"a product without identifier", `{"document": {"csaf_version": "2.0"}, "product_tree": {"full_product_names": [{}]}}`, fault.Corrupt},
		{"half a relationship", `{"document": {"csaf_version": "2.0"}, "product_tree": {"relationships": [{"full_product_name": {"product_id": "a"}}]}}`, fault.Corrupt},
		{"a number for an identifier", `{"document": {"csaf_version": "2.0"}, "vulnerabilities": [{"product_status": {"fixed": [7]}}]}`, fault.Corrupt},
		{"branches without end", `{"document": {"csaf_version": "2.0"}, "product_tree": {` + strings.Repeat(`"branches": [{`, 100) + strings.Repeat(`}]`, 100) + `}}`, fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d, err := Read(strings.NewReader(c.document)); fault.KindOf(err) != c.kind {
				t.Errorf("got %+v, %v; want kind %s", d, err, c.kind)
			}
		})
	}
}

func TestReadBounded(t *testing.T) {
	const document = `{"document": {"csaf_version": "2.0"}}`
	if _, err := read(strings.NewReader(document), int64(len(document))); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := read(strings.NewReader(document), int64(len(document))-1); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("above the limit: %v", err)
	}
}

// TestReadFails keeps the kind of what stopped the reading.
func TestReadFails(t *testing.T) {
	broken := fault.Newf(fault.Unavailable, "read", "disk", "gone")
	_, err := Read(io.MultiReader(strings.NewReader(`{"document": {"csaf`), failing{broken}))
	if !errors.Is(err, broken) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzRead(f *testing.F) {
	seed, err := os.ReadFile("testdata/widget.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add(`{"document": {"csaf_version": "2.0"}, "product_tree": {"relationships": [{"full_product_name": {"product_id": "a"}, "product_reference": "a", "relates_to_product_reference": "a"}]}}`)
	f.Fuzz(func(t *testing.T, document string) {
		d, err := Read(strings.NewReader(document))
		if err != nil {
			if fault.KindOf(err) == fault.Unknown {
				t.Errorf("an error without kind: %v", err)
			}
			return
		}
		for r := range d.Products {
			if component, platform, ok := d.Resolve(Ref(r)); ok && (d.Products[component].Component != None || d.Products[platform].Platform != None) {
				t.Errorf("product %d resolves to %d on %d", r, component, platform)
			}
		}
		for _, v := range d.Vulnerabilities {
			for status, refs := range v.Products {
				for _, r := range refs {
					if r < 0 || int(r) >= len(d.Products) {
						t.Errorf("%s: product %d of %d", status, r, len(d.Products))
					}
				}
			}
		}
	})
}
