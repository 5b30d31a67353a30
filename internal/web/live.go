package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
)

// pathLive is the stream that tells open pages to look again.
const pathLive = "/live"

// handleLive handles GET /live: server-sent events for one browser, whose tabs share it. It carries no content, only
// that there is something to look at again; a page then asks for itself as it always does, which is where rights
// are decided. The events, each with the time as its id:
//
//	beat     nothing; the stream lives
//	changed  ids of accounts, of which a cluster changed that the member may read
//	look     anything may have changed: what was said meanwhile is not known. rights: what the member may do changed, too
//	end      session: the session has ended. nothing: the member may read no cluster any more. again: open another stream
//
// To who may read no cluster it answers 204.
// Last-Event-ID is the id of the last event, or when the page was made. The stream is no activity of its member.
func (s *Server) handleLive(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentType, "text/event-stream")
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	watch, err := s.accounts.Watch(actorFrom(c), sessionFrom(c), lastEvent(c.Request()))
	if errors.Is(err, accounts.ErrStopping) {
		return &problem{status: http.StatusServiceUnavailable, heading: "This console is stopping", retry: true, retryAfter: time.Second,
			detail: "Another one answers in a moment.", cause: err}
	}
	if errors.Is(err, accounts.ErrNothingToTell) {
		c.Response().Header().Del(echo.HeaderContentType)
		return c.NoContent(http.StatusNoContent)
	}
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer watch.Close()
	out := &stream{c: c, control: http.NewResponseController(c.Response())}
	// The server's ReadTimeout is meant for requests: it would take the client for gone.
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("set the time for the stream: %w", err)
	}
	c.Response().WriteHeader(http.StatusOK)
	if err := s.follow(out, watch); err != nil {
		noteError(c, err)
	}
	return nil
}

// follow sends what the watch tells until one of both ends. An error is one of sending.
func (s *Server) follow(out *stream, watch *accounts.Watch) error {
	beats, over := time.NewTicker(s.streamBeat), time.NewTimer(s.streamTime)
	defer beats.Stop()
	defer over.Stop()
	gone := out.c.Request().Context().Done()
	if err := out.send(watch.Until(s.now()), "beat", ""); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-gone:
			return nil
		case <-over.C:
			return out.send(watch.Until(s.now()), "end", "again")
		case <-beats.C:
			err = out.send(watch.Until(s.now()), "beat", "")
		case <-watch.Ready():
			news, some := watch.Next(s.now())
			switch {
			case !some:
			case news.End == accounts.WatchSessionEnded || news.End == accounts.WatchNothing:
				return out.send(news.At, "end", string(news.End))
			case news.End != "":
				return out.send(news.At, "end", "again")
			case news.Look:
				what := ""
				if news.Rights {
					what = "rights"
				}
				err = out.send(news.At, "look", what)
			default:
				ids := make([]string, len(news.Accounts))
				for i, id := range news.Accounts {
					ids[i] = id.String()
				}
				err = out.send(news.At, "changed", strings.Join(ids, " "))
			}
		}
		if err != nil {
			return err
		}
	}
}

// stream writes server-sent events. A client that does not take one in time is cut off.
type stream struct {
	c       echo.Context
	control *http.ResponseController
}

func (o *stream) send(at time.Time, event, data string) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(streamStall)); err != nil {
		return fmt.Errorf("set the time for the stream: %w", err)
	}
	if _, err := fmt.Fprintf(o.c.Response(), "id: %d\nevent: %s\ndata: %s\n\n", at.UnixMilli(), event, data); err != nil {
		return fmt.Errorf("send an event: %w", err)
	}
	if err := o.control.Flush(); err != nil {
		return fmt.Errorf("send an event: %w", err)
	}
	// Over HTTP/2 a deadline ends the answer also while nothing is written; the next event sets its own.
	if err := o.control.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("set the time for the stream: %w", err)
	}
	return nil
}

// lastEvent is when the browser last looked; zero when it does not say so.
func lastEvent(r *http.Request) time.Time {
	ms, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil || ms <= 0 || ms > 1<<50 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// EndStreams ends all streams at once, and no more begin: what never ends by itself must not hold up a stop.
func (s *Server) EndStreams() { s.accounts.StopWatching() }
