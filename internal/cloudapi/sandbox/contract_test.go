package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/cloudapi"
)

// contract checks requests and answers against the published definitions.
type contract struct {
	routers []routers.Router
}

// loadContract reads the definitions once; nil without TEST_API_SPECS.
var loadContract = sync.OnceValues(func() (*contract, error) {
	dir := os.Getenv("TEST_API_SPECS")
	if dir == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "cloud-api", "*.openapi.json"))
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f string) bool {
		name := filepath.Base(f)
		return !slices.ContainsFunc([]string{"account.", "auth.", "booking.", "cluster.", "iam.", "monitoring.", "platform.", "quota."}, func(p string) bool { return strings.HasPrefix(name, p) })
	})
	if len(files) == 0 {
		return nil, fmt.Errorf("no definitions in %s", dir)
	}
	c := &contract{}
	for _, file := range append(files, filepath.Join(dir, "pa-v1.openapi.yaml")) {
		doc, err := openapi3.NewLoader().LoadFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		doc.Servers = nil
		seen := map[*openapi3.Schema]bool{}
		for _, ref := range doc.Components.Schemas {
			closeSchema(ref, seen)
		}
		for _, item := range doc.Paths.Map() {
			for _, op := range item.Operations() {
				closeOperation(op, seen)
			}
		}
		router, err := gorillamux.NewRouter(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c.routers = append(c.routers, router)
	}
	return c, nil
})

func closeOperation(op *openapi3.Operation, seen map[*openapi3.Schema]bool) {
	content := func(c openapi3.Content) {
		for _, media := range c {
			closeSchema(media.Schema, seen)
		}
	}
	if op.RequestBody != nil {
		content(op.RequestBody.Value.Content)
	}
	for _, resp := range op.Responses.Map() {
		content(resp.Value.Content)
	}
	for _, p := range op.Parameters {
		closeSchema(p.Value.Schema, seen)
	}
}

// closeSchema forbids properties that are not named, in every object at any depth. Members of an
// allOf are merged first, since each alone would forbid the others' properties.
func closeSchema(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || ref.Value == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	for _, part := range s.AllOf {
		if s.Properties == nil {
			s.Properties = openapi3.Schemas{}
		}
		for name, p := range part.Value.Properties {
			s.Properties[name] = p
		}
		s.Required = append(s.Required, part.Value.Required...)
	}
	if len(s.AllOf) > 0 {
		s.AllOf, s.Type = nil, &openapi3.Types{"object"}
	}
	for _, p := range s.Properties {
		closeSchema(p, seen)
	}
	for _, list := range []openapi3.SchemaRefs{s.AnyOf, s.OneOf} {
		for _, p := range list {
			closeSchema(p, seen)
		}
	}
	closeSchema(s.Items, seen)
	closeSchema(s.AdditionalProperties.Schema, seen)
	if s.Type.Is("object") && s.AdditionalProperties.Schema == nil && s.AdditionalProperties.Has == nil {
		closed := false
		s.AdditionalProperties.Has = &closed
	}
}

// find returns the operation of a request.
func (c *contract) find(req *http.Request) (*routers.Route, map[string]string, error) {
	for _, r := range c.routers {
		if route, params, err := r.FindRoute(req); err == nil {
			return route, params, nil
		}
	}
	return nil, nil, fmt.Errorf("%s %s is in no definition", req.Method, req.URL.Path)
}

// check validates an answer, and the request too when it was accepted.
func (c *contract) check(req *http.Request, body []byte, resp *http.Response, answer []byte) error {
	route, params, err := c.find(req)
	if err != nil {
		if resp.StatusCode < 400 {
			return err
		}
		return nil
	}
	legacy := strings.HasPrefix(req.URL.Path, "/pa/")
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if resp.StatusCode < 400 {
		req.Body = io.NopCloser(bytes.NewReader(body))
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		for name := range req.URL.Query() {
			if route.Operation.Parameters.GetByInAndName("query", name) == nil {
				return fmt.Errorf("request: unknown query name %q", name)
			}
		}
	}
	if legacy && resp.StatusCode >= 400 && resp.StatusCode != http.StatusUnprocessableEntity {
		return nil // the definition has only 422
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(answer)), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

func specs(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TEST_API_SPECS")
	if dir == "" {
		t.Skip("NOT RUN: TEST_API_SPECS is not set; the sandbox was not compared with the published API definitions")
	}
	return dir
}

// definitions is what messages.json says.
type definitions struct {
	Services map[string][]struct {
		Name, Request, Response string
		HTTP                    map[string]string
	}
	Messages map[string]struct {
		Rules struct {
			Cel []struct{ ID, Message string }
		}
		Fields []definedField
	}
	Enums map[string]map[string]int32
}

type definedField struct {
	Name, JSON, Type, Oneof string
	Number                  int
	Optional, Repeated      bool
	Rules                   map[string]any
}

func readDefinitions(t *testing.T) definitions {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(specs(t), "messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d definitions
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSchemaMatchesTheDefinitions compares the tables with messages.json: every message of every
// rpc that is served, each field with number, type and all its rules, each message rule, and each
// enum; nothing more and nothing less.
func TestSchemaMatchesTheDefinitions(t *testing.T) {
	d := readDefinitions(t)
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "qdrant.cloud."
	reached := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, f := range d.Messages[prefix+name].Fields {
			if typ, ok := strings.CutPrefix(f.Type, prefix); ok {
				visit(typ)
			}
		}
	}
	for call := range currentCalls() {
		in, out := messageNames(prefix + call)
		visit(in)
		visit(out)
	}
	for name := range reached {
		if enum, ok := d.Enums[prefix+name]; ok {
			if diff := cmp.Diff(enum, s.enums[name].numbers); diff != "" {
				t.Errorf("enum %s (-defined +ours):\n%s", name, diff)
			}
			continue
		}
		defined, ok := d.Messages[prefix+name]
		if !ok || s.messages[name] == nil {
			t.Errorf("message %s: defined %v, ours %v", name, ok, s.messages[name] != nil)
			continue
		}
		var rules []messageRule
		for _, r := range defined.Rules.Cel {
			rules = append(rules, messageRule{r.ID, r.Message})
		}
		if diff := cmp.Diff(rules, s.messages[name].rules, cmp.AllowUnexported(messageRule{})); diff != "" {
			t.Errorf("message %s rules (-defined +ours):\n%s", name, diff)
		}
		var want, got []string
		for _, f := range defined.Fields {
			want = append(want, f.line())
		}
		for _, f := range s.messages[name].fields {
			got = append(got, f.line())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message %s (-defined +ours):\n%s", name, diff)
		}
	}
	for name := range s.messages {
		if !reached[name] {
			t.Errorf("message %s belongs to no rpc that is served", name)
		}
	}
}

// line is a field in one line, for comparison.
func (f definedField) line() string {
	typ := strings.TrimPrefix(f.Type, "qdrant.cloud.")
	switch f.Type {
	case "google.protobuf.Timestamp":
		typ = "timestamp"
	case "google.protobuf.Duration":
		typ = "duration"
	case "google.protobuf.FieldMask":
		typ = "mask"
	}
	var rules []string
	var walk func(string, map[string]any)
	walk = func(at string, m map[string]any) {
		for k, v := range m {
			switch v := v.(type) {
			case map[string]any:
				walk(at+k+".", v)
			case []any:
				if k == "cel" {
					for _, rule := range v {
						rules = append(rules, fmt.Sprint("cel=", rule.(map[string]any)["id"]))
					}
					continue
				}
				rules = append(rules, fmt.Sprintf("%s%s=%v", at, k, v))
			case bool:
				if v { // a rule that is off is none
					rules = append(rules, fmt.Sprintf("%s%s=true", at, k))
				}
			default:
				rules = append(rules, fmt.Sprintf("%s%s=%v", at, k, v))
			}
		}
	}
	walk("", f.Rules)
	slices.Sort(rules)
	return fmt.Sprint(f.Number, " ", f.Name, " ", f.JSON, " ", typ, " rep=", f.Repeated, " opt=", f.Optional, " oneof=", f.Oneof, " ", rules)
}

func (f *field) line() string {
	kind := f.typ
	if f.enum != nil {
		kind = "enum"
	}
	rules := f.rules.lines(kind, "")
	if f.rules.items != nil {
		rules = append(rules, f.rules.items.lines(kind, "repeated.items.")...)
	}
	slices.Sort(rules)
	return fmt.Sprint(f.number, " ", f.name, " ", f.json, " ", f.typ, " rep=", f.repeated, " opt=", f.optional, " oneof=", f.oneof, " ", rules)
}

func (r *fieldRules) lines(kind, at string) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, at+fmt.Sprintf(format, args...)) }
	for name, on := range map[string]bool{
		"required": r.required, "string.uuid": r.uuid, "string.email": r.email, "string.uri": r.uri, "string.ipPrefix": r.ipPrefix,
		"string.ipv4Prefix": r.ipv4Prefix, "enum.definedOnly": r.definedOnly,
	} {
		if on {
			add("%s=true", name)
		}
	}
	if r.nonZero {
		add("enum.notIn=[0]")
	}
	for name, n := range map[string]*int{"string.minLen": r.minLen, "string.maxLen": r.maxLen, "string.len": r.length, "repeated.minItems": r.minItems, "repeated.maxItems": r.maxItems} {
		if n != nil {
			add("%s=%d", name, *n)
		}
	}
	for name, n := range map[string]*float64{"gt": r.gt, "gte": r.gte, "lte": r.lte} {
		if n != nil {
			add("%s.%s=%v", kind, name, *n)
		}
	}
	if r.minDuration != nil {
		add("duration.gte=%vs", r.minDuration.Seconds())
		out[len(out)-1] = strings.Replace(out[len(out)-1], "e+07", "", 1)
	}
	if r.maxDuration != nil {
		add("duration.lte=%ds", int(r.maxDuration.Seconds()))
	}
	if r.pattern != nil {
		add("string.pattern=%s", r.pattern)
	}
	if r.in != nil {
		add("string.in=%v", r.in)
	}
	if r.cel != "" {
		add("cel=%s", r.cel)
	}
	return out
}

// TestEveryOperationIsServedOrNamed: an operation of the client's table has code in the sandbox,
// is for users only, or is in this list.
func TestEveryOperationIsServedOrNamed(t *testing.T) {
	notServed := []string{ // rpcs that change what later work of the console needs
		"CreateRole", "UpdateRole", "DeleteRole", "AssignUserRoles", "UpdateUser", "DeleteUser",
	}
	b := setup(t)
	f := b.Fixtures()[0]
	served := currentCalls()
	for _, op := range cloudapi.Operations() {
		if op.Generation == cloudapi.PAV1 {
			if legacyCalls()[op.Name] == nil {
				t.Errorf("pa/v1 %s is not served", op.Name)
			}
			continue
		}
		name := strings.TrimPrefix(op.RPC, "qdrant.cloud.")
		has, named := served[name] != nil, slices.Contains(notServed, op.Name)
		delete(served, name)
		if has {
			if named || op.UserOnly {
				t.Errorf("%s is served and must not be named otherwise", op.Name)
			}
			continue
		}
		if !op.UserOnly && !named {
			t.Errorf("%s is neither served nor named", op.Name)
		}
		path := op.Path
		for _, id := range []string{"account_id", "account.id"} {
			path = strings.ReplaceAll(path, "{"+id+"}", f.CloudAccountID)
		}
		for strings.Contains(path, "{") {
			from, to := strings.Index(path, "{"), strings.Index(path, "}")
			value := f.CloudAccountID
			path = path[:from] + value + path[to+1:]
		}
		want := http.StatusNotImplemented
		if op.UserOnly {
			want = http.StatusForbidden
		}
		if got := b.call(f, op.Method, path, nil); got.status != want {
			t.Errorf("%s answers %d, want %d: %s", op.Name, got.status, want, got.body)
		}
	}
	for name := range served {
		t.Errorf("%s is served but in no table of operations", name)
	}
}
