package xmlstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

// kind is what a token is. Comments and processing instructions are none.
type kind uint8

const (
	startTag kind = iota + 1
	endTag
	text  // with references in it
	cdata // without
)

// token is a piece of the document. Its slices are good until the next one is read.
type token struct {
	kind kind
	name []byte // of a tag, with its namespace prefix
	body []byte // the attributes of a start tag; the text
}

// scanner cuts a document into tokens. It checks each by itself; that they nest is for the Walker to see.
type scanner struct {
	r      io.Reader
	buffer []byte // what was read and not consumed is buffer[at:]
	at     int
	before int64 // bytes of the document before buffer
	err    error // of r
	closes []byte
	isOpen bool // an element without content was opened: its end tag comes next
}

// offset returns how many bytes were consumed.
func (s *scanner) offset() int64 { return s.before + int64(s.at) }

// prolog skips a byte order mark.
func (s *scanner) prolog() error {
	mark := []byte("\xef\xbb\xbf")
	err := s.fill(len(mark))
	if bytes.HasPrefix(s.buffer[s.at:], mark) {
		s.at += len(mark)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// next returns the next token, or io.EOF.
func (s *scanner) next() (token, error) {
	if s.isOpen {
		s.isOpen = false
		return token{kind: endTag, name: s.closes}, nil
	}
	for {
		if err := s.fill(1); err != nil {
			return token{}, err
		}
		if s.buffer[s.at] != '<' {
			return s.text()
		}
		if err := s.fill(2); err != nil {
			return token{}, unexpectedEnd(err)
		}
		var t token
		var err error
		switch s.buffer[s.at+1] {
		case '?':
			err = s.instruction()
		case '!':
			t, err = s.declaration()
		case '/':
			t, err = s.endTag()
		default:
			t, err = s.startTag()
		}
		if err != nil || t.kind != 0 {
			return t, err
		}
	}
}

// fill makes sure that n bytes are in the buffer. It returns io.EOF when the document has no more.
func (s *scanner) fill(n int) error {
	for len(s.buffer)-s.at < n {
		if s.err != nil {
			return s.err
		}
		if s.at > 0 {
			s.before += int64(s.at)
			s.buffer = s.buffer[:copy(s.buffer, s.buffer[s.at:])]
			s.at = 0
		}
		if len(s.buffer) == cap(s.buffer) {
			if err := limits.Check("a tag, comment or text", "bytes", MaxTokenBytes, int64(len(s.buffer))+1); err != nil {
				return err
			}
			larger := make([]byte, len(s.buffer), min(max(2*cap(s.buffer), 128<<10), MaxTokenBytes))
			copy(larger, s.buffer)
			s.buffer = larger
		}
		var read int
		read, s.err = s.r.Read(s.buffer[len(s.buffer):cap(s.buffer)])
		s.buffer = s.buffer[:len(s.buffer)+read]
	}
	return nil
}

// through consumes everything up to and including mark, from skip bytes on, and returns it. A document that
// ends before it was cut off.
func (s *scanner) through(skip int, mark string) ([]byte, error) {
	for searched := skip; ; {
		if i := bytes.Index(s.buffer[min(s.at+searched, len(s.buffer)):], []byte(mark)); i >= 0 {
			out := s.buffer[s.at : s.at+searched+i+len(mark)]
			s.at += len(out)
			return out, nil
		}
		searched = max(skip, len(s.buffer)-s.at-len(mark)+1)
		if err := s.fill(len(s.buffer) - s.at + 1); err != nil {
			return nil, unexpectedEnd(err)
		}
	}
}

// text consumes what is before the next tag.
func (s *scanner) text() (token, error) {
	for searched := 0; ; {
		rest := s.buffer[s.at:]
		end := bytes.IndexByte(rest[searched:], '<')
		if end < 0 {
			searched = len(rest)
			err := s.fill(len(rest) + 1)
			if err == nil {
				continue
			}
			if !errors.Is(err, io.EOF) {
				return token{}, err
			}
			end = 0
		}
		body := s.buffer[s.at : s.at+searched+end]
		s.at += len(body)
		if !utf8.Valid(body) {
			return token{}, errNotUTF8
		}
		if bytes.Contains(body, []byte("]]>")) {
			return token{}, errors.New("]]> outside of a CDATA section")
		}
		return token{kind: text, body: body}, nil
	}
}

var errNotUTF8 = errors.New("text is not UTF-8")

// instruction consumes "<?…?>". The declaration at the top of the document may name no encoding but UTF-8.
func (s *scanner) instruction() error {
	body, err := s.through(2, "?>")
	if err != nil {
		return err
	}
	rest, isDeclaration := strings.CutPrefix(string(body[2:len(body)-2]), "xml")
	if !isDeclaration || rest == "" || !isSpace(rest[0]) {
		return nil
	}
	for {
		a, ok, err := nextAttribute(&rest)
		if err != nil {
			return fmt.Errorf("XML declaration: %w", err)
		}
		if !ok {
			return nil
		}
		if a.name == "encoding" && !strings.EqualFold(a.value, "utf-8") {
			return fmt.Errorf("encoding %q is not read, only UTF-8", a.value)
		}
	}
}

// declaration consumes a comment, or returns a CDATA section.
func (s *scanner) declaration() (token, error) {
	const opening = "<![CDATA["
	if err := s.fill(len(opening)); err != nil && !errors.Is(err, io.EOF) {
		return token{}, err
	}
	switch rest := s.buffer[s.at:]; {
	case bytes.HasPrefix(rest, []byte("<!--")):
		body, err := s.through(4, "--")
		if err != nil {
			return token{}, err
		}
		if err := s.fill(1); err != nil {
			return token{}, unexpectedEnd(err)
		}
		if s.buffer[s.at] != '>' {
			return token{}, errors.New("-- in a comment")
		}
		s.at++
		if !utf8.Valid(body) {
			return token{}, errNotUTF8
		}
		return token{}, nil
	case bytes.HasPrefix(rest, []byte(opening)):
		body, err := s.through(len(opening), "]]>")
		if err != nil {
			return token{}, err
		}
		if !utf8.Valid(body) {
			return token{}, errNotUTF8
		}
		return token{kind: cdata, body: body[len(opening) : len(body)-3]}, nil
	}
	return token{}, errors.New("document type declarations are refused")
}

// endTag consumes "</name>".
func (s *scanner) endTag() (token, error) {
	tag, err := s.through(2, ">")
	if err != nil {
		return token{}, err
	}
	name := tag[2 : len(tag)-1]
	for len(name) > 0 && isSpace(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	if !isName(name) || !utf8.Valid(name) {
		return token{}, fmt.Errorf("%.100q is no tag", tag)
	}
	return token{kind: endTag, name: name}, nil
}

// startTag consumes "<name attributes>" or "<name attributes/>".
func (s *scanner) startTag() (token, error) {
	tag, err := s.tag()
	if err != nil {
		return token{}, err
	}
	body := tag[1 : len(tag)-1]
	empty := len(body) > 0 && body[len(body)-1] == '/'
	if empty {
		body = body[:len(body)-1]
	}
	n := nameLength(body)
	if !isName(body[:n]) || !utf8.Valid(body) || (n < len(body) && !isSpace(body[n])) {
		return token{}, fmt.Errorf("%.100q is no tag", tag)
	}
	for rest := body[n:]; ; {
		a, ok, err := nextAttribute(&rest)
		if err == nil && ok && bytes.IndexByte(a.value, '&') >= 0 {
			_, err = appendText(nil, a.value)
		}
		if err != nil {
			return token{}, err
		}
		if !ok {
			break
		}
	}
	if empty {
		s.isOpen = true
		s.closes = append(s.closes[:0], body[:n]...)
	}
	return token{kind: startTag, name: body[:n], body: body[n:]}, nil
}

// tag consumes up to the ">" that stands in no attribute's value.
func (s *scanner) tag() ([]byte, error) {
	var quote byte
	for i := 1; ; i++ {
		if s.at+i >= len(s.buffer) {
			if err := s.fill(i + 1); err != nil {
				return nil, unexpectedEnd(err)
			}
		}
		switch c := s.buffer[s.at+i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			tag := s.buffer[s.at : s.at+i+1]
			s.at += len(tag)
			return tag, nil
		}
	}
}
