package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pageSize is the most that ListClusters gives at once.
const pageSize = 250

// maxPageToken bounds a token that is sent back.
const maxPageToken = 4096

// CurrentAPI is the current REST gateway seen through one Conn. Its methods return what Conn.Do
// returns, and a Malformed *Error for an answer of a wrong shape.
type CurrentAPI struct{ conn *Conn }

// NewCurrentAPI returns the API of conn, whose generation is Current.
func NewCurrentAPI(conn *Conn) *CurrentAPI { return &CurrentAPI{conn} }

// Accounts returns the accounts of the key. It needs no permission and no account id in the Conn.
func (api *CurrentAPI) Accounts(ctx context.Context) ([]Account, error) {
	return listOf(ctx, api.conn, OpListAccounts, nil, nil, func(n node) (Account, error) {
		id, err := n.id()
		return Account{ID: id, Name: n.text("name"), OwnerEmail: n.text("ownerEmail"), CreatedAt: n.time("createdAt")}, err
	})
}

// Permissions returns what the key may do in the account, sorted. It needs no permission.
func (api *CurrentAPI) Permissions(ctx context.Context) ([]string, error) {
	answer, err := api.conn.Do(ctx, OpListEffectivePermissions, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	var permissions []string
	_, err = members(answer.Body, "permissions", func(raw json.RawMessage) error {
		n, err := parseNode(raw)
		if err != nil {
			return err
		}
		value := n.text("value")
		if value == "" || len(value) > 128 {
			return errors.New("a permission has no name")
		}
		permissions = append(permissions, value)
		return nil
	})
	if err != nil {
		return nil, api.conn.misshapen(OpListEffectivePermissions, answer, err)
	}
	slices.Sort(permissions)
	return slices.Compact(permissions), nil
}

// ListClusters returns a page of at most 250 clusters (more where the gateway gives more); an empty
// token asks for the first. A page that gives its own token, a cluster twice, or a cluster of
// another account is Malformed.
func (api *CurrentAPI) ListClusters(ctx context.Context, pageToken string) (ClusterPage, error) {
	query := url.Values{"pageSize": {strconv.Itoa(pageSize)}}
	if pageToken != "" {
		query.Set("pageToken", pageToken)
	}
	answer, err := api.conn.Do(ctx, OpListClusters, nil, query, nil)
	if err != nil {
		return ClusterPage{}, err
	}
	gather := api.conn.gatherClusters()
	rest, err := members(answer.Body, "items", gather.add)
	if err != nil {
		return ClusterPage{}, api.conn.misshapen(OpListClusters, answer, err)
	}
	page := ClusterPage{Clusters: gather.clusters}
	if page.Next, err = nextPage(rest); err != nil {
		return ClusterPage{}, api.conn.misshapen(OpListClusters, answer, err)
	}
	if page.Next != "" && page.Next == pageToken {
		return ClusterPage{}, api.conn.misshapen(OpListClusters, answer, errors.New("the page names itself as the next"))
	}
	return page, nil
}

// Cluster returns one cluster.
func (api *CurrentAPI) Cluster(ctx context.Context, id string) (Cluster, error) {
	answer, err := api.conn.Do(ctx, OpGetCluster, Params{"cluster_id": id}, nil, nil)
	if err != nil {
		return Cluster{}, err
	}
	rest, err := members(answer.Body, "", nil)
	if err != nil {
		return Cluster{}, api.conn.misshapen(OpGetCluster, answer, err)
	}
	return api.conn.oneCluster(OpGetCluster, answer, rest["cluster"], id)
}

// RestartCluster restarts the cluster's nodes.
func (api *CurrentAPI) RestartCluster(ctx context.Context, id string) error {
	return api.act(ctx, OpRestartCluster, id, nil)
}

// SuspendCluster stops a cluster and keeps its data.
func (api *CurrentAPI) SuspendCluster(ctx context.Context, id string) error {
	return api.act(ctx, OpSuspendCluster, id, nil)
}

// UnsuspendCluster starts a suspended cluster again.
func (api *CurrentAPI) UnsuspendCluster(ctx context.Context, id string) error {
	return api.act(ctx, OpUnsuspendCluster, id, nil)
}

// DeleteCluster deletes a cluster, and its backups where deleteBackups says so.
func (api *CurrentAPI) DeleteCluster(ctx context.Context, id string, deleteBackups bool) error {
	return api.act(ctx, OpDeleteCluster, id, url.Values{"deleteBackups": {strconv.FormatBool(deleteBackups)}})
}

func (api *CurrentAPI) act(ctx context.Context, op Op, id string, query url.Values) error {
	_, err := api.conn.Do(ctx, op, Params{"cluster_id": id}, query, nil)
	return err
}

// ManagementKeys returns the account's management keys, without their secrets.
func (api *CurrentAPI) ManagementKeys(ctx context.Context) ([]ManagementKey, error) {
	return listOf(ctx, api.conn, OpListManagementKeys, nil, nil, func(n node) (ManagementKey, error) {
		id, err := n.id()
		if account := n.text("accountId"); err == nil && account != "" && !strings.EqualFold(account, api.conn.cfg.CloudAccountID) {
			err = errors.New("a key belongs to another account")
		}
		return ManagementKey{ID: id, Prefix: n.text("prefix"), CreatedAt: n.time("createdAt")}, err
	})
}

// DeleteManagementKey revokes a management key of the account.
func (api *CurrentAPI) DeleteManagementKey(ctx context.Context, id string) error {
	_, err := api.conn.Do(ctx, OpDeleteManagementKey, Params{"management_key_id": id}, nil, nil)
	return err
}

// Packages returns the sizes of node that can be booked in a region; for hybrid the region may be empty.
func (api *CurrentAPI) Packages(ctx context.Context, provider, region string) ([]Package, error) {
	query := url.Values{"cloudProviderId": {provider}}
	if region != "" {
		query.Set("cloudProviderRegionId", region)
	}
	return listOf(ctx, api.conn, OpListPackages, nil, query, func(n node) (Package, error) {
		id, err := n.id()
		size := n.object("resourceConfiguration")
		return Package{
			ID: id, Name: n.text("name"), Type: n.text("type"), Currency: n.text("currency"), MultiAZ: n.bool("multiAz"),
			Tier:     n.enum("tier", enumPackageTier),
			Status:   n.enum("status", enumPackageStatus),
			CPUMilli: milli(size.text("cpu")), RAMMiB: mebibytes(size.text("ram")), DiskMiB: mebibytes(size.text("disk")),
			PricePerHourMillicents: max(0, n.integer("unitIntPricePerHour")),
		}, err
	})
}

// Providers returns the cloud providers of the account.
func (api *CurrentAPI) Providers(ctx context.Context) ([]Provider, error) {
	return listOf(ctx, api.conn, OpListCloudProviders, nil, nil, func(n node) (Provider, error) {
		id, err := n.id()
		return Provider{ID: id, Name: n.text("name"), Available: n.bool("available")}, err
	})
}

// Regions returns a provider's regions.
func (api *CurrentAPI) Regions(ctx context.Context, provider string) ([]Region, error) {
	return listOf(ctx, api.conn, OpListCloudProviderRegions, Params{"cloud_provider_id": provider}, nil, func(n node) (Region, error) {
		id, err := n.id()
		return Region{ID: id, Name: n.text("name"), Provider: orString(n.text("provider"), provider),
			Country: n.text("countryIsoCode"), Available: n.bool("available")}, err
	})
}

// Releases returns the versions of Qdrant that upstream knows.
func (api *CurrentAPI) Releases(ctx context.Context) ([]Release, error) {
	return listOf(ctx, api.conn, OpListQdrantReleases, nil, nil, func(n node) (Release, error) {
		r := Release{Version: n.text("version"), NotesURL: n.address("releaseNotesUrl"), Remarks: n.text("remarks"),
			Default: n.bool("default"), EndOfLife: n.bool("endOfLife"), Unavailable: n.bool("unavailable")}
		if r.Version == "" {
			return r, errors.New("a release has no version")
		}
		return r, nil
	})
}

// listOf calls an operation that answers {"items": [...]} and decodes each item.
func listOf[T any](ctx context.Context, conn *Conn, op Op, params Params, query url.Values, decode func(node) (T, error)) ([]T, error) {
	answer, err := conn.Do(ctx, op, params, query, nil)
	if err != nil {
		return nil, err
	}
	var items []T
	if _, err = members(answer.Body, "items", appendTo(&items, decode)); err != nil {
		return nil, conn.misshapen(op, answer, err)
	}
	return items, nil
}

func appendTo[T any](items *[]T, decode func(node) (T, error)) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		n, err := parseNode(raw)
		if err != nil {
			return err
		}
		item, err := decode(n)
		if err != nil {
			return err
		}
		*items = append(*items, item)
		return nil
	}
}

// misshapen is the error for a well-formed answer that does not say what it should.
func (c *Conn) misshapen(op Op, answer Answer, err error) *Error {
	return c.malformed(op, answer, "The answer does not have the shape it should: "+err.Error()+".")
}

// gathering collects the clusters of one answer.
type gathering struct {
	conn     *Conn
	clusters []Cluster
	seen     map[string]bool
}

func (c *Conn) gatherClusters() *gathering { return &gathering{conn: c, seen: map[string]bool{}} }

func (g *gathering) add(raw json.RawMessage) error {
	cluster, err := g.conn.decodeCluster(raw)
	if err != nil {
		return err
	}
	if g.seen[cluster.ID] {
		return fmt.Errorf("cluster %s is there twice", cluster.ID)
	}
	g.seen[cluster.ID] = true
	g.clusters = append(g.clusters, cluster)
	return nil
}

// decodeCluster decodes a cluster of this connection's account; one that names no account is taken
// to be of it.
func (c *Conn) decodeCluster(raw json.RawMessage) (Cluster, error) {
	cluster, err := DecodeCluster(c.cfg.Generation, raw)
	if err != nil {
		return Cluster{}, err
	}
	if cluster.AccountID == "" {
		cluster.AccountID = c.cfg.CloudAccountID
	}
	if !strings.EqualFold(cluster.AccountID, c.cfg.CloudAccountID) {
		return Cluster{}, fmt.Errorf("cluster %s belongs to another account", cluster.ID)
	}
	return cluster, nil
}

func (c *Conn) oneCluster(op Op, answer Answer, raw json.RawMessage, id string) (Cluster, error) {
	if len(raw) == 0 {
		return Cluster{}, c.misshapen(op, answer, errors.New("there is no cluster in it"))
	}
	cluster, err := c.decodeCluster(raw)
	if err != nil {
		return Cluster{}, c.misshapen(op, answer, err)
	}
	if !strings.EqualFold(cluster.ID, id) {
		return Cluster{}, c.misshapen(op, answer, errors.New("it is another cluster"))
	}
	return cluster, nil
}

func nextPage(members map[string]json.RawMessage) (string, error) {
	raw := members["nextPageToken"]
	if raw == nil {
		raw = members["next_page_token"]
	}
	var next *string
	if raw == nil {
		return "", nil
	}
	if err := json.Unmarshal(raw, &next); err != nil {
		return "", errors.New("the next page's token is not a string")
	}
	if next == nil {
		return "", nil
	}
	if len(*next) > maxPageToken {
		return "", fmt.Errorf("the next page's token is longer than %d bytes", maxPageToken)
	}
	return *next, nil
}

// mebibytes reads a size such as 1GiB, 8Gi or 512MiB; what it cannot read is 0.
func mebibytes(size string) int64 {
	number, unit := splitUnit(size)
	switch strings.TrimSuffix(unit, "B") {
	case "Ti":
		return whole(number * 1024 * 1024)
	case "Gi", "G":
		return whole(number * 1024)
	case "Mi", "M":
		return whole(number)
	}
	return 0
}

// milli reads an amount of cpu such as 500m or 2; what it cannot read is 0.
func milli(cpu string) int64 {
	switch number, unit := splitUnit(cpu); unit {
	case "m":
		return whole(number)
	case "":
		return whole(number * 1000)
	}
	return 0
}

func splitUnit(s string) (float64, string) {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	number, err := strconv.ParseFloat(s[:end], 64)
	if err != nil {
		return 0, "?"
	}
	return number, strings.TrimSpace(s[end:])
}

func whole(f float64) int64 {
	if f < 0 || f > 1<<50 {
		return 0
	}
	return int64(math.Round(f))
}
