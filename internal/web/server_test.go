package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listenOn serves the console on loopback with one of its limits made short.
func (c *console) listenOn(change func(*http.Server)) (address string) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	server := c.HTTPServer("")
	change(server)
	go func() { _ = server.Serve(l) }()
	c.t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// TestSlowBody sends the body of a signed-in form byte by byte. It is cut off, an answer says that the form cannot be read, and
// no connection to the database waits for it.
func TestSlowBody(t *testing.T) {
	c, db := newFullConsole(t)
	const limit = 500 * time.Millisecond
	address := c.listenOn(func(s *http.Server) { s.ReadTimeout, s.ReadHeaderTimeout = limit, limit })
	for path, body := range map[string]string{"/accounts": "generation=current&name=" + strings.Repeat("x", 500), "/logout": strings.Repeat("x", 500)} {
		b := c.as("admins") // a session each: one of the two ends it
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		begun := time.Now()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\nCookie: %s=%s\r\nContent-Length: %d\r\n\r\n",
			path, c.base.host, c.cookies.session, b.cookie(c.cookies.session), len(body))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			for i := 0; i < len(body); i++ {
				if _, err := conn.Write([]byte{body[i]}); err != nil {
					return
				}
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if n := db.Pool.Stat().AcquiredConns(); n > 0 && i > 5 && i < 15 {
					t.Errorf("%s: %d connections to the database wait for the body", path, n)
				}
			}
		}()
		_ = conn.SetReadDeadline(time.Now().Add(10 * limit))
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
		}
		close(ended)
		if took := time.Since(begun); err != nil || took > 5*limit {
			t.Fatalf("%s: %v after %s", path, err, took)
		}
		if want := map[string]int{"/accounts": http.StatusBadRequest, "/logout": http.StatusSeeOther}[path]; answer.StatusCode != want || !answer.Close {
			t.Errorf("%s: %d, and the connection stays: %t; want %d", path, answer.StatusCode, !answer.Close, want)
		}
	}
}

// TestUnusedConnections: one that is silent is ended, before its first request and after it.
func TestUnusedConnections(t *testing.T) {
	c := newConsole(t)
	const limit = 300 * time.Millisecond
	address := c.listenOn(func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = limit, limit })
	for name, first := range map[string]string{"silent": "", "idle": "GET /healthz HTTP/1.1\r\nHost: " + c.base.host + "\r\n\r\n"} {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, first); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryListenerHasLimits: a server without one of them can be held up, or filled, for ever.
func TestEveryListenerHasLimits(t *testing.T) {
	c := newConsole(t)
	for name, s := range map[string]*http.Server{"console": c.HTTPServer(""), "metrics": c.MetricsServer()} {
		if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestServerLogIsQuiet(t *testing.T) {
	c := newConsole(t)
	log := c.errorLog()
	for range 1000 {
		log.Printf("http: Accept error: accept tcp: accept4: too many open files; retrying in 5ms")
		log.Printf("http: TLS handshake error from 192.0.2.1:1: EOF")
	}
	log.Printf("http: something else")
	for what, want := range map[string]int{`"level":"WARN","msg":"connections cannot be accepted now`: 1, `"level":"DEBUG","msg":"http: TLS handshake error`: 1000, `"level":"WARN","msg":"http: something else`: 1} {
		if n := strings.Count(c.logs.String(), what); n != want {
			t.Errorf("%d lines of %s, want %d", n, what, want)
		}
	}
	c.clock.advance(quietTime)
	log.Printf("http: Accept error: again")
	c.clock.advance(-24 * time.Hour) // a clock that was set back must not silence it for a day
	log.Printf("http: Accept error: again")
	if n := strings.Count(c.logs.String(), "cannot be accepted"); n != 3 {
		t.Errorf("%d lines after a minute and a day back", n)
	}
}
