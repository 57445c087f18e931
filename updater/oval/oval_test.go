package oval

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// document returns what opens a document made of its sections.
func document(definitions, rest string) Opener {
	text := "<oval_definitions>\n<generator/>\n<definitions>" + definitions + "</definitions>\n" + rest + "</oval_definitions>\n"
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// facts are tests of all kinds that matter.
const facts = `
<tests>
 <rpminfo_test id="t:el8" check="at least one"><object object_ref="o:release"/><state state_ref="s:8"/></rpminfo_test>
 <rpminfo_test id="t:el9" check="at least one"><object object_ref="o:release"/><state state_ref="s:9"/></rpminfo_test>
 <rpmverifyfile_test id="t:file8"><object object_ref="o:file"/><state state_ref="s:file8"/></rpmverifyfile_test>
 <rpmverifyfile_test id="t:nofile" check="none satisfy"><object object_ref="o:file"/><state state_ref="s:file"/></rpmverifyfile_test>
 <rpminfo_test id="t:arm"><object object_ref="o:release"/><state state_ref="s:arm"/></rpminfo_test>
 <rpminfo_test id="t:a&lt;1"><object object_ref="o:a"/><state state_ref="s:lt1"/></rpminfo_test>
 <rpminfo_test id="t:b&lt;2"><object object_ref="o:b"/><state state_ref="s:lt2"/></rpminfo_test>
 <rpminfo_test id="t:a any"><object object_ref="o:a"/></rpminfo_test>
 <rpminfo_test id="t:a >0"><object object_ref="o:a"/><state state_ref="s:gt0"/></rpminfo_test>
 <rpminfo_test id="t:a is 0"><object object_ref="o:a"/><state state_ref="s:is0"/></rpminfo_test>
 <rpminfo_test id="t:a is 1"><object object_ref="o:a"/><state state_ref="s:is1"/></rpminfo_test>
 <rpminfo_test id="t:no a" check_existence="none_exist"><object object_ref="o:a"/></rpminfo_test>
 <rpminfo_test id="t:a signed"><object object_ref="o:a"/><state state_ref="s:key"/></rpminfo_test>
 <rpminfo_test id="t:a special"><object object_ref="o:a"/><state state_ref="s:special"/></rpminfo_test>
 <rpminfo_test id="t:a 5.4"><object object_ref="o:a"/><state state_ref="s:lt in 5.4"/></rpminfo_test>
 <rpminfo_test id="t:a odd"><object object_ref="o:a"/><state state_ref="s:lt in odd"/></rpminfo_test>
 <rpminfo_test id="t:a two"><object object_ref="o:a"/><state state_ref="s:lt1"/><state state_ref="s:gt0"/></rpminfo_test>
 <rpminfo_test id="t:pattern"><object object_ref="o:pattern"/><state state_ref="s:lt1"/></rpminfo_test>
 <rpminfo_test id="t:release&lt;1"><object object_ref="o:release"/><state state_ref="s:lt1"/></rpminfo_test>
 <rpminfo_test id="t:module&lt;1"><object object_ref="o:a"/><state state_ref="s:lt module"/></rpminfo_test>
 <dpkginfo_test id="t:set&lt;2"><object object_ref="o:set"/><state state_ref="s:lt2"/></dpkginfo_test>
 <textfilecontent54_test id="t:m:1.2"><object object_ref="o:m"/><state state_ref="s:m"/></textfilecontent54_test>
 <textfilecontent54_test id="t:grub"><object object_ref="o:grub"/><state state_ref="s:m"/></textfilecontent54_test>
 <uname_test id="t:kernel"><object object_ref="o:kernel"/></uname_test>
</tests>
<objects>
 <rpminfo_object id="o:release"><name>oraclelinux-release</name></rpminfo_object>
 <rpmverifyfile_object id="o:file"><name operation="pattern match"/><filepath>/etc/redhat-release</filepath></rpmverifyfile_object>
 <rpminfo_object id="o:a"><name>a</name></rpminfo_object>
 <rpminfo_object id="o:b"><name>b</name></rpminfo_object>
 <rpminfo_object id="o:pattern"><name operation="pattern match">^a</name></rpminfo_object>
 <dpkginfo_object id="o:set"><name var_ref="v:set" var_check="at least one"/></dpkginfo_object>
 <textfilecontent54_object id="o:m"><filepath>/etc/dnf/modules.d/m.module</filepath></textfilecontent54_object>
 <textfilecontent54_object id="o:grub"><filepath>/boot/grub2/grub.cfg</filepath></textfilecontent54_object>
 <uname_object id="o:kernel"/>
</objects>
<states>
 <rpminfo_state id="s:8"><version operation="pattern match">^8</version></rpminfo_state>
 <rpminfo_state id="s:9"><version operation="equals">9.2</version></rpminfo_state>
 <rpmverifyfile_state id="s:file8"><name operation="pattern match">^redhat-release</name><version operation="pattern match">^8[^\d]</version></rpmverifyfile_state>
 <rpmverifyfile_state id="s:file"><name operation="pattern match">^redhat-release</name></rpmverifyfile_state>
 <rpminfo_state id="s:arm"><arch operation="pattern match">aarch64</arch></rpminfo_state>
 <rpminfo_state id="s:lt1"><arch operation="pattern match">aarch64|x86_64</arch><evr operation="less than">0:1-1</evr></rpminfo_state>
 <rpminfo_state id="s:lt2"><evr operation="less than">7:2-1</evr></rpminfo_state>
 <rpminfo_state id="s:gt0"><evr operation="greater than">0:0-0</evr></rpminfo_state>
 <rpminfo_state id="s:is0"><version operation="equals">0</version></rpminfo_state>
 <rpminfo_state id="s:is1"><evr operation="equals">0:1-1</evr></rpminfo_state>
 <rpminfo_state id="s:key"><signature_keyid operation="equals">00</signature_keyid></rpminfo_state>
 <rpminfo_state id="s:special"><release operation="pattern match">special</release></rpminfo_state>
 <rpminfo_state id="s:lt in 5.4"><evr operation="less than">2:5.4.9-1</evr><version operation="pattern match">^5\.4\.</version></rpminfo_state>
 <rpminfo_state id="s:lt in odd"><evr operation="less than">0:9-1</evr><version operation="pattern match">^(5|6)</version></rpminfo_state>
 <rpminfo_state id="s:lt module"><evr operation="less than">0:1-1.module+el8+1</evr></rpminfo_state>
 <textfilecontent54_state id="s:m"><text operation="pattern match">\nstream\s*=\s*1\.2\b[\w\W]*\nstate\s*=\s*(enabled|1|true)|\nstate</text></textfilecontent54_state>
</states>
<variables>
 <constant_variable id="v:set"><value>x</value><value>y</value></constant_variable>
 <local_variable id="v:local"><concat/></local_variable>
</variables>
`

var (
	oracle8 = []Platform{{"oraclelinux-release", "8"}}
	oracle9 = []Platform{{"oraclelinux-release", "9.2"}}
	redhat8 = []Platform{{"redhat-release", "8"}}
)

func TestPackages(t *testing.T) {
	// tests and groups are written short: "a<1" is a criterion, "and(…)" and "or(…)" are criteria
	for _, c := range []struct {
		name, criteria string
		want           []Package
	}{
		{"a package on a platform", "and(el8 a<1)", []Package{{Name: "a", Platforms: oracle8, Fixed: "1-1"}}},
		{"platforms of each branch", "or(and(el8 a<1) and(el9 b<2))", []Package{{Name: "a", Platforms: oracle8, Fixed: "1-1"}, {Name: "b", Platforms: oracle9, Fixed: "7:2-1"}}},
		{"one of several platforms", "and(or(el8 el9) or(a<1))", []Package{{Name: "a", Platforms: append(oracle8[:1:1], oracle9...), Fixed: "1-1"}}},
		{"a platform that is named anywhere", "or(nofile and(a<1 a<1) or(file8))", []Package{{Name: "a", Platforms: redhat8, Fixed: "1-1"}, {Name: "a", Platforms: redhat8, Fixed: "1-1"}}},
		{"no platform", "and(a<1)", []Package{{Name: "a", Fixed: "1-1"}}},
		{"the inner platform counts", "and(el8 or(and(el9 a<1) b<2))", []Package{{Name: "b", Platforms: oracle8, Fixed: "7:2-1"}, {Name: "a", Platforms: oracle9, Fixed: "1-1"}}},
		{"what does not matter", "and(el8 arm kernel grub or(and(a<1 a_signed)))", []Package{{Name: "a", Platforms: oracle8, Fixed: "1-1"}}},
		{"without a fix", "and(el8 or(a_any a_>0))", []Package{{Name: "a", Platforms: oracle8}, {Name: "a", Platforms: oracle8}}},
		{"without a fix, and signed", "and(el8 and(a_any a_signed))", []Package{{Name: "a", Platforms: oracle8}}},
		{"installed as a condition", "and(el8 b<2 a_any)", []Package{{Name: "b", Platforms: oracle8, Fixed: "7:2-1"}}},
		{"not affected", "and(el8 a_is_0)", []Package{{Name: "a", Platforms: oracle8, NotAffected: true}}},
		{"an exact version is a condition", "and(el8 or(and(a_is_1 or(no_a b<2))))", []Package{{Name: "b", Platforms: oracle8, Fixed: "7:2-1"}}},
		{"nothing but conditions", "and(el8 kernel a_is_1)", nil},
		{"in a module", "and(el8 m:1.2 or(a<1))", []Package{{Name: "a", Platforms: oracle8, Modules: []string{"m:1.2"}, Fixed: "1-1"}}},
		{"in a module of the title", "and(el8 module<1)", []Package{{Name: "a", Platforms: oracle8, Modules: []string{"n:3"}, Fixed: "1-1.module+el8+1"}}},
		{"a variant", "and(el8 and(a<1 a_special) or(b<2))", []Package{{Name: "a", Platforms: oracle8, Variant: "special", Fixed: "1-1"}, {Name: "b", Platforms: oracle8, Fixed: "7:2-1"}}},
		{"from a version on", "and(el8 a_5.4)", []Package{{Name: "a", Platforms: oracle8, Introduced: "2:5.4", Fixed: "2:5.4.9-1"}}},
		{"in versions that cannot be told", "and(el8 a_odd)", []Package{{Name: "a", Platforms: oracle8, Fixed: "9-1", Problem: "versions that pattern match ^(5|6)"}}},
		{"several states", "and(el8 a_two)", []Package{{Name: "a", Platforms: oracle8, Fixed: "1-1", Problem: "it has several states"}}},
		{"names by a pattern", "and(el8 pattern)", []Package{{Platforms: oracle8, Fixed: "1-1", Problem: "its name is a pattern"}}},
		{"a release package may be at fault", "and(el8 release<1)", []Package{{Name: "oraclelinux-release", Platforms: oracle8, Fixed: "1-1"}}},
		{"several names", "and(el8 set<2)", []Package{{Name: "x", Platforms: oracle8, Fixed: "7:2-1"}, {Name: "y", Platforms: oracle8, Fixed: "7:2-1"}}},
		{"negated", "and(el8 not(a<1) !b<2)", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := one(t, `<title>X-1: n:3 update</title>`, criteria(c.criteria))
			got := d.Packages()
			for i := range got {
				got[i].Comment = ""
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.criteria, diff)
			}
		})
	}
}

// one returns the definition of a document that has one.
func one(t *testing.T, metadata, criteria string) *Definition {
	t.Helper()
	definition := `<definition id="d:1" class="patch"><metadata>` + metadata + `</metadata>` + criteria + `</definition>`
	var out *Definition
	for d, err := range Read(document(definition, facts)) {
		if err != nil {
			t.Fatal(err)
		}
		out = d
	}
	return out
}

// criteria writes a short form out: "and(el8 !a_any)".
func criteria(short string) string {
	short = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(short)
	var b strings.Builder
	words := strings.Fields(short)
	for i, word := range words {
		switch {
		case word == "(":
		case word == ")":
			b.WriteString("</criteria>")
		case i+1 < len(words) && words[i+1] == "(":
			attributes := map[string]string{"and": `operator="AND"`, "or": `operator="OR"`, "not": `negate="true"`}[word]
			fmt.Fprintf(&b, "<criteria %s>", attributes)
		default:
			word, negated := strings.CutPrefix(word, "!")
			fmt.Fprintf(&b, `<criterion comment="%s" negate="%t" test_ref="t:%s"/>`, escaped(word), negated, escaped(strings.ReplaceAll(word, "_", " ")))
		}
	}
	return b.String()
}

func escaped(s string) string { return strings.ReplaceAll(s, "<", "&lt;") }

func TestDangling(t *testing.T) {
	d := one(t, "", `<criteria><criterion test_ref="t:404"/><criteria><extend_definition definition_ref="d:2"/><criterion test_ref="t:el8"/></criteria></criteria>`)
	if diff := cmp.Diff([]string{"t:404"}, d.Dangling()); diff != "" {
		t.Error(diff)
	}
}

func TestDefinition(t *testing.T) {
	d := one(t, `<title>
		Two
		lines</title><description> text </description><affected family="unix"><platform>P 1</platform><platform>P 2</platform></affected>
		<reference source="CVE" ref_id="CVE-2024-90001" ref_url="https://x.example/"/>
		<advisory from="y"><severity> Low </severity><issued date="2024-01-02"/><updated date="2024-01-03"/><public_date>2024-01-01</public_date>
		<cve href="h" public="20240101" cvss2="2/a" cvss3="3/b" cvss4="4/c" cvss_score="5" cvss_vector="d" priority="low">CVE-2024-90001</cve>
		<affected><resolution state="Affected"><component>a</component><component>b</component></resolution></affected></advisory>`, "<notes/>")
	want := &Definition{
		ID: "d:1", Class: "patch", Title: "Two lines", Description: "text",
		References: []Reference{{"CVE", "CVE-2024-90001", "https://x.example/"}}, Severity: "Low",
		Issued: "2024-01-02", Updated: "2024-01-03", Public: "2024-01-01",
		CVEs:        []CVE{{Text: "CVE-2024-90001", Public: "20240101", CVSS2: "2/a", CVSS3: "3/b", CVSS4: "4/c", Score: "5", Vector: "d"}},
		Resolutions: []Resolution{{"Affected", []string{"a", "b"}}},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

func TestReadErrors(t *testing.T) {
	gone := fault.Newf(fault.Unavailable, "open", "spool", "gone")
	calls := 0
	whole := "<oval_definitions><definitions><definition id='d'/></definitions></oval_definitions>"
	for name, c := range map[string]struct {
		open Opener
		kind fault.Kind
	}{
		"cannot be opened": {func() (io.ReadCloser, error) { return nil, gone }, fault.Unavailable},
		"cannot be opened again": {func() (io.ReadCloser, error) {
			if calls++; calls > 1 {
				return nil, gone
			}
			return io.NopCloser(strings.NewReader(whole)), nil
		}, fault.Unavailable},
		"cannot be read":   {func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(gone)), nil }, fault.Unavailable},
		"another document": {func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("<html/>")), nil }, fault.Corrupt},
		"a definition without end": {document(`<definition id="d:1"><metadata><description>`+strings.Repeat("text ", maxDefinitionBytes/5)+
			`</description></metadata></definition>`, ""), fault.TooLarge},
		"criteria without end": {document(`<definition id="d:1"><criteria>`+strings.Repeat(`<criterion test_ref="t"/>`, maxDefinitionBytes/25+1)+
			`</criteria></definition>`, ""), fault.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range Read(c.open) {
				last = err
			}
			if fault.KindOf(last) != c.kind {
				t.Errorf("got %v, want a fault of kind %s", last, c.kind)
			}
		})
	}
}

func TestTableLimits(t *testing.T) {
	table := &tables{words: newWords()}
	table.states.rows = make([]stateRow, maxEntries+1)
	if err := table.check(); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("got %v, want a fault of kind too-large", err)
	}
	table = &tables{words: newWords()}
	table.words.number(strings.Repeat("x", maxNameBytes+1))
	if err := table.check(); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("got %v, want a fault of kind too-large", err)
	}
}
