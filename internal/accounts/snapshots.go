package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi"
)

// notifyChannel carries the kind of a snapshot that changed, the account id and the ids of clusters, and nothing else.
const notifyChannel = "quartermaster"

// maxSnapshotText bounds a column that comes from the upstream, in bytes. The raw answer keeps
// what is cut; the client bounds the answer itself.
const maxSnapshotText = 2048

// What is indexed is bounded further: two of them, of which letter case may be folded into more bytes, must fit into 2,704 bytes of an
// index, or one cluster's nonsense would fail the listing of its account.
const (
	maxSnapshotName = 512
	maxSnapshotWord = 256
)

// short is plain for a column that is a word rather than a text.
func short(text string) string { return cut(plain(text), maxSnapshotWord) }

// snapshot is a cluster as the clusters table keeps it: columns to filter and sort by, and the
// resource as received.
type snapshot struct {
	clusterID    string
	name         string
	phase        cloudapi.Phase
	reason       string
	cloud        string
	region       string
	version      string
	versionOrder string
	nodesUp      int32
	nodes        int32
	packageID    string
	size         nodeSize
	endpoint     string
	labels       map[string]string
	search       string
	createdAt    *time.Time
	raw          []byte
	digest       []byte
}

// nodeSize is what one node has. Zero is not known.
type nodeSize struct {
	name     string // of the package
	ramMiB   int64
	cpuMilli int64
	diskMiB  int64
}

// snapshotOf makes the row of a cluster. booked is the size of its package by the catalogue, zero
// when that is not known; what the cluster itself says it has goes first.
func snapshotOf(c cloudapi.Cluster, booked nodeSize) snapshot {
	sn := snapshot{
		clusterID: plain(c.ID),
		name:      cut(plain(c.Name), maxSnapshotName),
		phase:     cloudapi.Phase(short(string(c.State.Phase))),
		reason:    plain(c.State.Reason),
		cloud:     short(c.CloudProvider),
		region:    short(c.Region),
		version:   short(c.State.Version),
		nodesUp:   count(c.State.NodesUp),
		nodes:     count(c.Configuration.Nodes),
		packageID: plain(c.Configuration.PackageID),
		size:      booked,
		endpoint:  plain(c.State.EndpointURL),
		labels:    labelsOf(c.Labels),
		raw:       c.Raw,
	}
	if sn.phase == "" {
		sn.phase = cloudapi.PhaseUnknown
	}
	if sn.version == "" {
		sn.version = short(c.Configuration.Version)
	}
	sn.versionOrder = versionOrder(sn.version)
	if !c.CreatedAt.IsZero() && c.CreatedAt.Year() > 0 && c.CreatedAt.Year() < 10000 {
		created := c.CreatedAt.UTC()
		sn.createdAt = &created
	}
	for _, r := range c.State.Resources {
		has := r.Base + r.Complimentary + r.Additional
		switch r.Name {
		case "ram":
			sn.size.ramMiB = measured(has*1024, sn.size.ramMiB)
		case "cpu":
			sn.size.cpuMilli = measured(has*1000, sn.size.cpuMilli)
		case "disk":
			sn.size.diskMiB = measured(has*1024, sn.size.diskMiB)
		}
	}
	words := []string{sn.name, sn.clusterID, sn.endpoint}
	for _, l := range c.Labels {
		words = append(words, plain(l.Key)+"="+plain(l.Value))
	}
	sn.search = strings.ToLower(strings.Join(words, "\n"))
	sum := sha256.Sum256(c.Raw)
	sn.digest = sum[:]
	return sn
}

// plain makes text of the upstream's fit for a text column, whatever it holds.
func plain(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= maxSnapshotText {
		return text
	}
	cut := maxSnapshotText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.Clone(text[:cut]) // the rest of it is not held on to
}

func count(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// measured returns v rounded, or otherwise when v is no amount that a node could have.
func measured(v float64, otherwise int64) int64 {
	if math.IsNaN(v) || v <= 0 || v > 1<<50 {
		return otherwise
	}
	return int64(math.Round(v))
}

var versionPattern = regexp.MustCompile(`^v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?([-+.].*)?$`)

// versionOrder returns a text that sorts, byte by byte, as versions do: 1.9 before 1.10, a
// pre-release before its release, and what is no version before all of them.
func versionOrder(version string) string {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return "!" + version
	}
	rest := "~"
	if strings.HasPrefix(m[4], "-") {
		rest = m[4]
	}
	return fmt.Sprintf("%09s.%09s.%09s%s", m[1], m[2], m[3], rest)
}

// upsertClusters writes rows that are new, differ, were given up or were missing; none of them twice. It leaves a row
// alone that an act of ours wrote after the read behind it began, at readAt. With byAct the write
// is such an act's and always wins. A size that is not known now, of the same package, stays.
//
// What a row is compared with to find changes made outside (see outside.go) is as told, for a refresh. A write of an
// act's leaves the judgement to the next refresh: it keeps what was there before, unless something older is kept.
const upsertClusters = `
	INSERT INTO clusters AS c (
		account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id,
		package, ram_mib, cpu_milli, disk_mib, endpoint, labels, search, created_at, raw, digest, seen_at, changed_at, written_at,
		base, base_seq)
	SELECT $1, r.cluster_id, r.name, r.phase, r.reason, r.cloud, r.region, r.version, r.version_order, r.nodes_up, r.nodes, r.package_id,
		r.package, r.ram_mib, r.cpu_milli, r.disk_mib, r.endpoint, r.labels::jsonb, r.search, r.created_at, r.raw, r.digest, $23, $23,
		CASE WHEN $24 THEN clock_timestamp() END, r.base, r.base_seq
	FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int[], $11::int[], $12::text[],
		$13::text[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::timestamptz[], $21::bytea[], $22::bytea[],
		$25::bytea[], $26::bigint[])
		AS r (cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id,
		package, ram_mib, cpu_milli, disk_mib, endpoint, labels, search, created_at, raw, digest, base, base_seq)
	ON CONFLICT ON CONSTRAINT clusters_pkey DO UPDATE SET
		name = excluded.name, phase = excluded.phase, reason = excluded.reason, cloud = excluded.cloud, region = excluded.region,
		version = excluded.version, version_order = excluded.version_order, nodes_up = excluded.nodes_up, nodes = excluded.nodes,
		package_id = excluded.package_id,
		package = CASE WHEN excluded.package = '' AND excluded.package_id = c.package_id THEN c.package ELSE excluded.package END,
		ram_mib = CASE WHEN excluded.ram_mib = 0 AND excluded.package_id = c.package_id THEN c.ram_mib ELSE excluded.ram_mib END,
		cpu_milli = CASE WHEN excluded.cpu_milli = 0 AND excluded.package_id = c.package_id THEN c.cpu_milli ELSE excluded.cpu_milli END,
		disk_mib = CASE WHEN excluded.disk_mib = 0 AND excluded.package_id = c.package_id THEN c.disk_mib ELSE excluded.disk_mib END,
		endpoint = excluded.endpoint, labels = excluded.labels, search = excluded.search, created_at = excluded.created_at,
		raw = excluded.raw, digest = excluded.digest, seen_at = excluded.seen_at,
		changed_at = CASE WHEN excluded.digest = c.digest THEN c.changed_at ELSE excluded.changed_at END,
		written_at = coalesce(excluded.written_at, CASE WHEN c.written_at < clock_timestamp() + interval '5 minutes' THEN c.written_at END),
		missing_at = NULL, gone_at = NULL,
		base = CASE WHEN NOT $24 THEN excluded.base WHEN c.base IS NOT NULL THEN c.base
			WHEN c.gone_at IS NOT NULL THEN ''::bytea WHEN excluded.digest <> c.digest THEN c.raw END,
		base_seq = CASE WHEN NOT $24 THEN excluded.base_seq WHEN c.base_seq IS NOT NULL THEN c.base_seq
			WHEN c.gone_at IS NOT NULL OR excluded.digest <> c.digest THEN ` + lastLogSeq + ` END
	WHERE $24 OR c.written_at IS NULL OR c.written_at < $23 OR c.written_at > clock_timestamp() + interval '5 minutes'`

// lastLogSeq is up to where the log told of the account when its clusters were last listed; c is a row of clusters.
const lastLogSeq = `(SELECT f.log_seq FROM refresh f WHERE f.account_id = c.account_id AND f.kind = 'clusters')`

// upsertArguments are those of upsertClusters. from has what rows are compared with, by cluster; the zero base for the others.
func upsertArguments(accountID uuid.UUID, rows []snapshot, readAt time.Time, byAct bool, from map[string]base) ([]any, error) {
	var text [13][]string
	var nodesUp, nodes []int32
	var ram, cpu, disk []int64
	var created []*time.Time
	var raws, digests, bases [][]byte
	var seqs []*int64
	for _, sn := range rows {
		labels, err := json.Marshal(sn.labels)
		if err != nil {
			return nil, fmt.Errorf("encoding labels: %w", err)
		}
		for i, value := range [...]string{
			sn.clusterID, sn.name, string(sn.phase), sn.reason, sn.cloud, sn.region, sn.version, sn.versionOrder, sn.packageID, sn.size.name, sn.endpoint,
			string(labels), sn.search,
		} {
			text[i] = append(text[i], value)
		}
		nodesUp, nodes = append(nodesUp, sn.nodesUp), append(nodes, sn.nodes)
		ram, cpu, disk = append(ram, sn.size.ramMiB), append(cpu, sn.size.cpuMilli), append(disk, sn.size.diskMiB)
		created = append(created, sn.createdAt)
		raws, digests = append(raws, sn.raw), append(digests, sn.digest)
		was := from[sn.clusterID]
		bases, seqs = append(bases, was.raw), append(seqs, was.seq)
	}
	return []any{
		accountID, text[0], text[1], text[2], text[3], text[4], text[5], text[6], text[7], nodesUp, nodes, text[8], text[9], ram, cpu, disk, text[10],
		text[11], text[12], created, raws, digests, readAt, byAct, bases, seqs,
	}, nil
}

// storeCluster stores a cluster as it was read after an act of ours. Refreshes that began before
// this do not overwrite it. Nothing is stored when the account has been moved to another API meanwhile.
// ErrNotFound when the account is not registered any more.
func (s *Service) storeCluster(ctx context.Context, accountID uuid.UUID, c cloudapi.Cluster) error {
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if moved, err := movedFrom(ctx, tx, accountID, c.Generation); err != nil || moved {
			return err
		}
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
			return err
		}
		arguments, err := upsertArguments(accountID, []snapshot{snapshotOf(c, nodeSize{})}, now, true, nil)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, upsertClusters, arguments...); err != nil {
			return err
		}
		return notifyClusters(ctx, tx, accountID, plain(c.ID))
	})
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("storing a cluster: %w", unavailable(err))
	}
	return nil
}

// movedFrom reports whether the account is on another API than the one that was read, and keeps it
// where it is until the transaction ends. ErrNotFound when it is not registered any more.
func movedFrom(ctx context.Context, tx pgx.Tx, accountID uuid.UUID, read cloudapi.Generation) (bool, error) {
	var generation string
	err := tx.QueryRow(ctx, `SELECT generation FROM accounts WHERE id = $1 FOR KEY SHARE`, accountID).Scan(&generation)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrNotFound
	}
	if err != nil {
		return false, fmt.Errorf("reading the account's API: %w", err)
	}
	return cloudapi.Generation(generation) != read, nil
}

// storeGone stores that upstream answered not found for a cluster after an act of ours.
func (s *Service) storeGone(ctx context.Context, accountID uuid.UUID, clusterID string) error {
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			UPDATE clusters c SET gone_at = clock_timestamp(), written_at = clock_timestamp(), missing_at = NULL,
				base = coalesce(base, raw), base_seq = coalesce(base_seq, `+lastLogSeq+`)
			WHERE account_id = $1 AND cluster_id = $2 AND gone_at IS NULL`, accountID, clusterID); err != nil {
			return err
		}
		return notifyClusters(ctx, tx, accountID, clusterID)
	})
	if err != nil {
		return fmt.Errorf("storing that a cluster is gone: %w", unavailable(err))
	}
	return nil
}
