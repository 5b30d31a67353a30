package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"quartermaster/internal/cloudapi/sandbox"
)

const (
	mostSandboxAccounts = 10_000
	mostSandboxClusters = 1_000_000
)

// number reads a flag that counts something.
func (found *problems) number(name, value string, most int64) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > most {
		found.add("--%s: %q is not a number from 0 to %d", name, printable(value), most)
	}
	return n
}

// sandbox runs the Cloud API stand-in until ctx ends.
func (p *program) sandbox(ctx context.Context) (err error) {
	config, err := p.sandboxConfig()
	if err != nil {
		return err
	}
	addr := p.settings.SandboxAddr
	if p.addrFlag != "" {
		addr = p.addrFlag // the variable of that name is the console's
	}
	listener, err := listen(ctx, "QM_SANDBOX_ADDR", addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreClosed(listener.Close())) }()
	control, err := listen(ctx, "QM_SANDBOX_CONTROL_ADDR", p.settings.SandboxControlAddr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreClosed(control.Close())) }()
	box, err := sandbox.New(config)
	if err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, box.Close()) }()

	p.say("The Cloud API stand-in is at http://%s (both generations), its control surface at http://%s\n", listener.Addr(), control.Addr())
	if p.settings.SandboxControlToken == "" {
		p.say("  control token    %s\n", config.ControlToken)
	}
	for _, f := range box.Fixtures() {
		p.say("  %-8s account %s  key %s  %s\n", f.Generation, f.CloudAccountID, f.ManagementKey, f.Name)
	}
	servers := []*http.Server{
		{Handler: box.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
		{Handler: box.Control(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
	}
	failed := make(chan error, len(servers))
	go func() { failed <- serveError("sandbox", servers[0].Serve(listener)) }()
	go func() { failed <- serveError("sandbox control", servers[1].Serve(control)) }()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.settings.DrainTimeout)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(drain) != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// sandboxConfig reads the command's own flags.
func (p *program) sandboxConfig() (sandbox.Config, error) {
	flags := p.line.Sandbox
	var found problems
	config := sandbox.Config{
		Seed:         found.number("seed", flags.Seed, 1<<62),
		Accounts:     int(found.number("accounts", flags.Accounts, mostSandboxAccounts)),
		Clusters:     int(found.number("clusters", flags.Clusters, mostSandboxClusters)),
		StatePath:    flags.State,
		Logger:       newLogger(p.command, p.settings, p.stderr),
		Now:          time.Now,
		ControlToken: p.settings.SandboxControlToken,
	}
	if len(found) > 0 {
		return sandbox.Config{}, &configError{found}
	}
	if config.ControlToken == "" {
		token := make([]byte, 24)
		_, _ = rand.Read(token) // crypto/rand.Read never fails: it ends the program instead
		config.ControlToken = hex.EncodeToString(token)
	}
	return config, nil
}
