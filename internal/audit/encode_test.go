package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/gowebpki/jcs"

	"quartermaster/internal/audit"
)

func TestEncodeIsStable(t *testing.T) {
	e := full()
	e.ID = uuid.MustParse("018f3c3e-0000-7000-8000-000000000001")
	e.Operation = uuid.MustParse("018f3c3e-0000-7000-8000-000000000002")
	e.Parent = uuid.MustParse("018f3c3e-0000-7000-8000-000000000003")
	// What is hashed must never change for an event of this schema version.
	const want = `{"account":{"id":"acc-1","name":"Production"},"act":"cluster.restart",` +
		`"actor":{"email":"ada@example.com","email_verified":true,"issuer":"https://idp.example","name":"Ada Lovelace","roles":["operator","viewer"],"session":"00ff","subject":"0001","via":"browser"},` +
		`"at":"2026-05-04T03:02:01.123456Z","change":{"nodes":[null,["a",true]],"phase":["healthy","restarting"]},"count":3,` +
		`"id":"018f3c3e-0000-7000-8000-000000000001","inferred":true,"operation_id":"018f3c3e-0000-7000-8000-000000000002","outcome":"failed",` +
		`"parent_id":"018f3c3e-0000-7000-8000-000000000003","phase":"settled","reason":"upstream said: no capacity","request_id":"req-1","schema":1,` +
		`"source":{"ip":"192.0.2.7","user_agent":"Mozilla/5.0"},"target":{"id":"clu-1","kind":"cluster","name":"Search"},` +
		`"upstream":{"key_id":"key-1","latency_ms":"1152921504606846976","rpc":"ClusterService/RestartCluster","status":429,"trace_id":"trace-1"}}`
	if diff := cmp.Diff(want, string(audit.Encode(e))); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

type environment string

type settings struct {
	Nodes  int
	secret string
}

type broken struct{}

func (broken) MarshalText() ([]byte, error) { panic("broken") }

type refusing struct{}

func (refusing) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

func TestEncodeValuesOfChange(t *testing.T) {
	number := 7
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"nil":             {nil, `null`},
		"nil pointer":     {(*int)(nil), `null`},
		"nil text":        {(*netip.Addr)(nil), `null`},
		"pointer":         {&number, `7`},
		"bool":            {true, `true`},
		"named string":    {environment("production"), `"production"`},
		"exact integer":   {int64(1 << 53), `9007199254740992`},
		"large integer":   {int64(1<<53 + 1), `"9007199254740993"`},
		"small integer":   {int64(math.MinInt64), `"-9223372036854775808"`},
		"large unsigned":  {uint64(math.MaxUint64), `"18446744073709551615"`},
		"float":           {1.5, `1.5`},
		"float32":         {float32(0.1), `0.1`},
		"large float":     {1e300, `"1e+300"`},
		"NaN":             {math.NaN(), `"NaN"`},
		"infinity":        {math.Inf(-1), `"-Inf"`},
		"number":          {json.Number("12"), `12`},
		"large number":    {json.Number("123456789012345678901234567890"), `"123456789012345678901234567890"`},
		"time":            {time.Date(2026, 1, 2, 3, 4, 5, 678999, time.FixedZone("", 3600)), `"2026-01-02T02:04:05.000678Z"`},
		"duration":        {90 * time.Second, `"1m30s"`},
		"id":              {uuid.MustParse("018f3c3e-0000-7000-8000-000000000001"), `"018f3c3e-0000-7000-8000-000000000001"`},
		"list":            {[]string{"a", "b\x00"}, `["a","b\\u0000"]`},
		"bytes":           {[]byte("secret"), `"6 bytes"`},
		"map":             {map[string]any{"b": 1, "a": json.Number("9007199254740993")}, `{"a":"9007199254740993","b":1}`},
		"exported fields": {settings{Nodes: 3, secret: "canary"}, `{"Nodes":3}`},
		"function":        {func() {}, `"[func()]"`},
		"panics":          {broken{}, `"[unreadable]"`},
		"fails":           {refusing{}, `"[unreadable]"`},
		"markup":          {`<b>&"\`, `"<b>&\"\\"`},
	} {
		body := audit.Encode(audit.Event{Change: audit.Change{"v": {test.value, nil}}})
		if want := []byte(`"change":{"v":[` + test.want + `,null]}`); !bytes.Contains(body, want) {
			t.Errorf("%s: %s does not hold %s", name, body, want)
		}
	}
}

func TestEncodeWritesOutWhatHides(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 日本 👩‍🚀": "plain é 日本 👩‍🚀",
		"a\x00b":         `a\u0000b`,
		"a\nb\x7f":       `a\u000ab\u007f`,
		"\xff\xc3":       `\xff\xc3`,
		"\xed\xa0\x80":   `\xed\xa0\x80`, // half a surrogate pair
		"evil\u202etxt":  `evil\u202etxt`,
		"\U000e0041tag":  `\U000e0041tag`,
		"blank\u3164":    `blank\u3164`,
		`C:\x00`:         `C:\x00`,
	} {
		e, err := audit.Decode(audit.Encode(audit.Event{Actor: audit.Actor{Name: in}}))
		if err != nil {
			t.Fatal(err)
		}
		if e.Actor.Name != want {
			t.Errorf("%q is written as %q, want %q", in, e.Actor.Name, want)
		}
	}
}

func TestEncodeCutsBetweenCharacters(t *testing.T) {
	for _, limit := range []int{256, 2048} {
		for shift := range 4 {
			in := strings.Repeat("x", limit-8+shift) + strings.Repeat("日", 5)
			e, err := audit.Decode(audit.Encode(audit.Event{Reason: in, Target: audit.Target{Name: in}}))
			if err != nil {
				t.Fatal(err)
			}
			got := e.Target.Name
			if limit == 2048 {
				got = e.Reason
			}
			if len(got) > limit || len(got) < limit-3 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
				t.Errorf("limit %d, shift %d: %d bytes ending in %q", limit, shift, len(got), got[len(got)-6:])
			}
		}
	}
}

func TestEncodeDropsTheLongestValuesLast(t *testing.T) {
	change := audit.Change{"name": {"before", "after"}}
	for i := range 40 {
		change[fmt.Sprintf("field%02d", i)] = [2]any{strings.Repeat("x", 1500), strings.Repeat("y", 1500)}
	}
	body := audit.Encode(audit.Event{Act: "cluster.update", Reason: "why", Change: change})
	if len(body) > 64<<10 || len(body) < 56<<10 {
		t.Errorf("%d bytes, want nearly 64 KiB", len(body))
	}
	e, err := audit.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Change) != 41 || e.Reason != "why" || e.Change["name"] != [2]any{"before", "after"} {
		t.Errorf("%d fields, reason %q, name %v", len(e.Change), e.Reason, e.Change["name"])
	}
	if !bytes.Contains(body, []byte("[dropped")) {
		t.Error("nothing says that values were dropped")
	}

	for i := range 5000 {
		change[fmt.Sprintf("more%d", i)] = [2]any{1, 2}
	}
	e, err = audit.Decode(audit.Encode(audit.Event{Act: "cluster.update", Change: change}))
	if err != nil || len(e.Change) != 1 || e.Act != "cluster.update" {
		t.Errorf("%d fields, %v", len(e.Change), err)
	}
}

func TestEncodeKeepsFieldsApartThatAreCutAlike(t *testing.T) {
	long := strings.Repeat("x", 300)
	e, err := audit.Decode(audit.Encode(audit.Event{Change: audit.Change{long + "a": {1, 2}, long + "b": {3, 4}}}))
	if err != nil || len(e.Change) != 2 {
		t.Errorf("%d fields are left of 2, %v", len(e.Change), err)
	}
}

// wellFormed is what audit.append and every reader rely on.
func wellFormed(t *testing.T, body []byte) {
	t.Helper()
	if len(body) > 64<<10 {
		t.Errorf("%d bytes", len(body))
	}
	again, err := jcs.Transform(body)
	if err != nil || !bytes.Equal(again, body) {
		t.Errorf("not canonical (%v): %q", err, body)
	}
	if bytes.Contains(body, []byte(`\u0000`)) && !bytes.Contains(body, []byte(`\\u0000`)) {
		t.Errorf("holds a NUL: %q", body)
	}
	if _, err := audit.Decode(body); err != nil {
		t.Errorf("does not read back: %v: %q", err, body)
	}
}

func hostileEvent(s string, n int64, f float64, raw []byte) audit.Event {
	id, _ := uuid.FromBytes(append(bytes.Clone(raw), make([]byte, 16)...)[:16])
	change := audit.Change{s: {s, n}, s + "f": {f, raw}, "list": {[]any{s, n, f, nil}, []string{s}}, "json": {json.RawMessage(raw), json.Number(s)}}
	for i := range int(uint16(n)) % 60 {
		change[fmt.Sprint(s, i)] = [2]any{strings.Repeat(s, 1+i%7), map[string]any{s: []any{s}}}
	}
	return audit.Event{
		ID: id, Operation: id, Parent: id, At: time.Unix(n, n), Act: s, Phase: audit.Phase(s), Outcome: audit.Outcome(s), Reason: s, Count: int(n),
		Actor: audit.Actor{
			Issuer: s, Subject: s, Name: s, Email: s, Roles: append(strings.Split(s, ""), s), Session: s, Via: audit.Via(s),
			IP: s, UserAgent: s, RequestID: s,
		},
		Account: audit.Ref{ID: s, Name: s}, Target: audit.Target{Kind: s, ID: s, Name: s},
		Upstream: audit.Upstream{RPC: s, KeyID: s, Status: int(n), TraceID: s, LatencyMS: n}, Change: change,
	}
}

var hostileStrings = []string{
	"", "a", "\x00", "\xff\xfe", "\xed\xa0\x80", "\u2028", "\ufeff", "\ufffe", "\ufffd", `"\`, "\\u0000", "'; DROP TABLE audit.events; --", "<script>", "{}", "1e999", "-0",
	strings.Repeat("\"", 70000), strings.Repeat("\x00", 5000), strings.Repeat("👩", 3000), strings.Repeat(`\`, 257), strings.Repeat("\u0301", 900),
}

// TestHostileEventsAreAppended shows with the real database what FuzzEncode takes for granted.
func TestHostileEventsAreAppended(t *testing.T) {
	b := setup(t)
	for i, s := range hostileStrings {
		for _, n := range []int64{0, 59, math.MinInt64} {
			e := hostileEvent(s, n, []float64{0, math.Copysign(0, -1), 1e-320, 1.7e308, math.NaN()}[i%5], []byte(s))
			wellFormed(t, audit.Encode(e))
			b.append(t, e)
		}
	}
	b.verifies(t)
	for _, s := range hostileStrings {
		q := audit.Query{Text: s, Member: s, Account: s, Act: s, Outcome: s, TargetKind: s, TargetID: s, Part: &audit.Part{Accounts: []string{"a"}}}
		if _, err := b.log.List(t.Context(), q); err != nil {
			t.Errorf("listing with %.40q: %v", s, err)
		}
		if _, err := b.log.PendingFor(t.Context(), s, s); err != nil {
			t.Errorf("pending for %.40q: %v", s, err)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range hostileStrings {
		f.Add(s, int64(7), 0.5, []byte(`{"a":[1,{"b":null}]}`))
	}
	f.Fuzz(func(t *testing.T, s string, n int64, x float64, raw []byte) {
		wellFormed(t, audit.Encode(hostileEvent(s, n, x, raw)))
	})
}

// TestNamesAreRecordedAsFarAsTheyFit: a list of names goes past the bound of other lists, stays within the event, and says
// when it was cut.
func TestNamesAreRecordedAsFarAsTheyFit(t *testing.T) {
	for name, tt := range map[string]struct {
		names audit.Names
		all   bool
	}{
		"none":          {audit.Names{}, true},
		"thousand":      {slices.Repeat(audit.Names{"engineering"}, 1000), true},
		"ten thousand":  {slices.Repeat(audit.Names{"engineering"}, 10_000), false},
		"long":          {slices.Repeat(audit.Names{strings.Repeat("g", 300)}, 500), false},
		"quotes":        {slices.Repeat(audit.Names{strings.Repeat(`"\`, 120)}, 500), false},
		"hidden":        {slices.Repeat(audit.Names{strings.Repeat("\x01", 40)}, 1000), false},
		"not well-form": {slices.Repeat(audit.Names{"\xff\xfe"}, 10_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			body := audit.Encode(audit.Event{Act: "session.login", Change: audit.Change{"groups": {nil, tt.names}, "groups_count": {nil, len(tt.names)}}})
			var got struct{ Change map[string][2]any }
			if err := json.Unmarshal(body, &got); err != nil || len(body) > 64<<10 {
				t.Fatalf("%d bytes, %v", len(body), err)
			}
			list, ok := got.Change["groups"][1].([]any)
			if !ok {
				t.Fatalf("groups are %.80v", got.Change["groups"])
			}
			if tt.all != (len(list) == len(tt.names)) || !tt.all && list[len(list)-1] != "…" {
				t.Errorf("%d of %d, the last %v", len(list), len(tt.names), list[len(list)-1])
			}
			if got.Change["groups_count"][1] != float64(len(tt.names)) {
				t.Errorf("count %v", got.Change["groups_count"][1])
			}
		})
	}
}
