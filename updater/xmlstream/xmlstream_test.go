package xmlstream

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// feed is shaped as feeds are, with everything in it that may stand in one.
const feed = "\xef\xbb\xbf" + `<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<ns:feed xmlns:ns="urn:x" when='now'>
  <item id="1" ns:note="a &lt; b &#38; &#x63;&quot;'"/>
  <item id='2'>one<!-- not this --> &amp; <b>two</b><![CDATA[ <three> &amp; ]]></item>
  <?skip this?>
  <group><item id="3">left unread<b/></item></group>
  <item id="4"><name>four</name><more><deep>er</deep></more></item>
</ns:feed>
<!-- the end -->
`

func TestWalk(t *testing.T) {
	var got []string
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	w := New(iotest.OneByteReader(strings.NewReader(feed)))
	err := w.Document("feed", func(root Element) error {
		note("%s %s", root.Name, root.Attribute("when"))
		return w.Children(func(e Element) error {
			switch id := e.Attribute("id"); {
			case e.Name != "item":
				note("%s", e.Name)
				return nil
			case id == "4":
				return w.Children(func(e Element) error {
					if e.Name == "name" {
						text, err := w.Text()
						note("4 %s %s", e.Name, text)
						return err
					}
					note("4 %s", e.Name)
					return nil
				})
			default:
				text, err := w.Text()
				note("%s %q %q %q", id, text, e.Attribute("note"), e.Attribute("other"))
				return err
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"feed now",
		`1 "" "a < b & c\"'" ""`,
		`2 "one & two <three> &amp; " "" ""`,
		"group",
		"4 name four",
		"4 more",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.Offset() != int64(len(feed)) {
		t.Errorf("read %d of %d bytes", w.Offset(), len(feed))
	}
}

// walk reads a document and everything in it.
func walk(r io.Reader) error {
	w := New(r)
	var visit func(Element) error
	visit = func(Element) error { return w.Children(visit) }
	return w.Document("feed", visit)
}

func TestBroken(t *testing.T) {
	for name, document := range map[string]string{
		"empty":                   ``,
		"no root":                 `<!-- nothing -->`,
		"another root":            `<html><body>503</body></html>`,
		"two roots":               `<feed/><feed/>`,
		"text behind":             `<feed/> more`,
		"text before":             `more <feed/>`,
		"not closed":              `<feed><a></feed>`,
		"closed twice":            `<feed></feed></feed>`,
		"closed in another order": `<feed><a><b></a></b></feed>`,
		"cut in a tag":            `<feed><item id="1`,
		"cut in text":             `<feed>text`,
		"cut behind an element":   `<feed><a/>`,
		"cut in a comment":        `<feed><!-- `,
		"cut in CDATA":            `<feed><![CDATA[ `,
		"cut at a mark":           `<feed><`,
		"cut at another":          `<feed><!`,
		"no quotes":               `<feed id=1/>`,
		"no value":                `<feed id/>`,
		"< in a value":            `<feed id="<"/>`,
		"no tag":                  `<feed>a < b</feed>`,
		"unknown entity":          `<feed a="&nbsp;"/>`,
		"reference to nothing":    `<feed a="&#0;"/>`,
		"lone ampersand":          `<feed a="a & b"/>`,
		"]]> in text":             `<feed>]]></feed>`,
		"-- in a comment":         `<feed><!-- a -- b --></feed>`,
		"another encoding":        `<?xml version="1.0" encoding="ISO-8859-1"?><feed/>`,
		"not UTF-8":               "<feed>\xe4</feed>",
		"a DTD":                   `<!DOCTYPE feed><feed/>`,
		"an entity bomb":          `<!DOCTYPE feed [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><feed>&b;</feed>`,
		"an external entity":      `<!DOCTYPE feed [<!ENTITY a SYSTEM "file:///etc/passwd">]><feed>&a;</feed>`,
	} {
		t.Run(name, func(t *testing.T) {
			err := walk(strings.NewReader(document))
			if fault.KindOf(err) != fault.Corrupt || !strings.HasPrefix(err.Error(), "read XML at byte ") {
				t.Errorf("got %v, want a fault of kind corrupt that says where", err)
			}
		})
	}
}

func TestTextBroken(t *testing.T) {
	w := New(strings.NewReader(`<feed><a>&bad;</a></feed>`))
	err := w.Document("feed", func(Element) error { _, err := w.Text(); return err })
	if fault.KindOf(err) != fault.Corrupt {
		t.Errorf("got %v, want a fault of kind corrupt", err)
	}
}

func TestLimits(t *testing.T) {
	endless := func(begin, middle string) io.Reader {
		return io.MultiReader(strings.NewReader(begin), &repeat{text: middle})
	}
	for name, r := range map[string]io.Reader{
		"deep":            endless("<feed>", "<a>"),
		"a long tag":      endless("<feed ", "a='b' "),
		"a long text":     endless("<feed>", "text "),
		"a long comment":  endless("<feed><!--", "text "),
		"much CDATA":      endless("<feed><![CDATA[", "text "),
		"a long end":      endless("<feed></feed", " "),
		"a long PI":       endless("<feed><?pi", " "),
		"a long text, in": endless("<feed>", "text <b/>"),
	} {
		t.Run(name, func(t *testing.T) {
			w := New(r)
			err := w.Document("feed", func(Element) error {
				if name == "a long text, in" {
					_, err := w.Text()
					return err
				}
				return nil
			})
			if fault.KindOf(err) != fault.TooLarge {
				t.Errorf("got %v, want a fault of kind too-large", err)
			}
		})
	}
}

// repeat reads as a text over and over.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

func TestReaderFails(t *testing.T) {
	gone := fault.Newf(fault.Unavailable, "read", "disk", "gone")
	r := io.MultiReader(strings.NewReader("<feed><a>"), iotest.ErrReader(gone))
	if err := walk(r); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, gone) {
		t.Errorf("got %v, want what the reader failed with", err)
	}
}

func TestVisitStops(t *testing.T) {
	stop := errors.New("stop")
	w := New(strings.NewReader(feed))
	err := w.Document("feed", func(Element) error {
		return w.Children(func(Element) error { return stop })
	})
	if !errors.Is(err, stop) || err.Error() != "stop" {
		t.Errorf("got %v, want the visitor's error as it is", err)
	}
}

// events writes what a document holds, as this package reads it.
func events(document []byte) (string, error) {
	w := New(bytes.NewReader(document))
	var b strings.Builder
	if err := w.s.prolog(); err != nil {
		return "", err
	}
	for {
		t, err := w.s.next()
		if errors.Is(err, io.EOF) && len(w.open) == 0 {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), unexpectedEnd(err)
		}
		switch t.kind {
		case startTag:
			fmt.Fprintf(&b, "\n<%s", localName(t.name))
			for rest := t.body; ; {
				a, ok, err := nextAttribute(&rest)
				if err != nil || !ok {
					break
				}
				value, _ := appendText(nil, a.value)
				fmt.Fprintf(&b, " %s=%q", localName(a.name), value)
			}
			b.WriteString(">\n")
			err = w.push(t)
		case endTag:
			fmt.Fprintf(&b, "\n</%s>\n", localName(t.name))
			err = w.pop(t)
		case text:
			var out []byte
			out, err = appendText(nil, t.body)
			b.Write(out)
		case cdata:
			b.Write(appendLines(nil, t.body))
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// standardEvents writes it as the standard library reads it.
func standardEvents(document []byte) (string, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(document, []byte("\xef\xbb\xbf"))))
	var b strings.Builder
	var open []xml.Name
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name)
			fmt.Fprintf(&b, "\n<%s", token.Name.Local)
			for _, a := range token.Attr {
				fmt.Fprintf(&b, " %s=%q", a.Name.Local, a.Value)
			}
			b.WriteString(">\n")
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != token.Name {
				return b.String(), errors.New("not nested")
			}
			open = open[:len(open)-1]
			fmt.Fprintf(&b, "\n</%s>\n", token.Name.Local)
		case xml.CharData:
			b.Write(token)
		case xml.Directive:
			return b.String(), errors.New("directive")
		}
	}
}

// stricter are the errors of the standard library for what this package lets pass: characters that XML has no
// place for, and what only a processing instruction says.
var stricter = []string{"illegal character code", "invalid XML name", "expected target name", "unsupported version", "xml: encoding", "invalid characters between"}

// ours are the errors of this package for what the standard library lets pass.
var ours = []string{
	"depth of the elements", "encoding", "XML declaration", "without a name or a value", "no quote before", "no quote behind",
	"is no tag", "declarations are refused", "to no character", "begins no reference", "not UTF-8",
}

func FuzzAgainstStandard(f *testing.F) {
	f.Add([]byte(feed))
	f.Add([]byte("<a\r\nb='1'>\r\nx\ry</a >"))
	f.Add([]byte(`<a:b c:d="&#x41;"/>`))
	f.Add([]byte(`<a>&#xd;&amp;<![CDATA[]]]]></a>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		got, err := events(document)
		want, standardErr := standardEvents(document)
		known := func(err error, list []string) bool {
			for _, s := range list {
				if strings.Contains(err.Error(), s) {
					return true
				}
			}
			return false
		}
		switch {
		case err != nil && standardErr != nil:
		case err != nil && !known(err, ours):
			t.Errorf("an error where the standard library has none: %v", err)
		case standardErr != nil && !known(standardErr, stricter):
			t.Errorf("no error where the standard library has one: %v", standardErr)
		case err == nil && standardErr == nil && got != want:
			t.Errorf("(-standard +ours):\n%s", cmp.Diff(want, got))
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	item := `<criterion test_ref="oval:com.example:tst:20230005003" comment="bcel is earlier than 0:6.4.1-9.el9_1"/>` + "\n"
	document := "<feed>" + strings.Repeat("<definition><title>A title of usual length</title>"+strings.Repeat(item, 10)+"</definition>\n", 2000) + "</feed>"
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		if err := walk(strings.NewReader(document)); err != nil {
			b.Fatal(err)
		}
	}
}
