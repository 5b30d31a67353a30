package accounts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// seen is a fleet with alerts and keys, made in the tables: two accounts, four clusters, of which one is gone.
type seenFleet struct {
	*stage
	one, two Account
	ids      map[string]ClusterRef
}

func newSeenFleet(t *testing.T) seenFleet {
	s := newStage(t)
	f := seenFleet{stage: s, ids: map[string]ClusterRef{}}
	f.one = s.register(s.current(), "One")
	f.two = s.register(s.legacy(), "Two")
	s.exec(s.db.AppURL, `DELETE FROM clusters`)
	for i, name := range []string{"one-a", "one-b", "one-gone", "two-a"} {
		account := f.one
		if strings.HasPrefix(name, "two") {
			account = f.two
		}
		ref := ClusterRef{AccountID: account.ID, ClusterID: uuid.NewString()}
		f.ids[name] = ref
		labels := `{"team": "` + name[len(name)-1:] + `"}`
		s.exec(s.db.AppURL, `
			INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
				disk_mib, endpoint, labels, search, raw, digest, seen_at, changed_at, gone_at)
			VALUES ($1, $2, $3, 'HEALTHY', '', 'aws', 'eu', 'v1', 'v1', 1, 1, 'p', 'p', 1, 1, 1, '', $4, $3, '{}', '\x00', now(), now(), CASE WHEN $5 THEN now() END)`,
			ref.AccountID, ref.ClusterID, name, labels, name == "one-gone")
		for n, state := range []string{"FIRING", "RESOLVED"} {
			s.exec(s.db.AppURL, `
				INSERT INTO cluster_alerts (account_id, cluster_id, alert_id, type, severity, rank, state, title, description, since)
				VALUES ($1, $2, $3, 'OOM', $4, $5, $6, $7, '', now() - $8::interval)`,
				ref.AccountID, ref.ClusterID, uuid.NewString(), AlertSeverities[i%3], 3-i%3, state, "Trouble of "+name, time.Duration(i+n)*time.Hour)
		}
	}
	return f
}

// key puts a key into the tables.
func (f seenFleet) key(name string, ends *time.Duration, admin bool, clusters ...string) {
	f.t.Helper()
	ids, account := []string{}, f.one
	for _, c := range clusters {
		ids = append(ids, f.ids[c].ClusterID)
		if strings.HasPrefix(c, "two") {
			account = f.two
		}
	}
	f.exec(f.db.AppURL, `
		INSERT INTO database_keys (account_id, admin, key_id, name, mark, clusters, access, created_by, created_at, expires_at, seen_at)
		VALUES ($1, $2, $3, $4, 'mark-' || $4, $5, '{manage everything}', 'maker@example.test', now(), now() + $6::interval, now())`,
		account.ID, admin, uuid.NewString(), name, ids, ends)
}

var seenScopes = map[string]func(f seenFleet) (access.Scope, []string){
	"everything": func(seenFleet) (access.Scope, []string) {
		return access.Scope{Everything: true}, []string{"one-a", "one-b", "two-a"}
	},
	"nothing": func(seenFleet) (access.Scope, []string) { return access.Scope{}, nil },
	"environment": func(seenFleet) (access.Scope, []string) {
		return access.Scope{Environments: []string{string(Staging)}}, []string{"one-a", "one-b", "two-a"}
	},
	"another": func(seenFleet) (access.Scope, []string) {
		return access.Scope{Environments: []string{string(Production)}}, nil
	},
	"account": func(f seenFleet) (access.Scope, []string) {
		return access.Scope{Accounts: []uuid.UUID{f.one.ID}}, []string{"one-a", "one-b"}
	},
	"cluster": func(f seenFleet) (access.Scope, []string) {
		return access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(f.ids["one-b"]), access.ClusterRef(f.ids["one-gone"])}}, []string{"one-b"}
	},
	"labels": func(f seenFleet) (access.Scope, []string) {
		selector, err := access.ParseSelector("team=a")
		if err != nil {
			f.t.Fatal(err)
		}
		return access.Scope{Labels: []access.Selector{selector}}, []string{"one-a", "two-a"}
	},
}

// TestAlertsOnlyOfReadableClusters: every list, count and filter of alerts is narrowed by rights, and what is gone is left out.
func TestAlertsOnlyOfReadableClusters(t *testing.T) {
	f := newSeenFleet(t)
	by := member("nobody")
	for name, scope := range seenScopes {
		where, want := scope(f)
		f.scopedTo(by, where, access.ReadClusters)
		page, err := f.svc.Alerts(t.Context(), by, AlertsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		firing := []string{}
		for i, row := range page.Alerts {
			if row.State == cloudapi.AlertFiring {
				firing = append(firing, row.ClusterName)
			}
			if i > 0 && row.State == cloudapi.AlertFiring && page.Alerts[i-1].State != cloudapi.AlertFiring {
				t.Errorf("%s: what fires is not first", name)
			}
			if i > 0 && row.State == page.Alerts[i-1].State && row.Rank > page.Alerts[i-1].Rank {
				t.Errorf("%s: the worst is not first", name)
			}
		}
		slices.Sort(firing)
		if !slices.Equal(firing, want) || len(page.Alerts) != 2*len(want) || page.Firing != len(want) || page.Resolved != len(want) {
			t.Errorf("%s: %q of %d alerts, counted %d and %d; want %q", name, firing, len(page.Alerts), page.Firing, page.Resolved, want)
		}
		if n, err := f.svc.FiringAlerts(t.Context(), by, 99); err != nil || n != len(want) {
			t.Errorf("%s: %d are counted, %v", name, n, err)
		}
	}
	f.scopedTo(by, access.Scope{Everything: true}, access.ReadClusters)
	for _, one := range []struct {
		q    AlertsQuery
		want int
	}{
		{AlertsQuery{State: "FIRING"}, 3}, {AlertsQuery{State: "RESOLVED"}, 3}, {AlertsQuery{State: "\x00"}, 0},
		{AlertsQuery{Severity: "CRITICAL"}, 4}, {AlertsQuery{Severity: "WARNING"}, 2}, {AlertsQuery{Severity: "INFO"}, 0}, {AlertsQuery{Severity: "no"}, 0},
		{AlertsQuery{Account: f.two.ID.String()}, 2}, {AlertsQuery{Account: "x"}, 0}, {AlertsQuery{Account: uuid.NewString()}, 0},
		{AlertsQuery{Text: "TROUBLE one-b"}, 2}, {AlertsQuery{Text: "one-gone"}, 0}, {AlertsQuery{Text: "%"}, 0}, {AlertsQuery{Text: "\x00"}, 0},
	} {
		page, err := f.svc.Alerts(t.Context(), by, one.q)
		if err != nil || len(page.Alerts) != one.want {
			t.Errorf("%+v: %d alerts, %v; want %d", one.q, len(page.Alerts), err, one.want)
		}
	}
	// Only those of the current API have alerts, so only these are counted as not read.
	page, err := f.svc.Alerts(t.Context(), by, AlertsQuery{})
	if err != nil || page.Clusters != 2 || page.Unread != 2 || page.Failing != 0 || page.OldestAt != nil {
		t.Errorf("%d clusters, %d not read, %d failing, oldest %v, %v", page.Clusters, page.Unread, page.Failing, page.OldestAt, err)
	}
	if _, err := f.svc.Alerts(t.Context(), by, AlertsQuery{After: "x"}); !errors.Is(err, ErrBadCursor) {
		t.Errorf("a bad place answers %v", err)
	}
}

// TestAlertsArePagedOnce: pages go on where the last ended, across states, severities and times.
func TestAlertsArePagedOnce(t *testing.T) {
	f := newSeenFleet(t)
	ref := f.ids["one-a"]
	f.exec(f.db.AppURL, `
		INSERT INTO cluster_alerts (account_id, cluster_id, alert_id, type, severity, rank, state, title, description, since)
		SELECT $1, $2, 'a' || i, 'OOM', 'X', i % 4, (ARRAY['FIRING', 'RESOLVED', 'ODD'])[i % 3 + 1], 't', '', now() - (i % 7) * interval '1 minute' FROM generate_series(1, 330) i`,
		ref.AccountID, ref.ClusterID)
	seen := map[string]bool{}
	q, pages := AlertsQuery{}, 0
	for {
		page, err := f.svc.Alerts(t.Context(), member("admins"), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, a := range page.Alerts {
			if seen[a.ClusterID+a.AlertID] {
				t.Fatalf("%s is there twice", a.AlertID)
			}
			seen[a.ClusterID+a.AlertID] = true
		}
		if q.After = page.Next; q.After == "" {
			break
		}
		if _, err := f.svc.Alerts(t.Context(), member("admins"), AlertsQuery{State: "FIRING", After: page.Next}); !errors.Is(err, ErrBadCursor) {
			t.Fatalf("the place of another query answers %v", err)
		}
	}
	if len(seen) != 336 || pages != 4 {
		t.Errorf("%d alerts on %d pages", len(seen), pages)
	}
}

func of(d time.Duration) *time.Duration { return &d }

// TestKeyRadarOnlyOfReadableClusters: keys, counts, names of clusters and what is searched for are narrowed by rights; both rights
// are needed on the same cluster.
func TestKeyRadarOnlyOfReadableClusters(t *testing.T) {
	f := newSeenFleet(t)
	const day = 24 * time.Hour
	f.key("ended", of(-day), false, "one-a")
	f.key("soon", of(3*day), false, "one-b")
	f.key("in a month", of(20*day), false, "one-a")
	f.key("later", of(300*day), false, "one-b")
	f.key("never", nil, false, "one-a")
	f.key("", nil, true, "one-a", "one-b", "one-gone")
	f.key("of what is gone", of(day), false, "one-gone")
	f.key("", nil, true, "two-a")
	by := member("nobody")
	list := func(q RadarQuery) (keys []string, page RadarPage) {
		t.Helper()
		page, err := f.svc.KeyRadar(t.Context(), by, q)
		if err != nil {
			t.Fatal(err)
		}
		keys = []string{}
		for _, k := range page.Keys {
			names := []string{}
			for _, c := range k.Opens {
				names = append(names, c.Name)
			}
			keys = append(keys, fmt.Sprintf("%s %s %s +%d", k.End, k.Name, strings.Join(names, ","), k.Hidden))
		}
		return keys, page
	}
	all := []string{
		"expired ended one-a +0", "week soon one-b +0", "month in a month one-a +0", "later later one-b +0", "never never one-a +0",
		"never  one-a,one-b +0", "never  two-a +0",
	}
	want := map[string][]string{
		"everything": all, "environment": all, "account": all[:6],
		"cluster": {"week soon one-b +0", "later later one-b +0", "never  one-b +1"},
		"labels":  {"expired ended one-a +0", "month in a month one-a +0", "never never one-a +0", "never  one-a +1", "never  two-a +0"},
	}
	for name, scope := range seenScopes {
		where, _ := scope(f)
		f.scopedTo(by, where, access.ReadClusters, access.ReadAPIKeys)
		got, page := list(RadarQuery{})
		sum := 0
		for _, n := range page.Counts {
			sum += n
		}
		slices.Sort(got)
		wanted := slices.Sorted(slices.Values(want[name]))
		if !slices.Equal(got, wanted) || sum != len(wanted) {
			t.Errorf("%s: %q, counted %v, want %q", name, got, page.Counts, wanted)
		}
		f.scopedTo(by, where, access.ReadAPIKeys)
		if got, _ := list(RadarQuery{}); len(got) != 0 {
			t.Errorf("%s without the right to read clusters: %q", name, got)
		}
		f.scopedTo(by, where, access.ReadClusters)
		if got, _ := list(RadarQuery{}); len(got) != 0 {
			t.Errorf("%s without the right to read keys: %q", name, got)
		}
	}
	f.scopedTo(by, access.Scope{Everything: true}, access.ReadClusters, access.ReadAPIKeys)
	if got, page := list(RadarQuery{}); !slices.Equal(got[:4], all[:4]) {
		t.Errorf("not by when they end: %q", got)
	} else if diff := cmp.Diff(map[KeyEnd]int{KeyExpired: 1, KeyEndsWeek: 1, KeyEndsMonth: 1, KeyEndsLater: 1, KeyEndsNever: 3}, page.Counts); diff != "" {
		t.Error(diff)
	}
	for _, end := range KeyEnds {
		for _, key := range first(list(RadarQuery{End: end})) {
			if !strings.HasPrefix(key, string(end)) {
				t.Errorf("%s is among those that end %s", key, end)
			}
		}
	}
	for _, one := range []struct {
		q    RadarQuery
		want int
	}{
		{RadarQuery{End: "no"}, 0}, {RadarQuery{Account: f.two.ID.String()}, 1}, {RadarQuery{Account: "x"}, 0}, {RadarQuery{Text: "SOON"}, 1},
		{RadarQuery{Text: "one-a"}, 4}, {RadarQuery{Text: "maker@"}, 7}, {RadarQuery{Text: "one-gone"}, 0}, {RadarQuery{Text: "\x00"}, 0},
	} {
		if got, _ := list(one.q); len(got) != one.want {
			t.Errorf("%+v: %q, want %d", one.q, got, one.want)
		}
	}
	// The name of a cluster that a member may not read does not find the key that opens it and one of theirs.
	f.scopedTo(by, access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(f.ids["one-b"])}}, access.ReadClusters, access.ReadAPIKeys)
	if got, _ := list(RadarQuery{Text: "one-a"}); len(got) != 0 {
		t.Errorf("another's cluster finds %q", got)
	}
	if _, err := f.svc.KeyRadar(t.Context(), by, RadarQuery{After: "x"}); !errors.Is(err, ErrBadCursor) {
		t.Errorf("a bad place answers %v", err)
	}
}

func first(keys []string, _ RadarPage) []string { return keys }

// TestKeyRadarIsPagedOnce: pages go on where the last ended, also among keys that never end.
func TestKeyRadarIsPagedOnce(t *testing.T) {
	f := newSeenFleet(t)
	f.exec(f.db.AppURL, `
		INSERT INTO database_keys (account_id, admin, key_id, name, mark, clusters, access, created_by, expires_at, seen_at)
		SELECT $1, i % 2 = 0, 'k' || i, 'key', 'm', ARRAY[$2], '{}', '', CASE WHEN i % 3 > 0 THEN now() + (i % 5) * interval '1 day' END, now() FROM generate_series(1, 330) i`,
		f.one.ID, f.ids["one-a"].ClusterID)
	seen := map[string]bool{}
	q, pages := RadarQuery{}, 0
	for {
		page, err := f.svc.KeyRadar(t.Context(), member("admins"), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, k := range page.Keys {
			if seen[k.KeyID] {
				t.Fatalf("%s is there twice", k.KeyID)
			}
			seen[k.KeyID] = true
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(seen) != 330 || pages != 4 {
		t.Errorf("%d keys on %d pages", len(seen), pages)
	}
}

// TestKeyRadarNamesTheMaker: of a key that was made here our member, of others what upstream tells; nothing is asked of upstream.
func TestKeyRadarNamesTheMaker(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	s.createKey(by, ref, s.newKey(by, ActKeyCreate, "made here"))
	s.elsewhere(account, map[string]any{"act": "create_key", "cluster": ref.ClusterID, "name": "made elsewhere", "days": 3}, nil)
	s.readsKind(kindKeys)
	calls, _ := s.calls()
	page, err := s.svc.KeyRadar(t.Context(), member("viewers"), RadarQuery{Text: "with-keys"})
	if err != nil || len(page.Keys) != 2 {
		t.Fatalf("%d keys, %v", len(page.Keys), err)
	}
	for _, k := range page.Keys {
		here := k.Name == "made here"
		if k.Here != here || here && k.Creator != "Name of operators" || !here && !strings.Contains(k.Creator, "@") || k.ReadAt == nil || k.Stale {
			t.Errorf("%+v", k)
		}
	}
	if now, _ := s.calls(); now != calls {
		t.Errorf("the radar called upstream %d times", now-calls)
	}
	// An account whose keys cannot be read says so, and what was known stays.
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListDatabaseApiKeysV2", "kind": "status", "status": 403})
	s.readsKind(kindKeys)
	page, err = s.svc.KeyRadar(t.Context(), member("viewers"), RadarQuery{Text: "with-keys"})
	if err != nil || len(page.Keys) != 2 || !page.Keys[0].Stale || len(page.Trouble) != 1 || page.Trouble[0].Error == "" || page.Trouble[0].OKAt == nil {
		t.Errorf("%d keys, trouble %+v, %v", len(page.Keys), page.Trouble, err)
	}
	someone := member("nobody")
	s.scopedTo(someone, access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(ref)}}, access.ReadClusters, access.ReadAPIKeys)
	page, err = s.svc.KeyRadar(t.Context(), someone, RadarQuery{})
	if err != nil || len(page.Keys) != 2 || len(page.Trouble) != 1 || page.Trouble[0].Error != "" {
		t.Errorf("of one cluster: %d keys, trouble %+v, %v", len(page.Keys), page.Trouble, err)
	}
}

// TestOutsideListsBothKinds: changes of clusters and of their keys are one list, paged once, and each can be acknowledged.
func TestOutsideListsBothKinds(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	on := target{Account: account.ref(), Kind: KindCluster, ID: ref.ClusterID, Name: "with-keys"}
	for i := range 130 {
		act := ActClusterChangedOutside
		if i%3 == 0 {
			act = ActClusterKeysOutside
		}
		if _, err := s.log.Append(t.Context(), singleEvent(on, JobActor("refresh"), act, audit.Change{"keys_made": {nil, []string{fmt.Sprint(i)}}})); err != nil {
			t.Fatal(err)
		}
	}
	admin := s.signedIn("admins")
	seen, q, last, keys := map[int64]bool{}, OutsideQuery{}, int64(0), 0
	for {
		page, err := s.svc.OutsideChanges(t.Context(), admin, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Changes {
			if seen[c.Seq] || last != 0 && c.Seq > last {
				t.Fatalf("event %d is there twice or out of order", c.Seq)
			}
			seen[c.Seq], last = true, c.Seq
			if c.Act == ActClusterKeysOutside.Name {
				keys++
			}
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	if len(seen) < 130 || keys != 44 {
		t.Errorf("%d events, %d of them about keys", len(seen), keys)
	}
	list := s.outsideOf(admin, OutsideQuery{})
	i := slices.IndexFunc(list, func(c OutsideChange) bool { return c.Act == ActClusterKeysOutside.Name })
	if done, err := s.svc.AcknowledgeOutside(t.Context(), admin, list[i].Seq, "a new pipeline"); err != nil || !done {
		t.Errorf("acknowledged: %t, %v", done, err)
	}
	if one, err := s.svc.OutsideChange(t.Context(), admin, list[i].Seq); err != nil || one.Acknowledged == nil || one.Acknowledged.Note != "a new pipeline" {
		t.Errorf("%+v, %v", one.Acknowledged, err)
	}
}

// TestRadarKeyOfManyClusters: of a key that opens an account's clusters by the hundred a few are named, such that the member may read,
// and the others counted.
func TestRadarKeyOfManyClusters(t *testing.T) {
	f := newSeenFleet(t)
	f.key("", nil, true, "one-a")
	f.exec(f.db.AppURL, `UPDATE database_keys SET clusters = (SELECT array_agg('none-' || i) FROM generate_series(1, 800) i) || clusters || $1::text[]`,
		[]string{f.ids["one-b"].ClusterID, f.ids["one-gone"].ClusterID})
	by := member("nobody")
	for scope, want := range map[string]string{"everything": "one-a,one-b +801", "cluster": "one-b +802", "account": "one-a,one-b +801"} {
		where, _ := seenScopes[scope](f)
		f.scopedTo(by, where, access.ReadClusters, access.ReadAPIKeys)
		page, err := f.svc.KeyRadar(t.Context(), by, RadarQuery{})
		if err != nil || len(page.Keys) != 1 {
			t.Fatalf("%s: %d keys, %v", scope, len(page.Keys), err)
		}
		names := []string{}
		for _, c := range page.Keys[0].Opens {
			names = append(names, c.Name)
		}
		if got := fmt.Sprintf("%s +%d", strings.Join(names, ","), page.Keys[0].Hidden); got != want {
			t.Errorf("%s: %s, want %s", scope, got, want)
		}
	}
}
