package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Target is what an act is done to. A field that does not apply is zero: an account has no
// ClusterID, and the installation itself has neither, so only scope Everything reaches it.
type Target struct {
	AccountID   uuid.UUID
	Environment string
	ClusterID   string
	// Labels are the cluster's; for a cluster that does not exist yet, those it is to have.
	Labels map[string]string
}

// ClusterRef names a cluster in a scope.
type ClusterRef struct {
	AccountID uuid.UUID
	ClusterID string
}

// Scope is where a permission holds: everything, or the union of what is listed. The zero Scope
// is nowhere.
type Scope struct {
	Everything   bool
	Environments []string
	Accounts     []uuid.UUID
	Clusters     []ClusterRef
	Labels       []Selector
}

// None reports whether the scope is nowhere.
func (s Scope) None() bool {
	return !s.Everything && len(s.Environments) == 0 && len(s.Accounts) == 0 && len(s.Clusters) == 0 && len(s.Labels) == 0
}

// Covers reports whether the target lies in the scope. An account is not covered by a scope that
// lists only clusters of it, or labels.
func (s Scope) Covers(t Target) bool {
	if s.Everything {
		return true
	}
	if t.AccountID == uuid.Nil {
		return false
	}
	if t.Environment != "" && slices.Contains(s.Environments, t.Environment) {
		return true
	}
	if slices.Contains(s.Accounts, t.AccountID) {
		return true
	}
	if t.ClusterID != "" && slices.Contains(s.Clusters, ClusterRef{t.AccountID, t.ClusterID}) {
		return true
	}
	return slices.ContainsFunc(s.Labels, func(l Selector) bool { return l.Matches(t.Labels) })
}

// Contains reports whether every target of the inner scope, now and later, lies in s. environment
// tells the environment of an account; empty when it is not known. It may say no where it is yes, and
// never the reverse: a cluster that lies in s by its labels only is not contained, because labels change.
func (s Scope) Contains(inner Scope, environment func(account uuid.UUID) string) bool {
	if s.Everything {
		return true
	}
	if inner.Everything || inner.None() {
		return false
	}
	within := func(account uuid.UUID) bool {
		return s.Covers(Target{AccountID: account, Environment: environment(account)})
	}
	for _, e := range inner.Environments {
		if e == "" || !slices.Contains(s.Environments, e) {
			return false
		}
	}
	for _, a := range inner.Accounts {
		if !within(a) {
			return false
		}
	}
	for _, c := range inner.Clusters {
		if !within(c.AccountID) && !slices.Contains(s.Clusters, c) {
			return false
		}
	}
	for _, l := range inner.Labels {
		if !slices.ContainsFunc(s.Labels, l.Implies) {
			return false
		}
	}
	return true
}

// wide is the part of the scope that is no single cluster: whole accounts and more.
func (s Scope) wide() Scope {
	s.Clusters, s.Labels = nil, nil
	return s
}

// union returns where any of the scopes is.
func union(scopes ...Scope) Scope {
	var all Scope
	for i := range scopes {
		s := &scopes[i]
		if s.Everything {
			return Scope{Everything: true}
		}
		all.Environments = append(all.Environments, s.Environments...)
		all.Accounts = append(all.Accounts, s.Accounts...)
		all.Clusters = append(all.Clusters, s.Clusters...)
		all.Labels = append(all.Labels, s.Labels...)
	}
	return Scope{
		Environments: once(all.Environments), Accounts: once(all.Accounts), Clusters: once(all.Clusters),
		Labels: onceBy(all.Labels, Selector.String),
	}
}

// intersect returns where both scopes certainly are. Whether an account is of an environment, and
// what labels a cluster has, is not known here, so those combinations are left out: the result may be
// too small, never too large.
func (s Scope) intersect(o Scope) Scope {
	if s.Everything {
		return o
	}
	if o.Everything {
		return s
	}
	both := Scope{
		Environments: common(s.Environments, o.Environments),
		Accounts:     common(s.Accounts, o.Accounts),
		Clusters:     common(s.Clusters, o.Clusters),
	}
	for _, pair := range [][2]Scope{{s, o}, {o, s}} {
		for _, c := range pair[0].Clusters {
			if slices.Contains(pair[1].Accounts, c.AccountID) {
				both.Clusters = append(both.Clusters, c)
			}
		}
		for _, l := range pair[0].Labels {
			if slices.ContainsFunc(pair[1].Labels, l.Implies) {
				both.Labels = append(both.Labels, l)
			}
		}
	}
	both.Clusters, both.Labels = once(both.Clusters), onceBy(both.Labels, Selector.String)
	return both
}

func join[T comparable](a, b []T) []T { return once(slices.Concat(a, b)) }

// once is the list without what stood in it before.
func once[T comparable](list []T) []T { return onceBy(list, func(v T) T { return v }) }

// onceBy is once for values that are the same when their keys are. It writes into the list.
func onceBy[T any, K comparable](list []T, key func(T) K) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[K]struct{}, len(list))
	return slices.DeleteFunc(list, func(v T) bool {
		_, again := seen[key(v)]
		seen[key(v)] = struct{}{}
		return again
	})
}

func common[T comparable](a, b []T) []T {
	var out []T
	for _, v := range a {
		if slices.Contains(b, v) && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// ScopeKind is the kind of a grant's scope. A grant has one scope of one kind.
type ScopeKind string

// The kinds of scope, from the widest to the narrowest.
const (
	ScopeEverything  ScopeKind = "everything"
	ScopeEnvironment ScopeKind = "environment"
	ScopeAccount     ScopeKind = "account"
	ScopeCluster     ScopeKind = "cluster"
	ScopeLabels      ScopeKind = "labels"
)

// ScopeKinds returns every kind of scope, from the widest to the narrowest.
func ScopeKinds() []ScopeKind {
	return []ScopeKind{ScopeEverything, ScopeEnvironment, ScopeAccount, ScopeCluster, ScopeLabels}
}

// ParseScope reads the scope of a grant: nothing for everything, an environment's name, our id of an
// account, that id and a cluster's id joined by a slash, or a selector. It returns the scope and its
// text in the one spelling that is stored. The error is for the person who wrote the text. Whether an
// account, a cluster or an environment exists is not looked at.
func ParseScope(kind ScopeKind, text string) (Scope, string, error) {
	text = strings.TrimSpace(text)
	switch kind {
	case ScopeEverything:
		if text != "" {
			return Scope{}, "", fmt.Errorf("everything is not narrowed by anything")
		}
		return Scope{Everything: true}, "", nil
	case ScopeEnvironment:
		if text == "" {
			return Scope{}, "", fmt.Errorf("choose an environment")
		}
		return Scope{Environments: []string{text}}, text, nil
	case ScopeAccount:
		id, err := uuid.Parse(text)
		if err != nil || id == uuid.Nil {
			return Scope{}, "", fmt.Errorf("choose an account")
		}
		return Scope{Accounts: []uuid.UUID{id}}, id.String(), nil
	case ScopeCluster:
		account, cluster, _ := strings.Cut(text, "/")
		id, err := uuid.Parse(account)
		if err != nil || id == uuid.Nil || cluster == "" || len(cluster) > maxLabelText || strings.ContainsAny(cluster, "/ \t\r\n") {
			return Scope{}, "", fmt.Errorf("choose a cluster")
		}
		return Scope{Clusters: []ClusterRef{{id, cluster}}}, id.String() + "/" + cluster, nil
	case ScopeLabels:
		l, err := ParseSelector(text)
		if err != nil {
			return Scope{}, "", err
		}
		return Scope{Labels: []Selector{l}}, l.String(), nil
	}
	return Scope{}, "", fmt.Errorf("there is no scope of the kind %q", kind)
}
