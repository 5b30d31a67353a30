package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthcheck asks the console on this machine, for a container's own probe.
func (p *program) healthcheck(ctx context.Context) error {
	host, port, err := net.SplitHostPort(p.settings.Addr)
	if err != nil {
		return fmt.Errorf("QM_ADDR: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	path := "/healthz"
	if p.line.Healthcheck.Ready {
		path = "/readyz"
	}
	scheme, transport := "http", &http.Transport{}
	if p.line.TLSCert != "" {
		// The certificate is the public name's. Who answers on this machine's own port is not in doubt.
		scheme, transport.TLSClientConfig = "https", &tls.Config{InsecureSkipVerify: true} // see above
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return fmt.Errorf("asking the console: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the console does not answer: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1024))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("reading the console's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the console answers %d: %s", answer.StatusCode, body)
	}
	p.say("ok\n")
	return nil
}
