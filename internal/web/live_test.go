package web

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// liveEvent is one server-sent event.
type liveEvent struct{ id, name, data string }

// liveStream is an open stream, as a browser reads it.
type liveStream struct {
	t      *testing.T
	status int
	header http.Header
	events chan liveEvent // closed when the stream ends
}

// liveServer serves the console over a real connection, with time limits as short as a page's are long.
func (c *console) liveServer() string {
	c.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = c.HTTPServer("")
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 300*time.Millisecond
	server.Start()
	c.t.Cleanup(server.CloseClientConnections)
	c.t.Cleanup(server.Close)
	return server.URL
}

// runs has the console's domain at work until the test ends.
func (c *console) runs() {
	c.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.accounts.Run(ctx) }()
	c.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
}

// stream opens a stream; last is its Last-Event-ID, or nothing.
func (b *browser) stream(server, last string) *liveStream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+pathLive, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Host = b.base.host
	for _, cookie := range b.jar.Cookies(b.at) {
		r.AddCookie(cookie)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	s := &liveStream{t: b.t, status: answer.StatusCode, header: answer.Header, events: make(chan liveEvent, 100)}
	go func() {
		defer close(s.events)
		defer func() { _ = answer.Body.Close() }()
		var e liveEvent
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				s.events <- e
				e = liveEvent{}
			}
		}
	}()
	return s
}

// next is the next event that is no beat; none when the stream ended.
func (s *liveStream) next() (liveEvent, bool) {
	s.t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case e, open := <-s.events:
			if !open || e.name != "beat" {
				return e, open
			}
		case <-timeout:
			s.t.Fatal("nothing comes over the stream")
		}
	}
}

// quiet fails the test when anything but beats comes in a while.
func (s *liveStream) quiet(why string) {
	s.t.Helper()
	for end := time.After(400 * time.Millisecond); ; {
		select {
		case e, open := <-s.events:
			if !open || e.name != "beat" {
				s.t.Errorf("%s: the stream says %+v", why, e)
				return
			}
		case <-end:
			return
		}
	}
}

// settled reads what a stream says at its beginning, until it says what a change says.
func (s *liveStream) settled() {
	s.t.Helper()
	for end := time.After(time.Second); ; {
		select {
		case <-s.events:
		case <-end:
			return
		}
	}
}

// TestLiveStreamOutlivesTheTimeLimitsOfPages: a stream goes on past the server's limits, says something now and then,
// is no activity, and ends with its session.
func TestLiveStreamOutlivesTheTimeLimitsOfPages(t *testing.T) {
	c, db := newFullConsole(t)
	c.streamTime, c.streamBeat = time.Minute, 100*time.Millisecond
	c.runs()
	server := c.liveServer()
	b := c.as("viewers")
	s := b.stream(server, "")
	if s.status != http.StatusOK || s.header.Get("Content-Type") != "text/event-stream" || s.header.Get("Cache-Control") != "no-store" || s.header.Get("Content-Encoding") != "" {
		t.Fatalf("%d %v", s.status, s.header)
	}
	c.clock.advance(10 * time.Minute)
	var seen time.Time
	if err := db.Pool.QueryRow(t.Context(), `SELECT max(last_seen_at) FROM sessions`).Scan(&seen); err != nil {
		t.Fatal(err)
	}
	again := b.stream(server, "")
	for range 12 { // 1.2 s: four times what a page may take
		if e, open := <-s.events; !open || e.name != "beat" && e.name != "look" || e.id == "" {
			t.Fatalf("%+v, open %v", e, open)
		}
	}
	var now time.Time
	if err := db.Pool.QueryRow(t.Context(), `SELECT max(last_seen_at) FROM sessions`).Scan(&now); err != nil || !now.Equal(seen) {
		t.Errorf("streams keep the session alive: last seen %s, was %s, %v", now, seen, err)
	}
	wantStatus(t, b.post(pathLogout, ""), http.StatusSeeOther)
	for _, s := range []*liveStream{s, again} {
		e, open := s.next()
		for e.name == "look" {
			e, open = s.next()
		}
		if !open || e.name != "end" || e.data != "session" {
			t.Errorf("after the sign-out: %+v, open %v", e, open)
		}
		if _, open := s.next(); open {
			t.Error("the stream goes on")
		}
	}
	waitFor(t, 5*time.Second, "the log line", func() bool { return strings.Contains(c.logs.String(), `"route":"/live"`) })
}

// TestLiveStopEndsStreamsAtOnce: a server that shuts down does not wait for streams, and takes no new ones.
func TestLiveStopEndsStreamsAtOnce(t *testing.T) {
	c, _ := newFullConsole(t)
	c.streamTime = time.Minute
	c.runs()
	server := httptest.NewServer(c.Handler())
	defer server.Close()
	b := c.as("viewers")
	s := b.stream(server.URL, "")
	c.EndStreams()
	began := time.Now()
	if err := server.Config.Shutdown(t.Context()); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("shut down after %s: %v", time.Since(began), err)
	}
	e, _ := s.next()
	for e.name == "look" {
		e, _ = s.next()
	}
	if e.name != "end" || e.data != "again" {
		t.Errorf("it ends with %+v", e)
	}
	w := b.visit(pathLive)
	wantStatus(t, w, http.StatusServiceUnavailable)
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
}

// TestLiveStreamIsOpenedAgain: a stream ends after a while with the word to open another, which goes on where the
// first ended; one that comes back after an hour is told to look.
func TestLiveStreamIsOpenedAgain(t *testing.T) {
	c, _ := newFullConsole(t)
	c.streamTime = 300 * time.Millisecond
	c.runs()
	server := c.liveServer()
	b := c.as("viewers")
	time.Sleep(300 * time.Millisecond) // it listens by now
	first := b.stream(server, "")
	e, _ := first.next()
	for e.name == "look" {
		e, _ = first.next()
	}
	if e.name != "end" || e.data != "again" {
		t.Fatalf("it ends with %+v", e)
	}
	asleep := b.stream(server, strconv.FormatInt(c.clock.Now().Add(-time.Hour).UnixMilli(), 10))
	if e, _ := asleep.next(); e.name != "look" {
		t.Errorf("after an hour: %+v", e)
	}
	for _, odd := range []string{"x", "-1", "0", "99999999999999999999", "1e9", strings.Repeat("9", 18)} {
		if s := b.stream(server, odd); s.status != http.StatusOK {
			t.Errorf("Last-Event-ID %s: %d", odd, s.status)
		}
	}
	w := b.send(b.request(http.MethodHead, pathLive, ""))
	if w.Code != http.StatusOK || w.Body.Len() > 0 {
		t.Errorf("HEAD: %d %q", w.Code, w.Body)
	}
}

// TestLiveStreamNeedsAMember: without a session there is no stream, and a page's own script is not sent to the provider.
func TestLiveStreamNeedsAMember(t *testing.T) {
	c, _ := newFullConsole(t)
	r := c.request(http.MethodGet, pathLive, "")
	r.Header.Set("HX-Request", "true")
	r.Header.Set(headerBackground, "1")
	wantStatus(t, c.serve(r), http.StatusUnauthorized)
	wantStatus(t, c.as("nobodies").visit(pathLive), http.StatusForbidden)
}

// TestLiveTwoTeams: while one team's clusters change, the other's stream says nothing, whichever way rights are cut;
// its own changes come, and name what it may read.
func TestLiveTwoTeams(t *testing.T) {
	for _, kind := range []string{"environment", "account", "cluster", "labels"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newTwoTeams(t, kind)
			w.streamTime = time.Minute
			w.streamBeat = 50 * time.Millisecond
			w.runs()
			server := w.liveServer()
			a, b := w.teams[0], w.teams[1]
			streams := map[*team]*liveStream{a: a.browser.stream(server, ""), b: b.browser.stream(server, "")}
			for _, s := range streams {
				s.settled() // the snapshots were altered by hand, and the first refresh mends them
			}
			for _, m := range w.teams {
				for _, reason := range []string{"one", "two"} {
					w.sql(`UPDATE refresh SET next_at = now()`)
					var cloud string
					w.cloud(m, &cloud)
					w.outside(map[string]any{"act": "phase", "account": cloud, "cluster": m.clusters[0], "phase": "HEALTHY", "reason": reason + m.name}, nil)
					w.accountsDue(m)
					e, open := streams[m].next()
					if !open || e.name != "changed" || !slices.Equal(strings.Fields(e.data), []string{m.account.String()}) {
						t.Fatalf("%s is told %+v of its own change", m.name, e)
					}
					if _, err := uuid.Parse(e.data); err != nil || e.id == "" {
						t.Errorf("%+v", e)
					}
					streams[w.other(m)].quiet("a change of " + m.name)
				}
			}
		})
	}
}

// cloud is the team's account at the Cloud API.
func (w *twoTeams) cloud(m *team, id *string) {
	w.t.Helper()
	if err := w.db.Pool.QueryRow(w.t.Context(), `SELECT cloud_account_id FROM accounts WHERE id = $1`, m.account).Scan(id); err != nil {
		w.t.Fatal(err)
	}
}

func (w *twoTeams) accountsDue(m *team) {
	w.t.Helper()
	w.sql(`UPDATE refresh SET next_at = now() WHERE account_id = $1`, m.account)
}
