package web

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync"
	"time"
)

// quietTime is how long the server does not repeat that it cannot accept connections. It tries again up to
// a thousand times in that time.
const quietTime = time.Minute

// serverLog takes what net/http has to say by itself. Strangers cause most of it, one line a connection:
// handshakes that come to nothing are for debugging only, and that descriptors have run out is said once
// a minute.
type serverLog struct {
	to  *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	refused time.Time // when it was last said that no connection can be accepted
}

// errorLog returns the logger of one listener's server.
func (s *Server) errorLog() *log.Logger { return log.New(&serverLog{to: s.log, now: s.now}, "", 0) }

func (l *serverLog) Write(line []byte) (int, error) {
	level, text := slog.LevelWarn, string(bytes.TrimSpace(line))
	switch {
	case bytes.HasPrefix(line, []byte("http: TLS handshake error")), bytes.HasPrefix(line, []byte("http2: server: error reading preface")):
		level = slog.LevelDebug
	case bytes.HasPrefix(line, []byte("http: Accept error")):
		if !l.mayRepeat() {
			return len(line), nil
		}
		text = "connections cannot be accepted now: " + text
	}
	l.to.Log(context.Background(), level, text)
	return len(line), nil
}

func (l *serverLog) mayRepeat() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := l.now().Sub(l.refused); !l.refused.IsZero() && since >= 0 && since < quietTime {
		return false
	}
	l.refused = l.now()
	return true
}
