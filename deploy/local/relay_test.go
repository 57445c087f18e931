package local

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo returns the address of a server that says what it hears.
func echo(t *testing.T) string {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return server.Addr().String()
}

// TestPath: over a path nothing is sooner there than it may be, and all of it comes.
func TestPath(t *testing.T) {
	path := Path{RoundTrip: 20 * time.Millisecond, BytesPerSecond: 1 << 20}
	r, err := newRelay(t.Context(), "127.0.0.1:0", echo(t), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	began := time.Now()
	conn, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := bytes.Repeat([]byte("far away"), 8<<10)
	go func() { _, _ = conn.Write(text) }()
	heard := make([]byte, len(text))
	if _, err := io.ReadFull(conn, heard[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*path.RoundTrip {
		t.Errorf("the first byte is back after %s: want a round trip for the connection and one for itself", took)
	}
	if _, err := io.ReadFull(conn, heard[1:]); err != nil || !bytes.Equal(text, heard) {
		t.Fatalf("what comes back is not what was sent (%v)", err)
	}
	least := 2*path.RoundTrip + time.Duration(len(text))*time.Second/time.Duration(path.BytesPerSecond)
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes are back after %s, want %s at least", len(text), took, least)
	}
}

// TestRelay: what is sent over a relay that is cut comes when it is mended, and not before.
func TestRelay(t *testing.T) {
	r, err := newRelay(t.Context(), "127.0.0.1:0", echo(t), Path{})
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", r.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	hear := func(conn net.Conn, patience time.Duration) (string, error) {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		buffer := make([]byte, 10)
		n, err := conn.Read(buffer)
		return string(buffer[:n]), err
	}
	say := func(conn net.Conn, text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	first := dial()
	defer first.Close()
	say(first, "one")
	if got, err := hear(first, time.Minute); got != "one" {
		t.Fatal(got, err)
	}
	r.cut()
	r.cut()
	second := dial()
	defer second.Close()
	for _, conn := range []net.Conn{first, second} {
		say(conn, "two")
		if got, err := hear(conn, 50*time.Millisecond); !os.IsTimeout(err) {
			t.Errorf("over a relay that is cut came %q, %v", got, err)
		}
	}
	r.mend()
	for _, conn := range []net.Conn{first, second} {
		if got, err := hear(conn, time.Minute); got != "two" {
			t.Errorf("after it was mended came %q, %v", got, err)
		}
	}
	r.cut()
	r.close()
	r.close()
	if _, err := hear(first, time.Minute); os.IsTimeout(err) {
		t.Error("a connection outlives its relay")
	}
}

// TestGossipRelay: datagrams come through, and those that are sent while it is cut are lost.
func TestGossipRelay(t *testing.T) {
	member, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	g, err := newGossipRelay(t.Context(), "127.0.0.1:0", member.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	sender, err := net.Dial("udp", g.address())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	hear := func(text string, patience time.Duration) string {
		if _, err := io.WriteString(sender, text); err != nil {
			t.Fatal(err)
		}
		_ = member.SetReadDeadline(time.Now().Add(patience))
		buffer := make([]byte, 10)
		n, _, _ := member.ReadFrom(buffer) // nothing where it is too late
		return string(buffer[:n])
	}
	if got := hear("one", time.Minute); got != "one" {
		t.Errorf("came %q", got)
	}
	g.cut()
	if got := hear("two", 50*time.Millisecond); got != "" {
		t.Errorf("while it is cut came %q", got)
	}
	g.mend()
	if got := hear("three", time.Minute); got != "three" {
		t.Errorf("after it was mended came %q", got)
	}
}
