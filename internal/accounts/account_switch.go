package accounts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// SwitchPreview is what an account would be like on the current API: what its key opens there, and how
// the clusters that the two APIs list compare.
type SwitchPreview struct {
	Account      AccountDetail
	UpstreamName string
	OwnerEmail   string
	Permissions  []string
	NotAble      []string // upstream permissions the key lacks among those the console uses there
	Clusters     []SwitchedCluster
	// LegacyError is why pa/v1 did not tell its clusters, in words for people; they are those that were
	// last known here then. That API has ended, or will.
	LegacyError string
	// Differences is how many clusters only one API lists, or lists under another name. Seen stands for
	// exactly these differences.
	Differences int
	Seen        string
}

// SwitchedCluster is a cluster as the two APIs list it. A name is nil where that API does not list it.
type SwitchedCluster struct {
	ID              string
	Legacy, Current *string
}

// Differs reports whether the two APIs do not tell the same.
func (c SwitchedCluster) Differs() bool {
	return c.Legacy == nil || c.Current == nil || *c.Legacy != *c.Current
}

// AccountSwitch is what a member confirms. Seen is that of the preview they saw; it is asked for only
// when there are differences.
type AccountSwitch struct {
	Seen     string
	Accepted bool // the differences
}

// PreviewSwitch asks both APIs with the account's key, reading only, for the page that asks before
// SwitchAccount. *ConflictError when a switch is not offered, *InvalidError at the form when the key
// does not do for the current API.
func (s *Service) PreviewSwitch(ctx context.Context, by audit.Actor, id uuid.UUID) (SwitchPreview, error) {
	d, err := s.AskAccount(ctx, by, ActAccountSwitch, id)
	if err != nil {
		return SwitchPreview{}, err
	}
	compared, _, err := s.compareAPIs(ctx, by, d.Account)
	if err != nil {
		return SwitchPreview{Account: d}, err
	}
	compared.preview.Account = d
	return compared.preview, nil
}

// SwitchAccount moves an account from pa/v1 to the current API, with the same key. Both APIs are asked
// again; differences between the clusters they list must be accepted as they are now. The account's
// API, what the key may do, and the clusters as the current API lists them are stored in one
// transaction with the outcome of account.switch. Rows of clusters are decoded by the account's API, so
// no row of the old one stays: clusters that only pa/v1 lists are forgotten here. A refresh or an act
// that began before with pa/v1 stores nothing after.
//
// An account that is on the current API already is left alone. *InvalidError when differences were not
// accepted (field accepted), or the key does not do; *ConflictError when a switch is not offered.
func (s *Service) SwitchAccount(ctx context.Context, by audit.Actor, id uuid.UUID, w AccountSwitch) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	on := accountTarget(account.ref())
	if err := s.authorize(ctx, by, ActAccountSwitch, on); err != nil || account.Generation == cloudapi.Current {
		return err
	}
	if reason := s.notOffered(by, ActAccountSwitch, on, "", account.Key); reason != "" {
		return &ConflictError{Reason: reason}
	}
	attempt := on.event(by, ActAccountSwitch)
	attempt.Change = audit.Change{"generation": {string(cloudapi.PAV1), string(cloudapi.Current)}}
	outcome, end, err := s.begin(ctx, attempt)
	if err != nil {
		return err
	}
	defer end()

	compared, calls, err := s.compareAPIs(ctx, by, account)
	outcome.Upstream = upstreamOf(outcome.Upstream, calls)
	outcome.Upstream.KeyID = account.Key.ID.String()
	if err == nil {
		err = compared.preview.accept(w)
	}
	if err == nil {
		err = s.storeSwitch(ctx, account, compared, outcome)
	}
	switch {
	case err == nil:
		s.refreshing.nudge()
	case !unsettled(err):
		outcome.Reason = formReason(err)
		s.appendOutcome(ctx, outcome)
	}
	return err
}

// accept checks that the member has accepted the differences that there are.
func (p SwitchPreview) accept(w AccountSwitch) error {
	switch {
	case p.Differences == 0:
		return nil
	case w.Seen != p.Seen:
		return invalidField("accepted", "The two APIs list other clusters than they did when you looked. Look at the differences again.")
	case !w.Accepted:
		return invalidField("accepted", "Say that the differences are in order.")
	}
	return nil
}

// comparison is what both APIs were found to tell.
type comparison struct {
	preview SwitchPreview
	found   opened
	rows    []snapshot // of the clusters that the current API lists
	readAt  time.Time  // the database's clock, before they were read
	logSeq  int64      // the log's last event then
}

// compareAPIs asks both APIs with the account's key. The calls it made are returned also with an error.
func (s *Service) compareAPIs(ctx context.Context, by audit.Actor, account Account) (comparison, []cloudapi.Call, error) {
	ctx, cancel := detached(ctx, callTimeout)
	defer cancel()
	legacy, err := s.connectTo(ctx, account.ID, cloudapi.PAV1, toAct, by.RequestID)
	if err != nil {
		return comparison{}, nil, err
	}
	current, err := s.connectTo(ctx, account.ID, cloudapi.Current, toAct, by.RequestID)
	if err != nil {
		return comparison{}, nil, err
	}
	var c comparison
	if err := s.cfg.DB.QueryRow(ctx, `SELECT clock_timestamp(), (SELECT h.seq FROM audit.head h)`).Scan(&c.readAt, &c.logSeq); err != nil {
		return comparison{}, nil, dbError("reading the clock", err)
	}
	err = s.compare(ctx, &c, account, legacy, current)
	return c, slices.Concat(legacy.conn.Calls(), current.conn.Calls()), err
}

func (s *Service) compare(ctx context.Context, c *comparison, account Account, legacy, current *link) error {
	found, err := s.identify(ctx, func(string) cloud { return current.cloud }, account.CloudAccountID)
	if err != nil {
		return atForm(err)
	}
	before, legacyError, err := s.legacyClusters(ctx, account.ID, legacy.cloud)
	if err != nil {
		return err
	}
	after, unreadable, err := listClusters(ctx, current.cloud)
	if err != nil {
		return fmt.Errorf("listing clusters through the current API: %w", err)
	}
	if len(unreadable) > 0 {
		return unreadableClusters(unreadable)
	}
	c.found = found
	c.rows = s.snapshots(ctx, current, after, nil)
	key := ManagementKey{Permissions: found.permissions}
	c.preview = SwitchPreview{
		UpstreamName: found.account.Name, OwnerEmail: found.account.OwnerEmail, Permissions: found.permissions,
		NotAble: keyLacks(key, usedOfKeys(cloudapi.Current)), Clusters: sideBySide(before, namesOf(after)), LegacyError: legacyError,
	}
	seen := sha256.New()
	for _, k := range c.preview.Clusters {
		if k.Differs() {
			c.preview.Differences++
			fmt.Fprintf(seen, "%q %s %s\n", k.ID, quotedOrNone(k.Legacy), quotedOrNone(k.Current))
		}
	}
	c.preview.Seen = hex.EncodeToString(seen.Sum(nil))
	return nil
}

func quotedOrNone(name *string) string {
	if name == nil {
		return "none"
	}
	return fmt.Sprintf("%q", *name)
}

// atForm tells what is wrong with the stored key as a matter of the form, which has no field for it.
func atForm(err error) error {
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		return invalidField("", strings.Join(slices.Sorted(maps.Values(invalid.Fields)), " "))
	}
	return err
}

// legacyClusters lists the names of the account's clusters by id, as pa/v1 tells them. That API may have
// ended: when it does not answer they are those that were last known here, and why says for people why.
func (s *Service) legacyClusters(ctx context.Context, accountID uuid.UUID, legacy cloud) (names map[string]string, why string, err error) {
	listed, unreadable, err := listClusters(ctx, legacy)
	switch {
	case err == nil && len(unreadable) > 0:
		return nil, "", unreadableClusters(unreadable)
	case err == nil:
		return namesOf(listed), "", nil
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("listing clusters through pa/v1: %w", err)
	}
	why = refreshWords(err)
	rows, err := s.cfg.DB.Query(ctx, `SELECT cluster_id, name FROM clusters WHERE account_id = $1 AND gone_at IS NULL`, accountID)
	if err != nil {
		return nil, "", dbError("reading known clusters", err)
	}
	names = map[string]string{}
	var id, name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		names[strings.ToLower(id)] = name
		return nil
	}); err != nil {
		return nil, "", dbError("reading known clusters", err)
	}
	return names, why, nil
}

func unreadableClusters(unreadable []cloudapi.UnreadableCluster) *ConflictError {
	return &ConflictError{Reason: fmt.Sprintf("The console could not read %d of the clusters that Qdrant Cloud lists, so they cannot be compared: %s.", len(unreadable), unreadable[0].Reason)}
}

func namesOf(clusters []cloudapi.Cluster) map[string]string {
	names := make(map[string]string, len(clusters))
	for _, c := range clusters {
		names[strings.ToLower(plain(c.ID))] = plain(c.Name)
	}
	return names
}

// sideBySide puts the clusters of two listings beside each other: those that differ first, then by name.
func sideBySide(legacy, current map[string]string) []SwitchedCluster {
	var list []SwitchedCluster
	for id, name := range legacy {
		k := SwitchedCluster{ID: id, Legacy: &name}
		if other, both := current[id]; both {
			k.Current = &other
		}
		list = append(list, k)
	}
	for id, name := range current {
		if _, both := legacy[id]; !both {
			list = append(list, SwitchedCluster{ID: id, Current: &name})
		}
	}
	slices.SortFunc(list, func(a, b SwitchedCluster) int {
		if a.Differs() != b.Differs() {
			if a.Differs() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.name(), b.name()), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (c SwitchedCluster) name() string {
	if c.Current != nil {
		return *c.Current
	}
	return *c.Legacy
}

// storeSwitch stores the account as the current API has it, with the outcome.
func (s *Service) storeSwitch(ctx context.Context, account Account, c comparison, outcome audit.Event) error {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	after := account
	after.Generation, after.UpstreamName, after.OwnerEmail = cloudapi.Current, c.found.account.Name, c.found.account.OwnerEmail
	after.Key.Permissions, after.Key.ProbedAt = c.found.permissions, c.found.at
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		// Whoever stores a cluster locks the account's row against this one, and reads its API.
		before, err := accountByID(ctx, tx, account.ID, true)
		if err != nil {
			return err
		}
		if before.Generation != account.Generation || before.Key.ID != account.Key.ID || !before.Enabled {
			return &ConflictError{Reason: "The account was changed meanwhile. Look at it again."}
		}
		if err := switchRows(ctx, tx, after, c, s.now()); err != nil {
			return err
		}
		if err := s.certifyGeneration(ctx, tx, after); err != nil {
			return err
		}
		outcome.Outcome, outcome.Change = audit.OK, accountChange(&account, &after)
		if n := c.preview.Differences; n > 0 {
			outcome.Change["clusters_that_differ"] = [2]any{nil, n}
		}
		return s.recordLast(ctx, tx, outcome)
	})
	if err != nil {
		return dbError("switching the account", err)
	}
	return nil
}

// switchRows writes what storeSwitch stores, but for the event. A refresh that is under way loses its lease.
func switchRows(ctx context.Context, tx pgx.Tx, account Account, c comparison, now time.Time) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE accounts SET generation = $2, upstream_name = $3, owner_email = $4, updated_at = $5 WHERE id = $1`,
		account.ID, string(account.Generation), account.UpstreamName, account.OwnerEmail, now)
	batch.Queue(`UPDATE management_keys SET permissions = $2, probed_at = $3, refused = '' WHERE id = $1`, account.Key.ID, account.Key.Permissions, account.Key.ProbedAt)
	batch.Queue(`
		UPDATE refresh SET lease_until = NULL, lease_owner = '', ok_at = $2, log_seq = $3, failures = 0, error = '', vanished = 0, next_at = clock_timestamp()
		WHERE account_id = $1 AND kind = 'clusters'`, account.ID, c.readAt, c.logSeq)
	baselineKinds(batch, account.ID)
	batch.Queue(`DELETE FROM clusters WHERE account_id = $1`, account.ID)
	for rows := range slices.Chunk(inStoringOrder(c.rows), upsertAtOnce) {
		arguments, err := upsertArguments(account.ID, rows, c.readAt, false, nil)
		if err != nil {
			return err
		}
		batch.Queue(upsertClusters, arguments...)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("storing the account on the current API: %w", err)
	}
	return notifyClusters(ctx, tx, account.ID)
}
