package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxAttempts  = 3        // of a GET, see attempt; everything else has one
	maxErrorBody = 64 << 10 // bytes of an error's body that are looked at
	maxParam     = 256      // bytes of a path parameter
	maxKey       = 4096     // bytes of a management key
	firstPause   = time.Second / 4
)

// Do calls one operation. It returns *Error for everything that upstream or the network refused,
// with the Answer as far as there was one, and for what cannot be sent (Status 0); *UnsupportedError
// for an operation of the other generation or for people only. The whole call, waiting and retries
// included, ends within the client's timeout for its class or ctx, whichever is sooner. A 2xx answer's
// body is empty or valid JSON in UTF-8, at most the client's MaxBody. Answer and error of a shared read
// are those of the one that was sent, with its latency and trace id.
func (c *Conn) Do(ctx context.Context, op Op, params Params, query url.Values, body any) (Answer, error) {
	if op.Generation != c.cfg.Generation {
		return Answer{}, &UnsupportedError{Op: op.Name, Reason: fmt.Sprintf("It belongs to the %s API, and the account uses %s.", op.Generation, c.cfg.Generation)}
	}
	if op.UserOnly {
		return Answer{}, &UnsupportedError{Op: op.Name, Reason: "Qdrant Cloud allows it to people only, not to a management key."}
	}
	request, failed := c.outgoing(op, params, query, body)
	var answer Answer
	if failed == nil {
		answer, failed = c.pass(ctx, op, request)
	}
	if failed != nil {
		c.remember(Call{Op: op, Answer: answer, Err: failed})
		return answer, failed
	}
	c.remember(Call{Op: op, Answer: answer})
	return answer, nil
}

// outgoing is a request that may be sent more than once.
type outgoing struct {
	address string
	body    []byte
	key     []byte // nil where none is sent
}

func (c *Conn) outgoing(op Op, params Params, query url.Values, body any) (outgoing, *Error) {
	refuse := func(kind Kind, reason string) (outgoing, *Error) {
		return outgoing{}, &Error{Kind: kind, Op: op, Message: reason}
	}
	path, err := fillPath(op.Path, c.cfg.CloudAccountID, params)
	if err != nil {
		return refuse(Invalid, err.Error())
	}
	base := c.client.current
	if op.Generation == PAV1 {
		base = c.client.legacy
	}
	request := outgoing{address: base.String() + path}
	if len(query) > 0 {
		request.address += "?" + query.Encode()
	}
	if body != nil {
		if !op.Body {
			return refuse(Invalid, "The operation takes no body.")
		}
		if request.body, err = json.Marshal(body); err != nil {
			return refuse(Invalid, "The request cannot be written as JSON.")
		}
	}
	if op.Public {
		return request, nil
	}
	request.key = c.cfg.Key.Reveal()
	switch {
	case len(request.key) == 0:
		return refuse(Unauthenticated, "There is no key.")
	case len(request.key) > maxKey || bytes.ContainsFunc(request.key, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return refuse(Unauthenticated, "A management key is one word of letters, digits and signs.")
	}
	return request, nil
}

// fillPath puts the account id and params into the placeholders of a path. Every placeholder needs a
// value, every value a placeholder, and no value can change the shape of the path.
func fillPath(path, accountID string, params Params) (string, error) {
	var filled strings.Builder
	used := 0
	for {
		before, rest, found := strings.Cut(path, "{")
		filled.WriteString(before)
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		value, given := params[name]
		if isAccountPlaceholder(name) {
			if given && value != accountID {
				return "", fmt.Errorf("%s is not the account of this connection", name)
			}
			value = accountID
		}
		if given {
			used++
		}
		if err := checkParam(value); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		filled.WriteString(url.PathEscape(value))
		path = after
	}
	if used != len(params) {
		return "", errors.New("a parameter has no place in the path")
	}
	return filled.String(), nil
}

// isAccountPlaceholder knows account_id, cluster.account_id and, of UpdateAccount, account.id.
func isAccountPlaceholder(name string) bool {
	return name == "account_id" || name == "account.id" || strings.HasSuffix(name, ".account_id")
}

func checkParam(value string) error {
	switch {
	case value == "":
		return errors.New("is empty")
	case len(value) > maxParam:
		return fmt.Errorf("is longer than %d bytes", maxParam)
	case value == "." || value == "..":
		return errors.New("is not a name")
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("has characters that a name cannot have")
	}
	return nil
}

// pass sends the call, or waits for an equal read that is under way where the connection allows that.
func (c *Conn) pass(ctx context.Context, op Op, request outgoing) (Answer, *Error) {
	switch {
	case op.Mutates:
		g := c.client.gates.at(c.cfg.Budget)
		g.changed()
		defer g.changed()
	case c.cfg.Share && c.cfg.Budget != "":
		return c.share(ctx, op, request)
	}
	return c.send(ctx, op, request)
}

// errTooSlow is the cause of a context that ended with the deadline of a call's class, and not with
// one that the caller brought along.
var errTooSlow = errors.New("the deadline of the call passed")

func (c *Conn) timeout(op Op) time.Duration {
	switch {
	case op.Logs:
		return c.client.logsTimeout
	case op.Method == http.MethodGet:
		return c.client.readTimeout
	}
	return c.client.writeTimeout
}

func (c *Conn) class(op Op) class {
	switch {
	case op.Mutates:
		return acting
	case c.cfg.Background:
		return polling
	}
	return looking
}

// send tries until there is an answer, the deadline is near or trying again is not allowed.
func (c *Conn) send(ctx context.Context, op Op, request outgoing) (Answer, *Error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout(op), errTooSlow)
	defer cancel()

	g, who := c.client.gates.at(c.cfg.Budget), c.class(op)
	entered, failed := g.enter(ctx, op, who)
	if failed != nil {
		c.client.metrics.holdBack(op, failed)
		return Answer{}, failed
	}
	var sent atomic.Int32
	for attempt := 1; ; attempt++ {
		answer, failed, again := c.turn(ctx, op, request, entered, &sent, attempt)
		if !again {
			return answer, failed
		}
		// Later than asked by a little, and never all at once: others were told the same.
		if !sleep(ctx, failed.RetryAfter+c.client.jitter(firstPause<<(attempt-1))) {
			g.learn(tells(ctx, failed))
			return answer, failed
		}
		var refused *Error
		if entered, refused = g.enter(ctx, op, who); refused != nil {
			g.learn(tells(ctx, failed))
			return answer, failed
		}
	}
}

// turn is one attempt, which ends the turn it was given. again is set where the call is to be tried once
// more; then the attempt tells the breaker nothing, which counts calls.
func (c *Conn) turn(ctx context.Context, op Op, request outgoing, entered turn, sent *atomic.Int32, attempt int) (answer Answer, failed *Error, again bool) {
	g := entered.gate
	var what told
	defer func() { g.leave(entered, what) }() // also when it panics: the place must not be lost
	traced, span := c.startSpan(ctx, op, attempt)
	answer, failed = c.attempt(traced, op, request, sent)
	endSpan(span, answer, failed)
	var kind Kind
	if failed != nil {
		kind = failed.Kind
	}
	again = failed != nil && mayRepeat(op) && !entered.probe && attempt < maxAttempts && sent.Load() < maxAttempts && worthRepeating(failed)
	if !again {
		what = tells(ctx, failed)
	}
	g.sent(op, failed)
	if kind == RateLimited {
		g.holdBack(failed.RetryAfter)
	}
	c.client.metrics.count(op, kind, answer.Latency)
	c.client.log.LogAttrs(ctx, slog.LevelDebug, "upstream call",
		slog.String("op", op.Name), slog.String("kind", string(kind)), slog.Int("status", answer.Status), slog.Int("attempt", attempt),
		slog.Duration("latency", answer.Latency), slog.String("trace_id", answer.TraceID), slog.String("request_id", c.cfg.RequestID))
	return answer, failed, again
}

// tells says what an attempt tells about the account: that it answers, that it does not, or nothing
// where the caller did not wait for it.
func tells(ctx context.Context, failed *Error) told {
	switch {
	case failed == nil:
		return told{answered: true}
	case failed.Kind == RateLimited:
		return told{}
	case failed.Kind != Unavailable && failed.Status != 0:
		return told{answered: true}
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTooSlow):
		return told{}
	case failed.Kind == Invalid:
		return told{} // it was not sent
	}
	return told{failed: failed}
}

// sleep reports whether d passed. Where the deadline comes first it does not wait at all.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mayRepeat reports whether sending op twice does no more than sending it once. A POST that changes
// nothing is not repeated either.
func mayRepeat(op Op) bool { return op.Method == http.MethodGet && !op.Mutates }

// worthRepeating reports whether the same GET may well succeed in a moment.
func worthRepeating(e *Error) bool {
	switch e.Kind {
	case RateLimited:
		return true
	case Unavailable:
		switch e.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		// 500 and 501 answer the same again; below 200 or after a broken body it was the network.
		return (e.Status == 0 || e.Status < 300) && !errors.Is(e.cause, context.Canceled)
	}
	return false
}

// errSentEnough ends a call that net/http would send once more.
var errSentEnough = errors.New("the connection broke after the request had been sent, and it is not sent again")

// attempt sends the request once, and counts in sent what left. net/http sends a request again by
// itself: a GET when a connection died, and over HTTP/2 everything whenever the server resets the
// stream with PROTOCOL_ERROR, which may be after it did the work. Each time it asks for a connection
// first, and there the call is given up when the request has left as often as it may.
func (c *Conn) attempt(ctx context.Context, op Op, out outgoing, sent *atomic.Int32) (Answer, *Error) {
	start := c.client.now()
	most := int32(1)
	if mayRepeat(op) {
		most = maxAttempts
	}
	once, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			if sent.Load() >= most {
				giveUp(errSentEnough)
			}
		},
		WroteHeaders: func() {
			written.Store(true)
			sent.Add(1)
		},
	}
	var content io.Reader
	if out.body != nil {
		content = bytes.NewReader(out.body)
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(once, trace), op.Method, out.address, content)
	if err != nil {
		return Answer{}, &Error{Kind: Invalid, Op: op, Message: "The address of the call cannot be used."}
	}
	c.dress(request, out)

	var answer Answer
	broken := func(err error) (Answer, *Error) {
		answer.Latency = c.client.now().Sub(start)
		failed := transportError(ctx, op, err, scrub(err.Error(), out.key))
		failed.Status, failed.TraceID, failed.Latency = answer.Status, answer.TraceID, answer.Latency
		failed.OutcomeUnknown = written.Load()
		return answer, failed
	}
	response, err := c.client.transport.RoundTrip(request)
	if err != nil {
		if errors.Is(context.Cause(once), errSentEnough) {
			err = errSentEnough
		}
		return broken(err)
	}
	defer func() { _ = response.Body.Close() }() // what it says about the connection changes nothing here
	answer.Status = response.StatusCode
	answer.TraceID = scrub(traceID(response), out.key)
	succeeded := answer.Status/100 == 2

	limit := c.client.maxBody
	if !succeeded {
		limit = maxErrorBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil && succeeded {
		return broken(fmt.Errorf("reading the answer: %w", err))
	}
	answer.Latency = c.client.now().Sub(start)
	if answer.TraceID == "" {
		answer.TraceID = scrub(traceID(response), out.key) // a trailer is there only now
	}
	if repeatsKey(body, out.key) {
		body = []byte(scrub(string(body), out.key))
	}
	if succeeded {
		if reason := unbelievable(response, body, limit); reason != "" {
			failed := c.malformed(op, answer, reason)
			failed.OutcomeUnknown = true
			return answer, failed
		}
		answer.Body = body
		return answer, nil
	}
	if int64(len(body)) > limit || response.Header.Get("Content-Encoding") != "" {
		body = nil
	}
	return answer, c.refusal(op, answer, response.Header, body, func(text string) string { return scrub(text, out.key) })
}

// dress sets the headers.
func (c *Conn) dress(request *http.Request, out outgoing) {
	request.Header.Set("Accept", "application/json")
	agent := c.client.userAgent
	if id := strings.Trim(token(c.cfg.RequestID, 128), "()"); id != "" {
		agent += " (request " + id + ")"
	}
	request.Header.Set("User-Agent", agent)
	if out.key != nil {
		request.Header.Set("Authorization", "apikey "+string(out.key))
	}
	if out.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
}

// unbelievable says what is wrong with a 2xx answer, in a sentence, or nothing.
func unbelievable(response *http.Response, body []byte, limit int64) string {
	encoding := response.Header.Get("Content-Encoding")
	switch {
	case int64(len(body)) > limit:
		return fmt.Sprintf("The answer is larger than %d bytes.", limit)
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return "The answer is compressed although that was not asked for."
	case len(body) == 0:
		return ""
	case !utf8.Valid(body) || !json.Valid(body):
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
			return "The answer is a web page and not JSON."
		}
		return "The answer is not valid JSON."
	}
	return ""
}

func (c *Conn) malformed(op Op, answer Answer, reason string) *Error {
	return &Error{Kind: Malformed, Op: op, Status: answer.Status, TraceID: answer.TraceID, Latency: answer.Latency, Message: clean(reason, maxMessageRunes)}
}

// transportError classifies what went wrong below HTTP; text is what may be shown of err.
func transportError(ctx context.Context, op Op, err error, text string) *Error {
	failed := &Error{Kind: Unavailable, Op: op}
	cause := &callError{text: clean(text, maxMessageRunes)}
	failed.cause = cause
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		failed.Timeout, cause.is = true, context.DeadlineExceeded
	case errors.Is(ctx.Err(), context.Canceled):
		cause.is = context.Canceled
	default:
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			failed.Timeout, cause.is = true, context.DeadlineExceeded
		}
		// net/http has no types for these.
		if strings.Contains(text, "malformed HTTP") || strings.Contains(text, "response headers exceeded") || strings.Contains(text, "response header list larger") {
			failed.Kind = Malformed
		}
	}
	return failed
}

// scrub cuts the key out of text that upstream made, also when only its secret part, behind the bar,
// is repeated.
func scrub(text string, key []byte) string {
	for _, secret := range secretParts(key) {
		text = strings.ReplaceAll(text, string(secret), redacted)
	}
	return text
}

func repeatsKey(body, key []byte) bool {
	return slices.ContainsFunc(secretParts(key), func(secret []byte) bool { return bytes.Contains(body, secret) })
}

func secretParts(key []byte) [][]byte {
	if len(key) == 0 {
		return nil
	}
	parts := [][]byte{key}
	if _, secret, found := bytes.Cut(key, []byte("|")); found && len(secret) >= 16 {
		parts = append(parts, secret)
	}
	return parts
}
