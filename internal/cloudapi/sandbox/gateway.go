package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"quartermaster/internal/cloudapi"
)

// maxBody is gRPC's default limit for one message.
const maxBody = 4 << 20

// code is a gRPC status code.
type code int

const (
	codeOK                 code = 0
	codeInvalidArgument    code = 3
	codeNotFound           code = 5
	codeAlreadyExists      code = 6
	codePermissionDenied   code = 7
	codeResourceExhausted  code = 8
	codeFailedPrecondition code = 9
	codeUnimplemented      code = 12
	codeInternal           code = 13
	codeUnauthenticated    code = 16
)

// httpStatus is grpc-gateway's table.
func (c code) httpStatus() int {
	switch c {
	case codeOK:
		return http.StatusOK
	case codeInvalidArgument, codeFailedPrecondition:
		return http.StatusBadRequest
	case codeNotFound:
		return http.StatusNotFound
	case codeAlreadyExists:
		return http.StatusConflict
	case codePermissionDenied:
		return http.StatusForbidden
	case codeResourceExhausted:
		return http.StatusTooManyRequests
	case codeUnimplemented:
		return http.StatusNotImplemented
	case codeUnauthenticated:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}

// statusError is a refusal, answered as google.rpc.Status or, on pa/v1, as FastAPI's detail.
type statusError struct {
	code       code
	message    string
	legacy     string // what pa/v1 says instead; empty: the message
	violations []violation
}

func (e *statusError) Error() string { return e.message }

func refuse(c code, format string, args ...any) error {
	return &statusError{code: c, message: fmt.Sprintf(format, args...)}
}

// invalidField refuses a request because of one field, in the form of a broken rule.
func invalidField(field, format string, args ...any) error {
	return invalid([]violation{{Field: field, Description: fmt.Sprintf(format, args...)}})
}

// invalid words broken rules as protovalidate does.
func invalid(violations []violation) error {
	var b strings.Builder
	b.WriteString("validation error:")
	for _, v := range violations {
		b.WriteString("\n - ")
		if v.Field != "" {
			b.WriteString(v.Field + ": ")
		}
		b.WriteString(v.Description)
		if v.Rule != "" {
			b.WriteString(" [" + v.Rule + "]")
		}
	}
	return &statusError{code: codeInvalidArgument, message: b.String(), violations: violations}
}

// request is one call of a current rpc while it is served; the lock is held.
type request struct {
	*Sandbox
	op      cloudapi.Op
	account *account // nil for rpcs without an account in the path
	key     *managementKey
	in      msg
	now     time.Time
}

// rpc serves one operation of the current API.
type rpc func(r *request) (msg, error)

// route is one operation of either generation.
type route struct {
	op       cloudapi.Op
	segments []string
	literals int
	// current API: request and response type and the code; nil serve is "not served".
	in, out *messageType
	serve   rpc
	legacy  legacyCall
}

type routes []*route

// newRoutes binds every operation of the client's table to its code. An operation that has none
// answers 501 or, for users only, 403.
func (s *Sandbox) newRoutes(ops []cloudapi.Op) (routes, error) {
	served, legacy := currentCalls(), legacyCalls()
	var out routes
	for _, op := range ops {
		r := &route{op: op, segments: strings.Split(strings.TrimPrefix(op.Path, "/"), "/")}
		for _, seg := range r.segments {
			if !strings.HasPrefix(seg, "{") {
				r.literals++
			}
		}
		if op.Generation == cloudapi.PAV1 {
			r.legacy = legacy[op.Name]
			if r.legacy == nil {
				return nil, fmt.Errorf("sandbox: pa/v1 operation %s has no handler", op.Name)
			}
		} else if r.serve = served[strings.TrimPrefix(op.RPC, "qdrant.cloud.")]; r.serve != nil {
			in, resp := messageNames(op.RPC)
			if r.in, r.out = s.schema.messages[in], s.schema.messages[resp]; r.in == nil || r.out == nil {
				return nil, fmt.Errorf("sandbox: %s has no message types", op.RPC)
			}
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b *route) int { return cmp.Compare(b.literals, a.literals) })
	return out, nil
}

// messageNames derives the request's and response's names: cluster.v1.ClusterService/GetCluster
// has cluster.v1.GetClusterRequest and cluster.v1.GetClusterResponse.
func messageNames(rpcName string) (string, string) {
	service, method, _ := strings.Cut(strings.TrimPrefix(rpcName, "qdrant.cloud."), "/")
	pkg := service[:strings.LastIndex(service, ".")+1]
	return pkg + method + "Request", pkg + method + "Response"
}

// match finds the route of a request. Without one it reports whether another method would have
// found one.
func (rs routes) match(method, path string) (found *route, params map[string]string, otherMethod bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		unescaped, err := url.PathUnescape(p)
		if err != nil {
			return nil, nil, false
		}
		parts[i] = unescaped
	}
	for _, r := range rs {
		if values, ok := r.matchPath(parts); ok {
			if r.op.Method == method {
				return r, values, false
			}
			otherMethod = true
		}
	}
	return nil, nil, otherMethod
}

func (r *route) matchPath(parts []string) (map[string]string, bool) {
	if len(parts) != len(r.segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, seg := range r.segments {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			if parts[i] == "" {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = parts[i]
		} else if seg != parts[i] {
			return nil, false
		}
	}
	return params, true
}

// accountParam is the account id in the path, under whatever name the operation gives it.
func accountParam(params map[string]string) string {
	_, id := namedAccount(params)
	return id
}

// namedAccount is the account id in the path with the name of its field.
func namedAccount(params map[string]string) (name, id string) {
	for name, v := range params {
		if name == "account_id" || name == "account.id" || strings.HasSuffix(name, ".account_id") {
			return name, v
		}
	}
	return "", ""
}

// answer is what goes back before faults had their way with it.
type answer struct {
	status      int
	contentType string
	body        []byte
	retryAfter  string
}

// serve answers one request of either generation.
func (s *Sandbox) serve(w http.ResponseWriter, req *http.Request) {
	trace := newTraceID()
	legacy := strings.HasPrefix(req.URL.Path, "/pa/")
	if legacy {
		w.Header().Set("X-Qd-Request-Id", trace)
	} else {
		w.Header().Set("Grpc-Metadata-Qc-Trace-Id", trace)
	}
	r, params, otherMethod := s.routes.match(req.Method, req.URL.EscapedPath())
	if r == nil {
		s.writeAnswer(w, s.noRoute(legacy, otherMethod))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var tooBig *http.MaxBytesError
	if err != nil && !errors.As(err, &tooBig) {
		return // the caller went away while sending
	}

	arrived := s.arrive(r, params, req, trace)
	if f := arrived.fault; f != nil && !f.before(w, req, s) {
		return
	}
	a := s.work(arrived, r, params, req, body, tooBig != nil)
	if f := arrived.fault; f != nil {
		f.after(w, a, s)
		return
	}
	s.writeAnswer(w, a)
}

// arrival is what is known of a call before any work is done.
type arrival struct {
	entry *call
	fault *fault // nil: none
}

// arrive counts a call and finds who makes it and what shall go wrong.
func (s *Sandbox) arrive(r *route, params map[string]string, req *http.Request, trace string) arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := strings.ToLower(accountParam(params))
	if key, err := s.authenticate(req.Header.Get("Authorization")); err == nil && account == "" {
		account = key.AccountID
	}
	if s.accounts[account] == nil {
		account = "" // strangers make up ids without end
	}
	agent := req.UserAgent()
	entry := s.calls.add(call{
		At: s.now(), Account: account, Operation: r.op.Name, Generation: string(r.op.Generation), Mutates: r.op.Mutates,
		UserAgent: agent[:min(len(agent), maxUserAgent)], TraceID: trace,
	})
	return arrival{entry, s.takeFault(account, r.op.Name)}
}

// work does what a call asks for, one call at a time. The key is looked up again: it may have been
// revoked while a fault made the call wait.
func (s *Sandbox) work(arrived arrival, r *route, params map[string]string, req *http.Request, body []byte, tooBig bool) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, authErr := s.authenticate(req.Header.Get("Authorization"))
	legacy := r.op.Generation == cloudapi.PAV1
	var a answer
	switch {
	case tooBig:
		a = s.errorAnswer(refuse(codeResourceExhausted, "received message larger than max (%d)", maxBody), legacy)
	case legacy:
		a = s.serveLegacy(r, params, req, body, key, authErr)
	default:
		a = s.serveCurrent(r, params, req, body, key, authErr)
	}
	arrived.entry.Status = a.status
	return a
}

func (s *Sandbox) writeAnswer(w http.ResponseWriter, a answer) {
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil {
		s.cfg.Logger.Debug("the sandbox's caller went away", slog.Any("error", err))
	}
}

// noRoute is grpc-gateway's answer to a path or method it does not know, or FastAPI's.
func (s *Sandbox) noRoute(legacy, otherMethod bool) answer {
	switch {
	case legacy && otherMethod:
		return answer{status: http.StatusMethodNotAllowed, contentType: jsonType, body: []byte(`{"detail":"Method Not Allowed"}`)}
	case legacy:
		return answer{status: http.StatusNotFound, contentType: jsonType, body: []byte(`{"detail":"Not Found"}`)}
	case otherMethod:
		return s.errorAnswer(refuse(codeUnimplemented, "Method Not Allowed"), false)
	}
	return s.errorAnswer(refuse(codeNotFound, "Not Found"), false)
}

const jsonType = "application/json"

// authenticate finds the key of an Authorization header.
func (s *Sandbox) authenticate(header string) (*managementKey, error) {
	scheme, secret, ok := strings.Cut(header, " ")
	if header == "" {
		return nil, refuse(codeUnauthenticated, "missing authorization header")
	}
	if !ok || !strings.EqualFold(scheme, "apikey") || secret == "" {
		return nil, refuse(codeUnauthenticated, "invalid authorization header")
	}
	if k := s.keys[hashKey(strings.TrimSpace(secret))]; k != nil {
		return k, nil
	}
	return nil, legacyWords(legacyBadToken, refuse(codeUnauthenticated, "invalid API key"))
}

// serveCurrent runs one rpc: who calls, what they may, is the request well formed, then the code.
func (s *Sandbox) serveCurrent(r *route, params map[string]string, req *http.Request, body []byte, key *managementKey, authErr error) answer {
	if authErr != nil && !r.op.Public {
		return s.errorAnswer(authErr, false)
	}
	out, err := s.runCurrent(r, params, req, body, key)
	if err != nil {
		return s.errorAnswer(err, false)
	}
	return answer{status: http.StatusOK, contentType: jsonType, body: r.out.appendJSON(nil, out, s.spelling)}
}

func (s *Sandbox) runCurrent(r *route, params map[string]string, req *http.Request, body []byte, key *managementKey) (msg, error) {
	if !r.op.Public {
		if err := allowed(r.op, key, params); err != nil {
			return nil, err
		}
	}
	if r.serve == nil {
		return nil, refuse(codeUnimplemented, "the sandbox does not serve %s", r.op.Name)
	}
	in, err := r.bind(params, req.URL.Query(), body)
	if err != nil {
		return nil, refuse(codeInvalidArgument, "%s", err)
	}
	call := &request{Sandbox: s, op: r.op, key: key, in: in, now: s.now()}
	if id := accountParam(params); id != "" && key != nil {
		call.account = s.accounts[key.AccountID]
		s.settle(call.account, call.now)
	}
	if err := call.validate(r.in); err != nil {
		return nil, err
	}
	return r.serve(call)
}

// allowed decides whether a key may call an operation on an account. A key of another account
// learns nothing about whether this one exists.
func allowed(op cloudapi.Op, key *managementKey, params map[string]string) error {
	field, account := namedAccount(params)
	if op.UserOnly {
		return refuse(codePermissionDenied, "actor type ACTOR_TYPE_MANAGEMENT_KEY is not allowed to call %s", op.Name)
	}
	if account != "" && !isUUID(account) {
		return invalid([]violation{{field, "value must be a valid UUID", "string.uuid"}})
	}
	if account != "" && !strings.EqualFold(account, key.AccountID) {
		return refuse(codePermissionDenied, "permission denied for account %s", account)
	}
	var missing []string
	for _, p := range op.Permissions {
		if !slices.Contains(key.Permissions, p) {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 || op.AnyPermission && len(missing) < len(op.Permissions) {
		return nil
	}
	return refuse(codePermissionDenied, "missing permission: %s", strings.Join(missing, ", "))
}

// bind builds the request message from body, query and path; the path wins, as in the gateway.
func (r *route) bind(params map[string]string, query url.Values, body []byte) (msg, error) {
	in := msg{}
	if r.op.Body && len(body) > 0 {
		doc, err := readJSON(body)
		if err != nil {
			return nil, fmt.Errorf("reading the body: %w", err)
		}
		if in, err = r.in.fromJSON(doc); err != nil {
			return nil, err
		}
	}
	if !r.op.Body { // with body "*" the gateway reads no query
		for name, values := range query {
			if _, bound := params[snake(name)]; bound {
				continue
			}
			if err := bindText(r.in, in, name, values, false); err != nil {
				return nil, err
			}
		}
	}
	for name, value := range params {
		if err := bindText(r.in, in, name, []string{value}, true); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// bindText sets a possibly nested field (cluster.account_id, minResources.ram) from text. Query
// names nobody knows are ignored, as the gateway ignores them.
func bindText(t *messageType, m msg, name string, values []string, fromPath bool) error {
	first, rest, nested := strings.Cut(name, ".")
	f := t.byName[first]
	if f == nil {
		return nil
	}
	if nested {
		if f.message == nil || f.repeated {
			return fmt.Errorf("invalid path: %q is not a message", first)
		}
		sub := m.sub(f.name).clone()
		m[f.name] = sub
		return bindText(f.message, sub, rest, values, fromPath)
	}
	if f.repeated {
		var list []any
		for _, v := range values {
			one, err := f.parseText(v)
			if err != nil {
				return fmt.Errorf("parsing field %q: %w", name, err)
			}
			list = append(list, one)
		}
		m.set(f, list)
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("too many values for field %q: %s", name, strings.Join(values, ", "))
	}
	v, err := f.parseText(values[0])
	if err != nil {
		return fmt.Errorf("parsing field %q: %w", name, err)
	}
	m.set(f, v)
	return nil
}

// errorAnswer words a refusal. Anything that is not one is a defect of the sandbox: 500.
func (s *Sandbox) errorAnswer(err error, legacy bool) answer {
	var refusal *statusError
	if !errors.As(err, &refusal) {
		s.cfg.Logger.Error("the sandbox failed", slog.Any("error", err))
		refusal = &statusError{code: codeInternal, message: "internal error"}
	}
	if legacy {
		return legacyError(refusal)
	}
	type badRequest struct {
		Type       string      `json:"@type"`
		Violations []violation `json:"fieldViolations"`
	}
	status := struct {
		Code    code         `json:"code"`
		Message string       `json:"message"`
		Details []badRequest `json:"details"`
	}{refusal.code, refusal.message, []badRequest{}}
	if len(refusal.violations) > 0 {
		status.Details = append(status.Details, badRequest{"type.googleapis.com/google.rpc.BadRequest", refusal.violations})
	}
	body, err := json.Marshal(status)
	if err != nil {
		body = []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	return answer{status: refusal.code.httpStatus(), contentType: jsonType, body: body}
}
