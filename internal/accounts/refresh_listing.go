package accounts

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi"
)

// listClusters reads all pages of an account's listing, and tells apart what could not be read.
func listClusters(ctx context.Context, from cloud) ([]cloudapi.Cluster, []cloudapi.UnreadableCluster, error) {
	var all []cloudapi.Cluster
	var unreadable []cloudapi.UnreadableCluster
	at := map[string]int{}
	asked := map[string]bool{}
	size, token := 0, ""
	for range maxPages {
		page, err := from.ListClusters(ctx, token)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range page.Clusters {
			size += len(c.Raw)
			// A cluster that moves to a later page while the pages are read is listed twice; the later one is newer.
			if i, twice := at[c.ID]; twice {
				all[i] = c
				continue
			}
			at[c.ID] = len(all)
			all = append(all, c)
		}
		unreadable = append(unreadable, page.Unreadable...)
		if len(all)+len(unreadable) > maxListed || size > maxListingBytes {
			return nil, nil, &listingError{"Qdrant Cloud listed more clusters than the console takes."}
		}
		if page.Next == "" {
			return all, unreadable, nil
		}
		if asked[page.Next] {
			return nil, nil, &listingError{"Qdrant Cloud's list of clusters does not end: a page led back to an earlier one."}
		}
		asked[page.Next] = true
		token = page.Next
	}
	return nil, nil, &listingError{"Qdrant Cloud's list of clusters does not end."}
}

// knownCluster is what a refresh must know of a stored row.
type knownCluster struct {
	ClusterID string
	Phase     cloudapi.Phase
	Digest    []byte
	PackageID string
	Package   string
	RAMMiB    int64 `db:"ram_mib"`
	CPUMilli  int64 `db:"cpu_milli"`
	DiskMiB   int64 `db:"disk_mib"`
	ChangedAt time.Time
	WrittenAt *time.Time
	MissingAt *time.Time
	GoneAt    *time.Time
	Unjudged  bool // a difference of it is not judged yet
}

func (s *Service) knownClusters(ctx context.Context, accountID uuid.UUID) (map[string]knownCluster, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT cluster_id, phase, digest, package_id, package, ram_mib, cpu_milli, disk_mib, changed_at, written_at, missing_at, gone_at,
			base IS NOT NULL AS unjudged
		FROM clusters WHERE account_id = $1`, accountID)
	if err != nil {
		return nil, fmt.Errorf("reading known clusters: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownCluster])
	if err != nil {
		return nil, fmt.Errorf("reading known clusters: %w", err)
	}
	known := make(map[string]knownCluster, len(stored))
	for _, k := range stored {
		known[k.ClusterID] = k
	}
	return known, nil
}

// absence is what became of clusters that were known and are not in a complete listing.
type absence struct {
	gone     []string           // upstream says not found
	missing  []string           // nothing is concluded
	present  []cloudapi.Cluster // upstream still has them: the listing left them out
	vanished int                // so many are missing at once that something else must be wrong
	unread   string             // what of the listing could not be read, in words for people; empty: nothing
}

// concludeMissing asks upstream for each cluster that is missing, but for those that were listed and
// could not be read. When more than half of the
// account's clusters, and at least three, are missing at once, it concludes nothing. Clusters on
// their way out do not count.
func (s *Service) concludeMissing(ctx context.Context, up *link, l lease, listed []cloudapi.Cluster, unreadable []cloudapi.UnreadableCluster, known map[string]knownCluster) (absence, error) {
	in := make(map[string]bool, len(listed))
	for _, c := range listed {
		in[plain(c.ID)] = true
	}
	var found absence
	for _, c := range unreadable {
		if k, old := known[plain(c.ID)]; old && k.GoneAt == nil && !in[plain(c.ID)] {
			in[plain(c.ID)] = true
			found.missing = append(found.missing, plain(c.ID))
		}
	}
	if len(unreadable) > 0 {
		found.unread = cut(fmt.Sprintf("The console could not read %d of the clusters that Qdrant Cloud listed: %s.", len(unreadable), unreadable[0].Reason), maxSnapshotText)
	}
	var expected, unexpected []string
	alive := 0
	for id, k := range known {
		if k.GoneAt != nil {
			continue
		}
		alive++
		if in[id] || k.WrittenAt != nil && !k.WrittenAt.Before(l.StartedAt) && k.WrittenAt.Before(l.StartedAt.Add(clockAhead)) {
			continue
		}
		if k.Phase == cloudapi.PhaseDeleting {
			expected = append(expected, id)
		} else {
			unexpected = append(unexpected, id)
		}
	}
	slices.Sort(expected)
	slices.Sort(unexpected)
	if len(unexpected) >= 3 && 2*len(unexpected) > alive {
		found.vanished = len(unexpected)
		found.missing = append(found.missing, unexpected...)
		unexpected = nil
	}
	for i, id := range slices.Concat(expected, unexpected) {
		if i >= maxLookups {
			found.missing = append(found.missing, id)
			continue
		}
		c, err := up.cloud.Cluster(ctx, id)
		if err == nil {
			found.present = append(found.present, c)
			continue
		}
		if ctx.Err() != nil {
			return absence{}, err
		}
		if refused, ok := cloudapi.AsError(err); ok && refused.Kind == cloudapi.NotFound {
			found.gone = append(found.gone, id)
		} else {
			found.missing = append(found.missing, id)
		}
	}
	return found, nil
}

// snapshots makes rows of clusters, with the sizes of their packages where the catalogue is needed.
func (s *Service) snapshots(ctx context.Context, up *link, clusters []cloudapi.Cluster, known map[string]knownCluster) []snapshot {
	ctx, cancel := context.WithTimeout(ctx, catalogueTimeout)
	defer cancel()
	rows := make([]snapshot, 0, len(clusters))
	for _, c := range clusters {
		row := snapshotOf(c, nodeSize{})
		k, old := known[row.clusterID]
		if row.packageID != "" && (!old || k.Package == "" || k.PackageID != row.packageID || !bytes.Equal(k.Digest, row.digest)) {
			at := up.account.packageShelf(packagePlace(c.CloudProvider, c.Region))
			if booked, ok := s.refreshing.catalogue.size(ctx, up.cloud, at, c.Configuration.PackageID, s.cfg.Now, s.cfg.Logger); ok {
				row = snapshotOf(c, booked)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// differs reports whether the row is worth writing over what is known.
func (sn snapshot) differs(k knownCluster) bool {
	return k.GoneAt != nil || k.MissingAt != nil || !bytes.Equal(k.Digest, sn.digest) ||
		sn.size.name != "" && sn.size.name != k.Package ||
		sn.size.ramMiB != 0 && sn.size.ramMiB != k.RAMMiB || sn.size.cpuMilli != 0 && sn.size.cpuMilli != k.CPUMilli || sn.size.diskMiB != 0 && sn.size.diskMiB != k.DiskMiB
}
