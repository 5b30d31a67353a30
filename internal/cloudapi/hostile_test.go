package cloudapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http2"
)

// status is google.rpc.Status as the gateway writes it.
func status(code int, message string) string {
	b, err := json.Marshal(map[string]any{"code": code, "message": message, "details": []any{}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestAnswers: for every way of answering, the kind of error, how often a read is sent, and that a
// mutation is sent once.
func TestAnswers(t *testing.T) {
	bomb := gzipped(t, bytes.Repeat([]byte{' '}, 16<<20))
	cluster := `{"id":"` + clusterID + `","accountId":"` + accountID + `"}`
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		read    Kind // of ListClusters; "" succeeds
		sent    int  // of the read
		mutate  Kind // of every mutation
		unknown bool // a mutation may have been done
	}{
		{"401", answering(401, status(16, "unknown key")), Unauthenticated, 1, Unauthenticated, false},
		{"401 without words", answering(401, ""), Unauthenticated, 1, Unauthenticated, false},
		{"403", answering(403, status(7, "Account is not entitled to do the requested action")), Forbidden, 1, Forbidden, false},
		{"404", answering(404, status(5, "cluster not found")), NotFound, 1, NotFound, false},
		{"404 of a proxy", answering(404, "<html><h1>Not Found</h1></html>"), Malformed, 1, Malformed, false},
		{"404 without words", answering(404, ""), Malformed, 1, Malformed, false},
		{"400", answering(400, status(3, "name: too short")), Invalid, 1, Invalid, false},
		{"400 failed precondition", answering(400, status(9, "cluster is suspended")), Conflict, 1, Conflict, false},
		{"422", answering(422, `{"detail":[{"loc":["body","name"],"msg":"too short","type":"x"}]}`), Invalid, 1, Invalid, false},
		{"402", answering(402, status(0, "payment details missing")), Conflict, 1, Conflict, false},
		{"409", answering(409, status(6, "already there")), Conflict, 1, Conflict, false},
		{"429", answering(429, status(8, "slow down")), RateLimited, 3, RateLimited, false},
		{"500", answering(500, status(13, "boom")), Unavailable, 1, Unavailable, false},
		{"501", answering(501, status(12, "not here")), Unavailable, 1, Unavailable, false},
		{"502 in HTML", answering(502, "<html>bad gateway</html>"), Unavailable, 3, Unavailable, true},
		{"503", answering(503, status(14, "later")), Unavailable, 3, Unavailable, false},
		{"504", answering(504, ""), Unavailable, 3, Unavailable, true},
		{"418", answering(418, "{}"), Malformed, 1, Malformed, false},
		{"304", answering(304, ""), Malformed, 1, Malformed, false},
		{"no body", answering(200, ""), Malformed, 1, "", false},
		{"HTML", answering(200, "<html>maintenance</html>"), Malformed, 1, Malformed, true},
		{"truncated JSON", answering(200, `{"items":[`+cluster), Malformed, 1, Malformed, true},
		{"two values", answering(200, `{}{}`), Malformed, 1, Malformed, true},
		{"not UTF-8", answering(200, "{\"items\":[],\"x\":\"\xff\"}"), Malformed, 1, Malformed, true},
		{"nested without end", answering(200, strings.Repeat("[", 1<<20)), Malformed, 1, Malformed, true},
		{"nested and closed", answering(200, strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)), Malformed, 1, Malformed, true},
		{"a list instead of an object", answering(200, `[]`), Malformed, 1, "", false},
		{"items that are no list", answering(200, `{"items":{}}`), Malformed, 1, "", false},
		{"items twice", answering(200, `{"items":[],"items":[]}`), Malformed, 1, "", false},
		{"items that are no clusters", answering(200, `{"items":[1,2]}`), Malformed, 1, "", false},
		{"a cluster without id", answering(200, `{"items":[{"accountId":"`+accountID+`"}]}`), Malformed, 1, "", false},
		{"a cluster with a path for an id", answering(200, `{"items":[{"id":"../../accounts"}]}`), Malformed, 1, "", false},
		{"a cluster of another account", answering(200, `{"items":[{"id":"x","accountId":"`+clusterID+`"}]}`), Malformed, 1, "", false},
		{"a cluster twice", answering(200, `{"items":[`+cluster+`,`+cluster+`]}`), "", 1, "", false},
		{"more nodes than there are", answering(200, `{"items":[{"id":"x","state":{"nodesUp":4000000000}}]}`), "", 1, "", false},
		{"a negative number of nodes", answering(200, `{"items":[{"id":"x","configuration":{"numberOfNodes":"-1"}}]}`), "", 1, "", false},
		{"too many clusters", answering(200, `{"items":[`+manyClusters(maxItems+1)+`]}`), Malformed, 1, "", false},
		{"a token that is no string", answering(200, `{"items":[],"nextPageToken":{}}`), Malformed, 1, "", false},
		{"an endless token", answering(200, `{"items":[],"nextPageToken":"`+strings.Repeat("x", 5000)+`"}`), Malformed, 1, "", false},
		{"a number out of range", answering(200, `{"items":[{"id":"x","y":1e999999}]}`), Malformed, 1, "", false},
		{"a cluster nested too deep", answering(200, `{"items":[{"id":"x","y":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}]}`), Malformed, 1, "", false},
		{"a cluster of too many values", answering(200, `{"items":[{"id":"x","y":[`+strings.Repeat("1,", maxValues)+`1]}]}`), Malformed, 1, "", false},
		{"unasked gzip", compressed(bomb, "gzip"), Malformed, 1, Malformed, true},
		{"unasked brotli", compressed([]byte("{}"), "br"), Malformed, 1, Malformed, true},
		{"endless headers", endlessHeaders, Malformed, 1, Malformed, true},
		{"not HTTP", raw("SSH-2.0-OpenSSH_9.6\r\n\r\n"), Malformed, 1, Malformed, true},
		{"closed before the answer", raw(""), Unavailable, 3, Unavailable, true},
		{"closed within the headers", raw("HTTP/1.1 200 OK\r\nContent-Le"), Unavailable, 3, Unavailable, true},
		{"closed within the body", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\":["), Unavailable, 3, Unavailable, true},
		{"closed within a chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{\"items\":["), Unavailable, 3, Unavailable, true},
		{"reset", reset, Unavailable, 3, Unavailable, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpstream(t, c.handler)
			check := func(call namedCall, kind Kind, sent int) {
				t.Helper()
				before := u.count()
				err := call.do(t.Context(), u)
				if got := u.count() - before; got != sent {
					t.Errorf("%s: sent %d times, want %d", call.name, got, sent)
				}
				if kind == "" {
					if err != nil {
						t.Errorf("%s: %v", call.name, err)
					}
					return
				}
				if err == nil {
					t.Errorf("%s: no error", call.name)
					return
				}
				e := failed(t, err)
				if e.Kind != kind || e.Op.Name != call.op.Name {
					t.Errorf("%s: %s of %s (%v), want %s", call.name, e.Kind, e.Op.Name, e, kind)
				}
				if call.op.Mutates && e.OutcomeUnknown != c.unknown {
					t.Errorf("%s: outcome unknown is %v (%v)", call.name, e.OutcomeUnknown, e)
				}
				if e.Public() == "" || strings.Contains(e.Public(), "<") {
					t.Errorf("%s: public words %q", call.name, e.Public())
				}
			}
			check(oneRead, c.read, c.sent)
			mutations := everyMutation
			if c.mutate == "" {
				mutations = mutations[:1] // what only a reader minds need not be tried in every way
			}
			for _, call := range mutations {
				check(call, c.mutate, 1)
			}
		})
	}
}

func manyClusters(n int) string {
	clusters := make([]string, n)
	for i := range clusters {
		clusters[i] = fmt.Sprintf(`{"id":"c%d"}`, i)
	}
	return strings.Join(clusters, ",")
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(body []byte, encoding string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		_, _ = w.Write(body)
	}
}

func endlessHeaders(w http.ResponseWriter, _ *http.Request) {
	for i := range 2000 {
		w.Header().Set(fmt.Sprintf("X-Header-%d", i), strings.Repeat("x", 1000))
	}
	answer(w, 200, `{"items":[]}`)
}

// raw writes bytes instead of an answer and closes the connection.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}
}

func reset(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// TestDeadline: an upstream that hangs, before or within the answer, holds a call no longer than the
// client's timeout, which covers everything.
func TestDeadline(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, handler := range map[string]http.HandlerFunc{
		"hang": hang,
		"hang after the headers": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		},
		"drip": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
		"drip of an error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, handler, func(c *Config) { c.ReadTimeout, c.WriteTimeout = 100*time.Millisecond, 150*time.Millisecond })
			for _, call := range append([]namedCall{oneRead}, everyMutation...) {
				begun := time.Now()
				e := failed(t, call.do(t.Context(), u))
				if took := time.Since(begun); took > 3*time.Second {
					t.Errorf("%s took %s", call.name, took)
				}
				if e.Kind != Unavailable || e.Status == 0 && !e.Timeout || e.Status != 500 && !e.OutcomeUnknown {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
			if u.count() != 1+len(everyMutation) {
				t.Errorf("%d requests", u.count())
			}
		})
	}
}

// TestHugeAnswer: an answer without end costs a bounded amount of memory.
func TestHugeAnswer(t *testing.T) {
	chunk := bytes.Repeat([]byte("1,"), 512<<10)
	for _, code := range []int{200, 500} {
		u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"items":[`)
			for range 512 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e := failed(t, oneRead.do(t.Context(), u))
		runtime.ReadMemStats(&after)
		if want := map[int]Kind{200: Malformed, 500: Unavailable}[code]; e.Kind != want || e.Status != code {
			t.Errorf("%d: %v", code, e)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 64 {
			t.Errorf("%d: %d MiB were allocated for an answer of which 8 MiB count", code, allocated)
		}
	}
}

// TestLargestAnswer: what is within the limit is taken, one byte more is not.
func TestLargestAnswer(t *testing.T) {
	for _, c := range []struct {
		size int
		kind Kind
	}{{1000, ""}, {1001, Malformed}} {
		body := `{"items":[]` + strings.Repeat(" ", c.size-len(`{"items":[]}`)) + `}`
		u := newUpstream(t, answering(200, body), func(cfg *Config) { cfg.MaxBody = 1000 })
		err := oneRead.do(t.Context(), u)
		if c.kind == "" {
			if err != nil {
				t.Errorf("%d bytes: %v", c.size, err)
			}
			continue
		}
		if e := failed(t, err); e.Kind != c.kind {
			t.Errorf("%d bytes: %v", c.size, e)
		}
	}
}

// TestRedirects are never followed: the key stays here.
func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.URL + "/x?key=1", "/elsewhere", "//" + strings.TrimPrefix(other.URL, "http://"), "javascript:alert(1)", "::", ""} {
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(code)
			})
			for _, call := range append([]namedCall{oneRead}, everyMutation...) {
				e := failed(t, call.do(t.Context(), u))
				if e.Kind != Malformed || e.Status != code || !strings.Contains(e.Public(), "redirect") || strings.Contains(e.Public(), "key=1") {
					t.Errorf("%d to %q: %v", code, location, e)
				}
			}
			if u.count() != 1+len(everyMutation) {
				t.Errorf("%d to %q: %d requests", code, location, u.count())
			}
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("%d requests went where the redirect pointed", elsewhere.Load())
	}
}

// TestRetryAfter: what fits in the deadline is waited for, the rest is told.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for header, c := range map[string]struct {
		told time.Duration
		sent int
	}{
		"":     {0, 3},
		"0":    {0, 3},
		"-5":   {0, 3},
		"soon": {0, 3},
		"1.5":  {0, 3},
		now.Add(-time.Hour).Format(http.TimeFormat): {0, 3},
		"60":   {time.Minute, 1},
		" 60 ": {time.Minute, 1},
		now.Add(90 * time.Second).Format(http.TimeFormat): {90 * time.Second, 1},
		"86401":                      {24 * time.Hour, 1},
		"99999999999999999999999999": {24 * time.Hour, 1},
		now.AddDate(500, 0, 0).Format(http.TimeFormat): {24 * time.Hour, 1},
	} {
		for _, code := range []int{429, 503} {
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				if header != "" {
					w.Header().Set("Retry-After", header)
				}
				answer(w, code, status(8, "slow down"))
			}, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
			e := failed(t, oneRead.do(t.Context(), u))
			if e.RetryAfter != c.told || u.count() != c.sent {
				t.Errorf("%d with %q: told %s and sent %d times, want %s and %d", code, header, e.RetryAfter, u.count(), c.told, c.sent)
			}
		}
	}
}

// TestRecovery: a read that fails twice and then works, works.
func TestRecovery(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{"503": answering(503, ""), "429": answering(429, ""), "closed": raw(""), "reset": reset} {
		var n atomic.Int32
		u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) <= 2 {
				first(w, r)
				return
			}
			answer(w, 200, `{"items":[]}`)
		})
		if err := oneRead.do(t.Context(), u); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoReplayHTTP1: a mutation on a connection that served before, read by a server that then closes
// it, is not sent again by net/http.
func TestNoReplayHTTP1(t *testing.T) {
	for _, call := range everyMutation {
		var n atomic.Int32
		u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				answer(w, 200, `{"items":[]}`) // leaves a connection to be used again
				return
			}
			raw("")(w, r)
		})
		if err := oneRead.do(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		e := failed(t, call.do(t.Context(), u))
		if e.Kind != Unavailable || !e.OutcomeUnknown {
			t.Errorf("%s: %+v", call.name, e)
		}
		if n.Load() != 2 {
			t.Errorf("%s was sent %d times", call.name, n.Load()-1)
		}
	}
}

// TestNoReplayHTTP2: nor over HTTP/2, where net/http sends what has no body again after a server says
// PROTOCOL_ERROR, though the server may have done the work by then.
func TestNoReplayHTTP2(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeProtocol, http2.ErrCodeRefusedStream, http2.ErrCodeInternal} {
		for _, call := range everyMutation {
			u, got := newHTTP2Upstream(t, code)
			e := failed(t, call.do(t.Context(), u))
			if e.Kind != Unavailable || !e.OutcomeUnknown || !strings.Contains(e.Error(), "not sent again") && code != http2.ErrCodeInternal {
				t.Errorf("%s, %s: %+v", code, call.name, e)
			}
			if got.streams.Load() != 1 {
				t.Errorf("%s: %s was sent %d times", code, call.name, got.streams.Load())
			}
			if bodies := got.data.Load(); (bodies > 0) != call.op.Body {
				t.Errorf("%s: %s has a body in %d frames, want one: %v", code, call.name, bodies, call.op.Body)
			}
		}
	}
	u, got := newHTTP2Upstream(t, http2.ErrCodeProtocol)
	if e := failed(t, oneRead.do(t.Context(), u)); e.Kind != Unavailable || e.Timeout {
		t.Errorf("read: %+v", e)
	}
	if n := got.streams.Load(); n != maxAttempts {
		t.Errorf("the read was sent %d times, want %d", n, maxAttempts)
	}
}

// TestBodyOnTheWire: over HTTP/1.1 a mutation has a body of known length, or none at all; never a
// chunked one, which gateways refuse for a DELETE.
func TestBodyOnTheWire(t *testing.T) {
	for _, call := range everyMutation {
		u := newUpstream(t, answering(200, "{}"))
		if err := call.do(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		r, body := u.request(0)
		if len(r.TransferEncoding) > 0 || r.ContentLength != int64(len(body)) || (body != "") != call.op.Body {
			t.Errorf("%s: encoding %q, length %d, body %q", call.name, r.TransferEncoding, r.ContentLength, body)
		}
	}
}

// http2Arrivals counts what an HTTP/2 server read.
type http2Arrivals struct{ streams, data atomic.Int32 }

// newHTTP2Upstream reads whole requests, counts them and answers each with RST_STREAM.
func newHTTP2Upstream(t *testing.T, code http2.ErrCode) (*testUpstream, *http2Arrivals) {
	t.Helper()
	got := &http2Arrivals{}
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{NextProtos: []string{"h2"}}
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
			if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			framer := http2.NewFramer(c, c)
			_ = framer.WriteSettings()
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					return
				}
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						_ = framer.WriteSettingsAck()
					}
				case *http2.HeadersFrame:
					got.streams.Add(1)
					if frame.StreamEnded() {
						_ = framer.WriteRSTStream(frame.StreamID, code)
					}
				case *http2.DataFrame:
					got.data.Add(1)
					if frame.StreamEnded() {
						_ = framer.WriteRSTStream(frame.StreamID, code)
					}
				}
			}
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	u := &testUpstream{t: t, server: server, registry: newRegistry(), logs: &lockedBuffer{}}
	u.connectTo(server.URL, server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	return u, got
}

// TestTLS: the key is sent to nobody who cannot prove the name, or speaks what is too old.
func TestTLS(t *testing.T) {
	var reached atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		answer(w, 200, fmt.Sprintf(`{"items":[],"nextPageToken":"HTTP/%d"}`, r.ProtoMajor))
	})
	start := func(settings *tls.Config) (*httptest.Server, *testUpstream) {
		server := httptest.NewUnstartedServer(handler)
		server.TLS, server.EnableHTTP2 = settings, true
		server.Config.ErrorLog = discardLog()
		server.StartTLS()
		t.Cleanup(server.Close)
		return server, &testUpstream{t: t, server: server, registry: newRegistry(), logs: &lockedBuffer{}}
	}
	server, u := start(nil)
	u.connectTo(server.URL, nil)
	if e := failed(t, oneRead.do(t.Context(), u)); e.Kind != Unavailable || e.OutcomeUnknown || !strings.Contains(e.Error(), "certificate") {
		t.Errorf("unknown authority: %v", e)
	}
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	old, u := start(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	u.connectTo(old.URL, roots)
	if e := failed(t, oneRead.do(t.Context(), u)); e.Kind != Unavailable || e.OutcomeUnknown {
		t.Errorf("TLS 1.1: %v", e)
	}
	if reached.Load() != 0 {
		t.Errorf("%d requests were sent", reached.Load())
	}
	good, u := start(nil)
	u.connectTo(good.URL, roots)
	page, err := NewCurrentAPI(u.conn(Current)).ListClusters(t.Context(), "")
	if err != nil || page.Next != "HTTP/2" {
		t.Errorf("%+v, %v, want an answer over HTTP/2", page, err)
	}
}

// TestNotReached: nobody listens, so nothing can have been done.
func TestNotReached(t *testing.T) {
	u := newUpstream(t, answering(200, "{}"))
	u.server.Close()
	for _, call := range append([]namedCall{oneRead}, everyMutation...) {
		if e := failed(t, call.do(t.Context(), u)); e.Kind != Unavailable || e.OutcomeUnknown || e.Timeout || e.Status != 0 {
			t.Errorf("%s: %+v", call.name, e)
		}
	}
}

// TestRepeatedKey: an upstream that sends the key back everywhere it can does not get it anywhere.
func TestRepeatedKey(t *testing.T) {
	repeat := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			key := strings.TrimPrefix(r.Header.Get("Authorization"), "apikey ")
			w.Header().Set("Qc-Trace-Id", key)
			w.Header().Set("Retry-After", key)
			w.Header().Set("Location", "https://"+canarySecret+"/"+key)
			answer(w, code, strings.ReplaceAll(strings.ReplaceAll(body, "KEY", key), "PART", canarySecret))
		}
	}
	escaped := `\u0043` + canarySecret[1:] // spelt so that the body's bytes do not hold it
	for _, code := range []int{200, 302, 400, 401, 403, 404, 418, 422, 429, 500, 503} {
		for _, body := range []string{
			`{"code":3,"message":"KEY","details":[{"fieldViolations":[{"field":"KEY","description":"PART"}]}]}`,
			`{"detail":[{"loc":["KEY"],"msg":"KEY"}]}`, `{"message":"` + escaped + `"}`, `{"x":["` + escaped + `"]}`, `{"message":"` + strings.Repeat("x", 270) + `KEY"}`, `{"x":"PART"}`, `"KEY"`, `KEY`, `<html>KEY</html>`,
			`{"items":[{"id":"x","name":"KEY","labels":[{"key":"a","value":"PART"}]}]}`,
		} {
			u := newUpstream(t, repeat(code, body))
			conn := u.conn(Current)
			page, err := NewCurrentAPI(conn).ListClusters(t.Context(), "")
			assertClean(t, "clusters", fmt.Sprintf("%+v", page))
			for _, cluster := range page.Clusters {
				assertClean(t, "raw", string(cluster.Raw))
			}
			if err != nil {
				_ = failed(t, err)
			}
			for _, call := range conn.Calls() {
				assertClean(t, "calls", fmt.Sprintf("%+v", call))
			}
		}
	}
	u := newUpstream(t, raw("HTTP/9.9 "+canaryKey+"\r\n\r\n"))
	_ = failed(t, oneRead.do(t.Context(), u))
}

// TestUpstreamsWords: messages, fields and trace ids of every form, bounded and printable.
func TestUpstreamsWords(t *testing.T) {
	long := strings.Repeat("wordы ", 2000)
	for _, c := range []struct {
		name, body, message string
		code                int
		fields              []FieldError
	}{
		{"status", `{"code":3,"message":"name is taken","details":[]}`, "name is taken", 3, nil},
		{"BadRequest", `{"code":3,"message":"invalid","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"cluster.name","description":"too short"}]}]}`,
			"invalid", 3, []FieldError{{"cluster.name", "too short"}}},
		{"BadRequest in snake_case", `{"code":"3","message":"invalid","details":[{"field_violations":[{"field":"a","description":"b"}]}]}`,
			"invalid", 3, []FieldError{{"a", "b"}}},
		{"protovalidate", `{"code":3,"message":"m","details":[{"@type":"type.googleapis.com/buf.validate.Violations","violations":[{"field":{"elements":[{"fieldName":"cluster"},{"fieldName":"name"}]},"ruleId":"string.min_len","message":"at least 2"}]}]}`,
			"m", 3, []FieldError{{"cluster.name", "at least 2"}}},
		{"FastAPI", `{"detail":[{"loc":["body","items",0,"name"],"msg":"field required","type":"missing"},{"loc":["query","x"],"msg":"y"}]}`,
			"items.0.name: field required", 0, []FieldError{{"items.0.name", "field required"}, {"x", "y"}}},
		{"FastAPI text", `{"detail":"Not authenticated"}`, "Not authenticated", 0, nil},
		{"error object", `{"error":{"message":"inner"}}`, "inner", 0, nil},
		{"other JSON", `{"errors": ["E1015"]}`, `{"errors":["E1015"]}`, 0, nil},
		{"JSON string", `"nope"`, `"nope"`, 0, nil},
		{"empty object", `{}`, "", 0, nil},
		{"null", `null`, "null", 0, nil},
		{"HTML", `<html><script>alert(1)</script></html>`, "", 0, nil},
		{"control characters", `{"message":"a\u0000b\u001b[31m\nc\u202ed\t\u2028"}`, `a\ufffdb\u001b[31m\nc\u202ed`, 0, nil},
		{"code out of range", `{"code":12345,"message":"m"}`, "m", 0, nil},
		{"code that is no number", `{"code":{"a":1},"message":"m","details":"x","detail":{"y":[]}}`, "m", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpstream(t, answering(400, c.body))
			e := failed(t, oneRead.do(t.Context(), u))
			if e.Message != c.message || e.Code != c.code || !slices.Equal(e.Fields, c.fields) {
				t.Errorf("message %q, code %d, fields %q", e.Message, e.Code, e.Fields)
			}
		})
	}
	body, err := json.Marshal(map[string]any{"code": 3, "message": long, "details": []any{map[string]any{
		"fieldViolations": slices.Repeat([]any{map[string]string{"field": long[:400], "description": long[:800]}}, 40)}}})
	if err != nil {
		t.Fatal(err)
	}
	u := newUpstream(t, answering(400, string(body)))
	e := failed(t, oneRead.do(t.Context(), u))
	if utf8.RuneCountInString(e.Public()) != 300 || !strings.HasSuffix(e.Public(), "…") || len(e.Fields) != 20 {
		t.Errorf("%d runes, %d fields", utf8.RuneCountInString(e.Public()), len(e.Fields))
	}
}

// TestClean: exactly at the bound nothing is lost, and an escape is never cut in two.
func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"12345", "12345"},
		{"123456", "1234…"},
		{"ыыыыыы", "ыыыы…"},
		{"123\x1b", "123…"},
		{"1234\n", "1234"},
		{"12\n34", `12\n…`},
		{"", ""},
		{"  a  ", "a"},
	} {
		if got := clean(c.in, 5); got != c.want {
			t.Errorf("clean(%q) is %q, want %q", c.in, got, c.want)
		}
	}
}

// TestTraceID: under every name it may have, never as a way to write into a log.
func TestTraceID(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		want   string
	}{
		"legacy":        {map[string]string{"x-qd-request-id": "a1"}, "a1"},
		"current":       {map[string]string{"Qc-Trace-Id": "b2", "Grpc-Metadata-X": "no"}, "b2"},
		"metadata":      {map[string]string{"Grpc-Metadata-Content-Type": "application/grpc", "Grpc-Metadata-Qc-Trace-Id": "c3"}, "c3"},
		"trailer":       {map[string]string{"Grpc-Trailer-Qc-Trace-Id": "d4"}, "d4"},
		"another":       {map[string]string{"X-B3-Trace-Id": "e5", "Grpc-Metadata-A": "no"}, "e5"},
		"any metadata":  {map[string]string{"Grpc-Metadata-Content-Type": "application/grpc", "Grpc-Metadata-Call": "f6"}, "f6"},
		"none":          {map[string]string{"Grpc-Metadata-Content-Type": "application/grpc", "Date": "x"}, ""},
		"spaces":        {map[string]string{"Qc-Trace-Id": "a b\tc"}, "abc"},
		"beyond ASCII":  {map[string]string{"Qc-Trace-Id": "aé\u202eb"}, "ab"},
		"without end":   {map[string]string{"Qc-Trace-Id": strings.Repeat("x", 1000)}, strings.Repeat("x", 128)},
		"http trailers": {map[string]string{http.TrailerPrefix + "Qc-Trace-Id": "g7"}, "g7"},
	} {
		u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			w.Header().Set("Trailer", "X")
			answer(w, 403, `{"message":"no"}`)
		})
		if e := failed(t, oneRead.do(t.Context(), u)); e.TraceID != c.want {
			t.Errorf("%s: %q, want %q", name, e.TraceID, c.want)
		}
	}
}

// FuzzDecodeError: whatever an error answers, it is classified and its words can be shown.
func FuzzDecodeError(f *testing.F) {
	f.Add(400, status(3, "bad"))
	f.Add(404, `{"code":5}`)
	f.Add(404, "<html>")
	f.Add(422, `{"detail":[{"loc":["body",1,null,{}],"msg":"\u0000"}]}`)
	f.Add(302, "\xff\xfe\x00")
	f.Add(503, strings.Repeat("[", 100))
	f.Add(200, `{"details":[{"violations":[{"field":{"elements":[{"fieldName":"x"}]}}]}]}`)
	client, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	conn := client.Connect(ConnConfig{Generation: Current})
	f.Fuzz(func(t *testing.T, code int, body string) {
		e := conn.refusal(OpListClusters, Answer{Status: code}, http.Header{"Location": {body}, "Retry-After": {body}}, []byte(body), func(s string) string { return s })
		if e.Kind == "" || e.Public() == "" || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter || len(e.Fields) > maxFields {
			t.Fatalf("%+v", e)
		}
		texts := []string{e.Public(), e.Message}
		for _, field := range e.Fields {
			texts = append(texts, field.Field, field.Message)
		}
		for _, text := range texts {
			if utf8.RuneCountInString(text) > maxMessageRunes || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
				t.Fatalf("%q cannot be shown", text)
			}
		}
	})
}

// FuzzFillPath: no parameter changes the shape of a path.
func FuzzFillPath(f *testing.F) {
	for _, s := range []string{"x", "..", "a/b", "%2e%2e", "a?b#c", "\x00", "ы", ";x=y", "a\\b", "{cluster_id}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		path, err := fillPath(OpRestartCluster.Path, accountID, Params{"cluster_id": id})
		if err != nil {
			return
		}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://api.example.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(r.URL.EscapedPath(), "/")
		if len(parts) != 9 || parts[8] != "restart" || r.URL.RawQuery != "" || r.URL.Fragment != "" || r.URL.Host != "api.example.test" {
			t.Fatalf("%q became %q", id, r.URL)
		}
		if !strings.HasSuffix(r.URL.Path, "/clusters/"+id+"/restart") {
			t.Fatalf("%q arrives as %q", id, r.URL.Path)
		}
	})
}
