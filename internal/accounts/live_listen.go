package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// listenerName is what Postgres calls the dedicated connection, for whoever looks at pg_stat_activity.
	listenerName = "quartermaster listen"

	listenConnect    = 10 * time.Second
	listenRetryFirst = 250 * time.Millisecond
	listenRetryLong  = 30 * time.Second
	// echoEvery is how often the console sends itself a notification over the pool, and echoWithin how long it may take.
	// A connection that is half dead, or a pooler that lends it to others, is found by nothing else.
	echoEvery  = 15 * time.Second
	echoWithin = 10 * time.Second
)

// maxPayload is what Postgres takes in one notification, in bytes, and a little less.
const maxPayload = 7900

// maxClusterPayloads bounds the notifications of one refresh. What does not fit is told to those who may read the
// whole account; others find it when their page looks by itself.
const maxClusterPayloads = 16

// notifyClusters tells all replicas at the commit that an account changed, and which of its clusters. Ids only: what
// is listened to is not checked for rights. None says that something about the account itself changed.
func notifyClusters(ctx context.Context, tx pgx.Tx, accountID uuid.UUID, clusters ...string) error {
	for _, payload := range clusterPayloads(accountID, clusters) {
		if _, err := tx.Exec(ctx, `SELECT pg_notify($1, $2)`, notifyChannel, payload); err != nil {
			return fmt.Errorf("notifying: %w", err)
		}
	}
	return nil
}

// clusterPayloads puts ids into as few payloads as hold them; nearly always one.
func clusterPayloads(accountID uuid.UUID, clusters []string) []string {
	head := "clusters " + accountID.String()
	payloads := []string{head}
	for _, id := range clusters {
		if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' }) {
			continue // no page can be asked for by it
		}
		last := &payloads[len(payloads)-1]
		if len(*last)+1+len(id) > maxPayload {
			if len(payloads) == maxClusterPayloads {
				break
			}
			payloads = append(payloads, head)
			last = &payloads[len(payloads)-1]
		}
		*last += " " + id
	}
	return payloads
}

// readChange reads a payload of clusterPayloads. A payload of another kind, of an older or newer release, is no change.
func readChange(payload string, at time.Time) (change, bool) {
	words := strings.Split(payload, " ")
	if len(words) < 2 || words[0] != "clusters" {
		return change{}, false
	}
	id, err := uuid.Parse(words[1])
	if err != nil {
		return change{}, false
	}
	return change{account: id, clusters: words[2:], at: at}, true
}

// listenLoop keeps one dedicated connection that listens, until ctx ends. Whenever it is a new one, everybody is told
// to look again: nobody knows what was said while there was none.
func (s *Service) listenLoop(ctx context.Context) {
	defer s.hub.deaf()
	wait := listenRetryFirst
	for ctx.Err() == nil {
		began, heard := time.Now(), false
		err := s.listen(ctx, &heard)
		s.hub.deaf()
		if ctx.Err() != nil {
			return
		}
		if heard && time.Since(began) > listenRetryLong {
			wait = listenRetryFirst
		}
		if heard || wait == listenRetryFirst {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "changes are not heard of, trying again; pages look by themselves meanwhile", slog.Any("error", err))
		}
		timer := time.NewTimer(s.jittered(wait))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(2*wait, listenRetryLong)
	}
}

// listen connects and hands what it hears to the hub, until ctx ends or the connection is of no use. heard is set
// once the console has heard itself.
func (s *Service) listen(ctx context.Context, heard *bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	config := s.cfg.DB.Config().ConnConfig
	config.RuntimeParams["application_name"] = listenerName
	connecting, connected := context.WithTimeout(ctx, listenConnect)
	defer connected()
	conn, err := pgx.ConnectConfig(connecting, config)
	if err != nil {
		return fmt.Errorf("connecting to listen: %w", err)
	}
	defer func() {
		ctx, cancel := detached(ctx, time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be broken; Postgres finds out by itself
	}()
	if _, err := conn.Exec(connecting, `LISTEN `+notifyChannel); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	since := s.now()

	told, broke := make(chan *pgconn.Notification), make(chan error, 1)
	go func() {
		defer close(broke)
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				broke <- err
				return
			}
			select {
			case told <- n:
			case <-ctx.Done():
				broke <- ctx.Err()
				return
			}
		}
	}()
	defer func() { // before the connection is closed
		cancel()
		for range broke { // what ended it was returned, or it is the end of ctx
		}
	}()

	echo := "echo " + s.newID().String()
	sent := make(chan error, 1)
	send := func() {
		ctx, cancel := context.WithTimeout(ctx, echoWithin/2)
		defer cancel()
		_, err := s.cfg.DB.Exec(ctx, `SELECT pg_notify($1, $2)`, notifyChannel, echo)
		sent <- err
	}
	go send()
	timer := time.NewTimer(echoWithin)
	defer timer.Stop()
	waiting := true
	for {
		select {
		case err := <-broke:
			return fmt.Errorf("listening: %w", err)
		case err := <-sent:
			if err != nil && *heard { // the pool's trouble says nothing about this connection
				waiting = false
				timer.Reset(echoEvery)
			}
		case n := <-told:
			if n.Payload == echo {
				waiting = false
				timer.Reset(echoEvery)
				if !*heard {
					*heard = true
					s.hub.hears(since)
				}
				continue
			}
			if c, ok := readChange(n.Payload, s.now()); ok {
				s.hub.add(c)
			}
		case <-timer.C:
			if waiting {
				return errors.New("notifications do not arrive: behind a pooler that lends connections to others none do")
			}
			waiting = true
			timer.Reset(echoWithin)
			go send()
		}
	}
}
