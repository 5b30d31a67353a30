package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"syscall"
)

// gcPercent lets the heap grow to five times what lives in it. That is about 5 MiB, and a page is garbage as soon as
// it is sent: collecting at twice that took a tenth of a console's time. GOMEMLIMIT still holds.
const gcPercent = 400

// serve runs the console until ctx ends.
func (p *program) serve(ctx context.Context) error {
	s := p.settings
	if p.env.get("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	logger := newLogger(p.command, s, p.stderr)
	listener, err := listen(ctx, "QM_ADDR", s.Addr)
	if err != nil {
		return err
	}
	metrics, err := listen(ctx, "QM_METRICS_ADDR", s.MetricsAddr)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	c, err := openConsole(ctx, s, false, listener, metrics, logger)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return c.run(ctx)
}

// unlessStopped forgets what went wrong with a start that was told to stop.
func unlessStopped(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// listen opens a listener; its error names the variable to change.
func listen(ctx context.Context, name, addr string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use by another program; stop it, or set %s to another address", addr, name)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("this account may not listen on %s; set %s to a port above 1023", addr, name)
	default:
		return nil, fmt.Errorf("listening on %s (%s): %w", addr, name, err)
	}
}
