package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// A console that is told to stop leaves so that nobody notices. First it is no longer ready, and goes
// on serving as before: a load balancer takes its time to ask, and until then it sends requests. Then
// it takes no more connections and ends what is in flight.

// leave waits until a load balancer has noticed, or something essential fails.
func (c *console) leave(failed <-chan error) error {
	c.logger.Info("console stops: no longer ready", "serves_for", c.settings.DrainDelay.String(), "then_waits_up_to", c.settings.DrainTimeout.String())
	noticed := time.NewTimer(c.settings.DrainDelay)
	defer noticed.Stop()
	select {
	case <-noticed.C:
		return nil
	case err := <-failed:
		return err
	}
}

// endRequests takes no more connections and waits for the requests in flight. One that takes too long
// is cut off. What it had begun upstream may be done all the same, and then stays an attempt without
// outcome, which the reconciler of another console, or of the next start, ends.
func (c *console) endRequests(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, c.settings.DrainTimeout)
	defer cancel()
	if server.Shutdown(ctx) == nil {
		return nil
	}
	c.logger.Warn("requests in flight were cut off; operations without an outcome are left to the reconciler",
		"after", c.settings.DrainTimeout.String(), "operations", c.service.Underway())
	if err := server.Close(); err != nil {
		return fmt.Errorf("cutting off requests: %w", err)
	}
	return nil
}

// letGo keeps new work away from a console that stops: it is not ready, and each connection ends with
// the answer it gives, so that its other end takes another console for the next request. Connections
// that are idle stay open for as long as requests may come over them; closing one in the moment in
// which a request is sent would lose it.
func (c *console) letGo(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.draining.Load() {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		if r.URL.Path == "/readyz" {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}
