package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// fault is one thing that goes wrong on demand.
type fault struct {
	Account    string `json:"account"`     // cloud account id; empty: every account
	Operation  string `json:"operation"`   // operation name (ListClusters, list_clusters); empty: every operation
	Kind       string `json:"kind"`        // see the package comment
	Status     int    `json:"status"`      // for status (required), retry_after (429), html (502)
	LatencyMS  int    `json:"latency_ms"`  // waited before everything else, with any kind
	RetryAfter string `json:"retry_after"` // written as it is into Retry-After
	Times      int    `json:"times"`       // how often; zero: until deleted
}

// maxLatencyMS is an hour.
const maxLatencyMS = 3_600_000

// hugeAnswer is the size of a "huge" answer.
const hugeAnswer = 100 << 20

func (f *fault) check() error {
	switch {
	case !slices.Contains(faultKinds(), f.Kind):
		return fmt.Errorf("kind must be one of %v", faultKinds())
	case f.Kind == "status" && (f.Status < 200 || f.Status > 599):
		return errors.New("kind status wants a status from 200 to 599")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return errors.New("status must be from 200 to 599")
	case f.LatencyMS < 0 || f.LatencyMS > maxLatencyMS || f.Times < 0:
		return fmt.Errorf("latency_ms must be from 0 to %d, and times not negative", maxLatencyMS)
	case f.Kind == "latency" && f.LatencyMS == 0:
		return errors.New("kind latency wants latency_ms")
	case f.Kind == "retry_after" && f.RetryAfter == "":
		return errors.New("kind retry_after wants retry_after")
	}
	return nil
}

// takeFault returns the oldest fault for a call and counts it, or else one that chance has for it. The caller holds the lock.
func (s *Sandbox) takeFault(account, operation string) *fault {
	for i, f := range s.faults {
		if f.Account != "" && f.Account != account || f.Operation != "" && f.Operation != operation {
			continue
		}
		taken := *f
		if f.Times > 0 {
			f.Times--
			if f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return &taken
	}
	return s.random.next(account, operation)
}

// before plays the part of a fault that comes before any work: waiting, and answers in place of
// it. It reports whether the call goes on.
func (f *fault) before(w http.ResponseWriter, req *http.Request, s *Sandbox) bool {
	if f.LatencyMS > 0 {
		wait := time.NewTimer(time.Duration(f.LatencyMS) * time.Millisecond)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-req.Context().Done():
			return false
		}
	}
	switch f.Kind {
	case "hang":
		<-req.Context().Done()
		return false
	case "close":
		hangUp(w, s)
		return false
	case "status", "retry_after":
		status := f.Status
		if status == 0 {
			status = http.StatusTooManyRequests
		}
		legacy := w.Header().Get("X-Qd-Request-Id") != ""
		body := fmt.Sprintf(`{"code":%d,"message":%q,"details":[]}`, codeOfStatus(status), faultMessage(status))
		if legacy {
			body = fmt.Sprintf(`{"detail":%q}`, faultMessage(status))
		}
		s.writeAnswer(w, answer{status: status, contentType: jsonType, body: []byte(body), retryAfter: f.RetryAfter})
		return false
	case "html":
		status := f.Status
		if status == 0 {
			status = http.StatusBadGateway
		}
		s.writeAnswer(w, answer{status: status, contentType: "text/html; charset=utf-8", retryAfter: f.RetryAfter,
			body: []byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")})
		return false
	case "huge":
		f.huge(w)
		return false
	case "malformed":
		s.writeAnswer(w, answer{status: http.StatusOK, contentType: jsonType, body: []byte(`{"items":[{"id":"`)})
		return false
	}
	return true
}

// after plays the part that comes when the work is done.
func (f *fault) after(w http.ResponseWriter, a answer, s *Sandbox) {
	switch {
	case f.Kind == "half_page" || f.Kind == "empty_list":
		if a.status == http.StatusOK {
			a.body = shortened(a.body, f.Kind == "empty_list")
		}
		s.writeAnswer(w, a)
	case f.Kind == "lost_answer" || f.Kind == "truncated" && len(a.body) == 0:
		hangUp(w, s)
	case f.Kind == "truncated":
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		a.body = a.body[:len(a.body)/2]
		s.writeAnswer(w, a)
		if err := http.NewResponseController(w).Flush(); err != nil {
			s.cfg.Logger.Debug("flushing half an answer failed", slog.Any("error", err))
		}
		hangUp(w, s)
	default:
		s.writeAnswer(w, a)
	}
}

// shortened is an answer whose lists have the first half of their items, or none, and which says nothing of more. One without lists stays
// as it is.
func shortened(body []byte, empty bool) []byte {
	cut := func(raw json.RawMessage) (json.RawMessage, bool) {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || list == nil {
			return raw, false
		}
		list = list[:len(list)/2]
		if empty {
			list = list[:0]
		}
		short, err := json.Marshal(list)
		return short, err == nil
	}
	if short, ok := cut(body); ok {
		return short
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return body
	}
	changed := false
	for name, raw := range members {
		if short, ok := cut(raw); ok {
			members[name], changed = short, true
		}
	}
	if !changed {
		return body
	}
	for _, name := range []string{"nextPageToken", "next_page_token", "totalSize", "total_size"} {
		delete(members, name)
	}
	short, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return short
}

// hangUp closes the connection without an answer, or in the middle of one.
func hangUp(w http.ResponseWriter, s *Sandbox) {
	s.cfg.Logger.Debug("the sandbox hangs up on purpose")
	panic(http.ErrAbortHandler)
}

// huge writes a well-formed listing that does not end before 100 MiB.
func (f *fault) huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write([]byte(`{"items":["`)); err != nil {
		return
	}
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for range hugeAnswer / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return // the caller has had enough
		}
	}
	_, _ = w.Write([]byte(`"]}`)) // nobody is left to tell
}

func codeOfStatus(status int) code {
	switch status {
	case http.StatusBadRequest:
		return codeInvalidArgument
	case http.StatusUnauthorized:
		return codeUnauthenticated
	case http.StatusForbidden:
		return codePermissionDenied
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusConflict:
		return codeAlreadyExists
	case http.StatusTooManyRequests:
		return codeResourceExhausted
	case http.StatusServiceUnavailable:
		return 14
	case http.StatusGatewayTimeout:
		return 4
	}
	return codeInternal
}

func faultMessage(status int) string {
	return fmt.Sprintf("sandbox fault: %d %s", status, http.StatusText(status))
}

// call is one request that arrived.
type call struct {
	At         time.Time `json:"at"`
	Account    string    `json:"account"` // empty: none, or one that does not exist
	Operation  string    `json:"operation"`
	Generation string    `json:"generation"`
	Mutates    bool      `json:"mutates"`
	Status     int       `json:"status"` // zero: a fault came before the work, or it is still going on
	UserAgent  string    `json:"user_agent"`
	TraceID    string    `json:"trace_id"`
}

// callLog counts what arrived since it was reset, and keeps the latest calls.
type callLog struct {
	total, mutating int
	byAccount       map[string]map[string]int
	recent          []*call
}

// maxUserAgent is how many bytes of a User-Agent the platform keeps.
const maxUserAgent = 512

// keptCalls is how many calls GET /_sandbox/calls lists.
const keptCalls = 1000

func newCallLog() callLog { return callLog{byAccount: map[string]map[string]int{}} }

func (l *callLog) add(c call) *call {
	l.total++
	if c.Mutates {
		l.mutating++
	}
	if l.byAccount[c.Account] == nil {
		l.byAccount[c.Account] = map[string]int{}
	}
	l.byAccount[c.Account][c.Operation]++
	if len(l.recent) >= 2*keptCalls {
		l.recent = append([]*call(nil), l.recent[len(l.recent)-keptCalls:]...)
	}
	l.recent = append(l.recent, &c)
	return &c
}
