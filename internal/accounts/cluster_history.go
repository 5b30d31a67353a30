package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"quartermaster/internal/audit"
)

// historyLimit is how many operations a page of a cluster's history has.
const historyLimit = 50

// ClusterHistory is a page of what was done to a cluster and to its keys, newest first.
type ClusterHistory struct {
	Cluster ClusterDetail
	Entries []HistoryEntry
	Next    string         // opaque; empty on the last page
	Untold  *UntoldChanges // made outside, and not among the entries; nil: there are none
}

// HistoryEntry is one operation, with what whoever may read the cluster may know of it: not from where and in which
// session it was done, which is for readers of the log.
type HistoryEntry struct {
	Seq      int64 // number of the event, for who may read it in the log; else 0
	Act      string
	Status   string // ok, failed, unknown, pending
	Reason   string
	Inferred bool
	By       string // name at the time
	Email    string // empty when nobody vouched for it
	Via      audit.Via
	At       time.Time
	Key      string // the key it was done to, by name; empty for the cluster itself
	Change   audit.Change
}

// ClusterHistory returns what the log tells of a cluster and its keys to whoever may read the cluster: what was done, and
// what was tried and not done. Refusals are not in it, for they tell of people and not of the cluster.
// ErrNotFound when the cluster does not exist or may not be read, ErrBadCursor when after is no place in
// this list.
func (s *Service) ClusterHistory(ctx context.Context, by audit.Actor, ref ClusterRef, after string) (ClusterHistory, error) {
	detail, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return ClusterHistory{}, err
	}
	body, err := json.Marshal([]any{"history", ref.AccountID, ref.ClusterID})
	if err != nil {
		return ClusterHistory{}, fmt.Errorf("encoding the query: %w", err)
	}
	query, at := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), cursor{}
	if after != "" {
		if at, err = s.decodeCursor(after, query); err != nil {
			return ClusterHistory{}, err
		}
	}
	page, err := s.cfg.Log.ClusterHistory(ctx, audit.Cluster{Account: ref.AccountID.String(), ID: ref.ClusterID}, at.Number, historyLimit)
	if err != nil {
		return ClusterHistory{}, dbError("reading the history of a cluster", err)
	}
	h := ClusterHistory{Cluster: detail}
	if h.Untold, err = s.untoldOf(ctx, ref); err != nil {
		return ClusterHistory{}, err
	}
	if page.Next != 0 {
		if h.Next, err = s.encodeCursor(cursor{Query: query, Number: page.Next, Account: ref.AccountID, Cluster: ref.ClusterID}); err != nil {
			return ClusterHistory{}, err
		}
	}
	shown, err := s.shownClusters(ctx, by, detail, page)
	if err != nil {
		return ClusterHistory{}, err
	}
	part, err := s.logPartNow(ctx, s.visible(by, ActAuditRead))
	if err != nil {
		return ClusterHistory{}, err
	}
	for _, o := range page.Operations {
		h.Entries = append(h.Entries, historyEntry(o, shown, part))
	}
	return h, nil
}

// shownClusters are the clusters of the account that the member may read, by id, when an operation names several.
func (s *Service) shownClusters(ctx context.Context, by audit.Actor, here ClusterDetail, page audit.Page) (map[string]string, error) {
	shown := map[string]string{}
	if !slices.ContainsFunc(page.Operations, func(o audit.Operation) bool { _, several := o.Change[changeClusters]; return several }) {
		return shown, nil
	}
	shown[here.Row.ClusterID] = named(here.Row.Name, here.Row.ClusterID) // also when it is gone
	clusters, err := s.clusterTargets(ctx, here.Account)
	if err != nil {
		return nil, err
	}
	rights := s.rights(by)
	for _, on := range clusters {
		if rights.Allows(ActClusterRead.Needs, on.access()) {
			shown[on.ID] = named(on.Name, on.ID)
		}
	}
	return shown, nil
}

func historyEntry(o audit.Operation, shown map[string]string, log *audit.Part) HistoryEntry {
	e := HistoryEntry{
		Act: o.Act, Status: o.Status, Reason: o.Reason, Inferred: o.Inferred, By: nameOf(o.Actor), Via: o.Actor.Via, At: o.RecordedAt,
		Change: maps.Clone(o.Change),
	}
	if o.Actor.EmailVerified {
		e.Email = o.Actor.Email
	}
	if o.Target.Kind != KindCluster {
		e.Key = named(o.Target.Name, o.Target.ID)
	}
	if log.Holds(o.Event) {
		e.Seq = o.Seq
	}
	delete(e.Change, changeCluster) // whose history it is
	if both, several := e.Change[changeClusters]; several {
		e.Change[changeClusters] = [2]any{shownOf(both[0], shown), shownOf(both[1], shown)}
	}
	return e
}

// shownOf names the clusters of a list that are shown, and counts the others.
func shownOf(side any, shown map[string]string) any {
	list, ok := side.([]any)
	if !ok {
		if side == nil {
			return nil
		}
		return "not shown"
	}
	var names []string
	hidden := 0
	for _, id := range list {
		text, _ := id.(string)
		if name, ok := shown[text]; ok {
			names = append(names, name)
		} else {
			hidden++
		}
	}
	if hidden > 0 {
		names = append(names, fmt.Sprintf("%d more", hidden))
	}
	return names
}

// named is the name, or the id of what has none.
func named(name, id string) string {
	if strings.TrimSpace(name) == "" {
		return id
	}
	return name
}
