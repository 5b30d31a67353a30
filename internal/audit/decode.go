package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// wire is the body of an event as JSON.
type wire struct {
	ID        string    `json:"id"`
	Schema    jsonInt   `json:"schema"`
	At        time.Time `json:"at"`
	Act       string    `json:"act"`
	Phase     string    `json:"phase"`
	Outcome   string    `json:"outcome"`
	Reason    string    `json:"reason"`
	Count     jsonInt   `json:"count"`
	Inferred  bool      `json:"inferred"`
	Operation string    `json:"operation_id"`
	Parent    string    `json:"parent_id"`
	RequestID string    `json:"request_id"`
	Actor     struct {
		Issuer        string   `json:"issuer"`
		Subject       string   `json:"subject"`
		Name          string   `json:"name"`
		Email         string   `json:"email"`
		EmailVerified bool     `json:"email_verified"`
		Roles         []string `json:"roles"`
		Session       string   `json:"session"`
		Via           string   `json:"via"`
	} `json:"actor"`
	Source struct {
		IP        string `json:"ip"`
		UserAgent string `json:"user_agent"`
	} `json:"source"`
	Account struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"account"`
	Target struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"target"`
	Upstream struct {
		RPC       string  `json:"rpc"`
		KeyID     string  `json:"key_id"`
		Status    jsonInt `json:"status"`
		TraceID   string  `json:"trace_id"`
		LatencyMS jsonInt `json:"latency_ms"`
	} `json:"upstream"`
	Change Change `json:"change"`
}

// jsonInt reads an integer that may have been written as a string because of its size.
type jsonInt int64

func (n *jsonInt) UnmarshalJSON(text []byte) error {
	i, err := strconv.ParseInt(string(bytes.Trim(text, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("reading an integer: %w", err)
	}
	*n = jsonInt(i)
	return nil
}

func parseWire(body []byte) (wire, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var w wire
	if err := dec.Decode(&w); err != nil {
		return wire{}, fmt.Errorf("reading an event: %w", err)
	}
	return w, nil
}

// Decode reads the body of an event. Values of Change come back as JSON scalars (numbers as
// json.Number) or lists of them. The error is about the bytes: not every JSON object that
// audit.append takes is an event.
func Decode(body []byte) (Event, error) {
	w, err := parseWire(body)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Schema: int(w.Schema), At: w.At, Act: w.Act, Phase: Phase(w.Phase), Outcome: Outcome(w.Outcome),
		Reason: w.Reason, Count: int(w.Count), Inferred: w.Inferred,
		Actor: Actor{
			Issuer: w.Actor.Issuer, Subject: w.Actor.Subject, Name: w.Actor.Name, Email: w.Actor.Email, EmailVerified: w.Actor.EmailVerified,
			Roles: w.Actor.Roles, Session: w.Actor.Session, Via: Via(w.Actor.Via),
			IP: w.Source.IP, UserAgent: w.Source.UserAgent, RequestID: w.RequestID,
		},
		Account: Ref{ID: w.Account.ID, Name: w.Account.Name},
		Target:  Target{Kind: w.Target.Kind, ID: w.Target.ID, Name: w.Target.Name},
		Upstream: Upstream{
			RPC: w.Upstream.RPC, KeyID: w.Upstream.KeyID, Status: int(w.Upstream.Status),
			TraceID: w.Upstream.TraceID, LatencyMS: int64(w.Upstream.LatencyMS),
		},
		Change: w.Change,
	}
	for _, id := range []struct {
		text string
		into *uuid.UUID
	}{{w.ID, &e.ID}, {w.Operation, &e.Operation}, {w.Parent, &e.Parent}} {
		if id.text == "" {
			continue
		}
		if *id.into, err = uuid.Parse(id.text); err != nil {
			return Event{}, fmt.Errorf("reading an event: %w", err)
		}
	}
	return e, nil
}

// columns are the copies out of the body that audit.append makes for queries.
type columns struct {
	ID, Act, Phase, Outcome, Inferred, OperationID, ParentID string
	ActorIssuer, ActorSubject, ActorName, ActorEmail         string
	AccountID, TargetKind, TargetID, RequestID, Search       string
}

// columnsOf computes what audit.append must have made of a body.
func columnsOf(w wire) columns {
	var search []string
	for _, s := range []string{
		w.ID, w.Act, w.Reason, w.Operation, w.Parent, w.RequestID, w.Actor.Subject, w.Actor.Name, w.Actor.Email,
		w.Source.IP, w.Account.ID, w.Account.Name, w.Target.ID, w.Target.Name, w.Upstream.TraceID, w.Upstream.KeyID,
	} {
		if s != "" {
			search = append(search, s)
		}
	}
	return columns{
		ID: w.ID, Act: w.Act, Phase: w.Phase, Outcome: w.Outcome, Inferred: strconv.FormatBool(w.Inferred), OperationID: w.Operation, ParentID: w.Parent,
		ActorIssuer: w.Actor.Issuer, ActorSubject: w.Actor.Subject, ActorName: w.Actor.Name, ActorEmail: w.Actor.Email,
		AccountID: w.Account.ID, TargetKind: w.Target.Kind, TargetID: w.Target.ID, RequestID: w.RequestID,
		Search: lowerASCII(strings.Join(search, "\n")),
	}
}

// differing names the first column that does not agree, empty when all do.
func (c columns) differing(want columns) string {
	for _, column := range []struct{ name, got, want string }{
		{"id", c.ID, want.ID},
		{"act", c.Act, want.Act},
		{"phase", c.Phase, want.Phase},
		{"outcome", c.Outcome, want.Outcome},
		{"inferred", c.Inferred, want.Inferred},
		{"operation_id", c.OperationID, want.OperationID},
		{"parent_id", c.ParentID, want.ParentID},
		{"actor_issuer", c.ActorIssuer, want.ActorIssuer},
		{"actor_subject", c.ActorSubject, want.ActorSubject},
		{"actor_name", c.ActorName, want.ActorName},
		{"actor_email", c.ActorEmail, want.ActorEmail},
		{"account_id", c.AccountID, want.AccountID},
		{"target_kind", c.TargetKind, want.TargetKind},
		{"target_id", c.TargetID, want.TargetID},
		{"request_id", c.RequestID, want.RequestID},
		{"search", c.Search, want.Search},
	} {
		if column.got != column.want {
			return column.name
		}
	}
	return ""
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}
