package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What is promised to the others while somebody floods the console.
const (
	othersWait  = 3 * time.Second // longest wait for a page, on a busy machine
	floodMemory = 128 << 20       // bytes by which resident memory may grow
)

// flooded is a serve over https that is attacked, and a member who goes on working.
type flooded struct {
	*servedProcess
	member *visitor
}

func (f *flooded) client() *tls.Config {
	config := f.probe.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil // what the probe speaks is its own affair
	return config
}

// dial opens a connection that has shaken hands. protocol is h2 or http/1.1.
func (f *flooded) dial(t *testing.T, protocol string) *tls.Conn {
	t.Helper()
	config := f.client()
	config.NextProtos = []string{protocol}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", mustURL(f.base).Host, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// othersAreServed asks for a page as the member, on the connection they have and on a new one, and
// for the metrics.
func (f *flooded) othersAreServed(t *testing.T, during string) {
	t.Helper()
	stranger := &http.Client{Timeout: 2 * othersWait, Transport: &http.Transport{TLSClientConfig: f.client(), DisableKeepAlives: true}}
	for what, ask := range map[string]func() (int, error){
		"a member's page": func() (int, error) { return f.member.get("/clusters").status, nil },
		"a new connection": func() (int, error) {
			answer, err := stranger.Get(f.base + "/login")
			if err != nil {
				return 0, err
			}
			return answer.StatusCode, answer.Body.Close()
		},
		"/metrics": func() (int, error) {
			answer, err := (&http.Client{Timeout: 2 * othersWait, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + f.metrics + "/metrics")
			if err != nil {
				return 0, err
			}
			return answer.StatusCode, answer.Body.Close()
		},
	} {
		begun := time.Now()
		status, err := ask()
		if took := time.Since(begun); err != nil || status != http.StatusOK || took > othersWait {
			t.Errorf("during %s: %s: %d after %s: %v", during, what, status, took, err)
		}
	}
}

func TestBadDaysOfTheNetwork(t *testing.T) {
	s := prepareServeOver(t, "https")
	variables := s.serveTLS()
	f := &flooded{servedProcess: s.startProcess(binary(t), 0, s.with(nil, append(variables, "QM_LOG_LEVEL", "info")...))}
	f.member = f.signInAs(t, admin)
	f.othersAreServed(t, "a quiet day")
	before := f.metric(t, "process_resident_memory_bytes")
	goroutines, files := f.metric(t, "go_goroutines"), f.metric(t, "process_open_fds")
	for _, day := range []struct {
		name string
		bad  func(*testing.T, *flooded)
	}{
		{"20 MB of headers", bigHeaders},
		{"20 MB of headers over HTTP/2", bigHeadersHTTP2},
		{"a flood of CONTINUATION frames", continuationFlood},
		{"20 MB of headers for the metrics", bigHeadersMetrics},
		{"slowloris", slowloris},
		{"1,000 idle connections", idleConnections},
		{"1,000 half-open connections", halfOpenConnections},
	} {
		t.Run(day.name, func(t *testing.T) {
			day.bad(t, f)
			f.othersAreServed(t, "the day after "+day.name)
			if grown := f.metric(t, "process_resident_memory_bytes") - before; grown > floodMemory {
				t.Errorf("resident memory grew by %.0f MiB", grown/(1<<20))
			} else {
				t.Logf("resident memory: %.0f MiB, %+.0f MiB", (before+grown)/(1<<20), grown/(1<<20))
			}
		})
	}
	waitUntil(t, "goroutines and descriptors are as few as before", func() bool {
		return f.metric(t, "go_goroutines") <= goroutines+10 && f.metric(t, "process_open_fds") <= files+10
	})
}

// bigHeaders sends 20 MB in one header and in very many.
func bigHeaders(t *testing.T, f *flooded) {
	for name, line := range map[string]string{
		"one":  "X-Big: " + strings.Repeat("x", 20<<20) + "\r\n",
		"many": strings.Repeat("X-Small: 0123456789\r\n", 20<<20/21),
	} {
		conn := f.dial(t, "http/1.1")
		wantRefusal(t, name, conn, "GET /login HTTP/1.1\r\nHost: "+mustURL(f.base).Host+"\r\n"+line+"\r\n")
	}
}

func bigHeadersMetrics(t *testing.T, f *flooded) {
	conn, err := net.DialTimeout("tcp", f.metrics, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wantRefusal(t, "metrics", conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("x", 20<<20)+"\r\n\r\n")
}

// wantRefusal sends a request that is too big and expects 431 or the end of the connection, long before all of
// it was taken.
func wantRefusal(t *testing.T, name string, conn net.Conn, request string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	begun := time.Now()
	taken := make(chan int, 1)
	go func() {
		n, _ := io.Copy(conn, strings.NewReader(request)) // the other side hangs up; that is the point
		taken <- int(n)
	}()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s: the answer is %d", name, answer.StatusCode)
	}
	_ = conn.Close()
	if n := <-taken; n >= len(request) {
		t.Errorf("%s: all %d bytes were taken", name, n)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%s: it took %s", name, took)
	}
	t.Logf("%s: %v after %s", name, err, time.Since(begun).Round(time.Millisecond))
}

// bigHeadersHTTP2 sends a complete block of 20 MB, in which each field is small.
func bigHeadersHTTP2(t *testing.T, f *flooded) {
	var block bytes.Buffer
	fields := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: mustURL(f.base).Host}, {Name: ":path", Value: "/login"}} {
		if err := fields.WriteField(h); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; block.Len() < 20<<20; i++ {
		if err := fields.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("é", 500), Sensitive: true}); err != nil {
			t.Fatal(err)
		}
	}
	sent := sendBlock(t, f.dial(t, "h2"), func() []byte { return block.Next(16 << 10) }, true)
	if sent >= 20<<20 {
		t.Errorf("all %d bytes were taken", sent)
	}
	t.Logf("%d bytes were taken", sent)
}

// continuationFlood never ends a block of headers.
func continuationFlood(t *testing.T, f *flooded) {
	var block bytes.Buffer
	fields := hpack.NewEncoder(&block)
	if err := fields.WriteField(hpack.HeaderField{Name: "x", Value: "y", Sensitive: true}); err != nil {
		t.Fatal(err)
	}
	piece := bytes.Repeat(block.Bytes(), 16<<10/block.Len())
	sent := sendBlock(t, f.dial(t, "h2"), func() []byte { return piece }, false)
	t.Logf("%d bytes were taken", sent)
	if sent >= 20<<20 {
		t.Errorf("%d bytes were taken", sent)
	}
}

// sendBlock sends a block of headers in frames until it ends, the other side hangs up, or 20 MB are sent.
// It returns how many bytes were taken. ends says whether the last frame says that it is the last.
func sendBlock(t *testing.T, conn *tls.Conn, next func() []byte, ends bool) (sent int) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() {
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				over <- err
				return
			}
			switch frame := frame.(type) {
			case *http2.GoAwayFrame:
				over <- fmt.Errorf("GOAWAY %s", frame.ErrCode)
				return
			case *http2.RSTStreamFrame, *http2.HeadersFrame:
				over <- errors.New("an answer")
				return
			}
		}
	}()
	piece := next()
	err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: piece, EndStream: true})
	for err == nil && sent < 20<<20 {
		sent += len(piece)
		select {
		case end := <-over:
			t.Logf("after %d bytes: %v", sent, end)
			return sent
		default:
		}
		if piece = next(); len(piece) == 0 {
			break
		}
		err = framer.WriteContinuation(1, ends && len(piece) < 16<<10, piece)
	}
	return sent
}

// slowloris sends the headers of 200 requests byte by byte. They are ended five seconds after they began.
func slowloris(t *testing.T, f *flooded) {
	var all sync.WaitGroup
	begun := time.Now()
	address := map[string]func() net.Conn{
		"console": func() net.Conn { return f.dial(t, "http/1.1") },
		"metrics": func() net.Conn {
			conn, err := net.DialTimeout("tcp", f.metrics, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		},
	}
	for name, dial := range address {
		for range 100 {
			conn := dial()
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				ended := make(chan struct{})
				go func() {
					_, _ = io.Copy(io.Discard, conn)
					close(ended)
				}()
				if _, err := io.WriteString(conn, "GET /login HTTP/1.1\r\nHost: "+mustURL(f.base).Host+"\r\nX: "); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-ended:
						return
					case <-tick.C:
						_, _ = io.WriteString(conn, "x")
					}
					if time.Since(begun) > 15*time.Second {
						t.Errorf("%s: it is still listened to after %s", name, time.Since(begun))
						return
					}
				}
			})
		}
	}
	for range 3 {
		f.othersAreServed(t, "slowloris")
	}
	all.Wait()
	t.Logf("all ended after %s", time.Since(begun).Round(time.Millisecond))
}

// idleConnections keeps 1,000 connections that have asked once, on each listener.
func idleConnections(t *testing.T, f *flooded) {
	request := "GET /healthz HTTP/1.1\r\nHost: " + mustURL(f.base).Host + "\r\n\r\n"
	for range 1000 {
		conn := f.dial(t, "http/1.1")
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		plain, err := net.DialTimeout("tcp", f.metrics, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = plain.Close() })
		if _, err := io.WriteString(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	f.othersAreServed(t, "1,000 idle connections")
	if n := f.metric(t, "process_open_fds"); n < 2000 {
		t.Errorf("only %.0f descriptors are open: the connections were not kept", n)
	}
}

// halfOpenConnections opens 1,000 connections that say nothing, or not all of a handshake. They are ended five seconds
// after they began, and not told of one by one.
func halfOpenConnections(t *testing.T, f *flooded) {
	lines := strings.Count(f.output.String(), "\n")
	begun := time.Now()
	var conns []net.Conn
	for i := range 1000 {
		for _, at := range []string{mustURL(f.base).Host, f.metrics} {
			conn, err := net.DialTimeout("tcp", at, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			if i%2 == 0 {
				_, _ = conn.Write([]byte{0x16, 0x03})
			}
		}
	}
	f.othersAreServed(t, "1,000 half-open connections")
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is still open after %s", i, time.Since(begun))
		}
		_ = conn.Close()
	}
	t.Logf("all ended after %s", time.Since(begun).Round(time.Millisecond))
	if more := strings.Count(f.output.String(), "\n") - lines; more > 20 {
		t.Errorf("%d lines were logged", more)
	}
}

// TestTooFewDescriptors runs the console with hardly any descriptors and opens more connections than it can
// have: it says so once, and goes on when they are closed.
func TestTooFewDescriptors(t *testing.T) {
	s := prepareServe(t)
	p := s.startProcess(binary(t), 60, s.with(nil))
	v := s.signInAs(t, admin)
	for range 20 {
		if got := v.get("/clusters"); got.status != http.StatusOK {
			t.Fatalf("with few descriptors the fleet answers %d", got.status)
		}
	}
	var conns []net.Conn
	for range 110 { // the kernel takes those that the console does not
		conn, err := net.DialTimeout("tcp", mustURL(s.base).Host, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	const told = "connections cannot be accepted now"
	waitUntil(t, "the console says that it has too few descriptors", func() bool { return strings.Contains(s.output.String(), told) })
	// Nobody who is silent stays: the last of them is served while all the others keep their side open.
	last := conns[len(conns)-1]
	_ = last.SetDeadline(time.Now().Add(soon))
	if _, err := io.WriteString(last, "GET /healthz HTTP/1.1\r\nHost: "+mustURL(s.base).Host+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(last), nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the last of 110 connections: %v %v", answer, err)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	waitUntil(t, "the console is ready again", func() bool {
		answer, err := s.probe.Get(s.base + "/readyz")
		return err == nil && errors.Join(answer.Body.Close()) == nil && answer.StatusCode == http.StatusOK
	})
	if got := v.get("/clusters"); got.status != http.StatusOK {
		t.Errorf("afterwards the fleet answers %d", got.status)
	}
	if n := strings.Count(s.output.String(), told); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, s.output)
	}
	if limit := p.metric(t, "process_max_fds"); limit != 60 {
		t.Errorf("the limit was %.0f descriptors", limit)
	}
}
