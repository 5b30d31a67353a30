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

// Bounds of what one package or region lists.
const (
	maxTiers   = 20
	maxClasses = 100
)

// CurrentAPI is the current REST gateway seen through one Conn. Its methods return what Conn.Do
// returns, and a Malformed *Error for an answer of a wrong shape.
type CurrentAPI struct{ conn *Conn }

// NewCurrentAPI returns the API of conn, whose generation is Current.
func NewCurrentAPI(conn *Conn) *CurrentAPI { return &CurrentAPI{conn} }

// Accounts returns the accounts of the key. It needs no permission and no account id in the Conn.
func (api *CurrentAPI) Accounts(ctx context.Context) ([]Account, error) {
	return listOf(ctx, api.conn, OpListAccounts, nil, nil, "items", func(n node) (Account, error) {
		id, err := n.id()
		return Account{ID: id, Name: n.words("name"), OwnerEmail: n.words("ownerEmail"), CreatedAt: n.time("createdAt")}, err
	})
}

// Permissions returns what the key may do in the account, sorted. It needs no permission.
func (api *CurrentAPI) Permissions(ctx context.Context) ([]string, error) {
	permissions, err := listOf(ctx, api.conn, OpListEffectivePermissions, nil, nil, "permissions", func(n node) (string, error) {
		value := n.text("value")
		if value == "" || len(value) > 128 {
			return "", errors.New("a permission has no name")
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(permissions)
	return slices.Compact(permissions), nil
}

// ListClusters returns a page of at most 250 clusters (more where the gateway gives more); an empty
// token asks for the first. A page is Malformed that gives its own token, holds a cluster of another
// account, or of whose clusters not one can be read.
func (api *CurrentAPI) ListClusters(ctx context.Context, pageToken string) (ClusterPage, error) {
	query := url.Values{"pageSize": {strconv.Itoa(pageSize)}}
	if pageToken != "" {
		query.Set("pageToken", pageToken)
	}
	answer, err := api.conn.Do(ctx, OpListClusters, nil, query, nil)
	if err != nil {
		return ClusterPage{}, err
	}
	done, err := api.conn.decoding(ctx, answer)
	if err != nil {
		return ClusterPage{}, err
	}
	defer done()
	gather := api.conn.gatherClusters()
	rest, err := members(answer.Body, "items", gather.add)
	if err != nil {
		return ClusterPage{}, api.conn.misshapen(OpListClusters, answer, err)
	}
	page, err := gather.page()
	if err != nil {
		return ClusterPage{}, api.conn.misshapen(OpListClusters, answer, err)
	}
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
	return listOf(ctx, api.conn, OpListManagementKeys, nil, nil, "items", api.conn.managementKey)
}

// DeleteManagementKey revokes a management key of the account.
func (api *CurrentAPI) DeleteManagementKey(ctx context.Context, id string) error {
	_, err := api.conn.Do(ctx, OpDeleteManagementKey, Params{"management_key_id": id}, nil, nil)
	return err
}

// Packages returns the sizes of node in a region, of every tier, and those too that cannot be booked any more: clusters still have
// them. For hybrid the region may be empty. It costs a call for each tier, since upstream lists one at a time; when one fails, so does it.
func (api *CurrentAPI) Packages(ctx context.Context, provider, region string) ([]Package, error) {
	var all []Package
	for _, tier := range enumPackageTier.names {
		query := url.Values{
			"cloudProviderId": {provider}, "tier": {enumPackageTier.prefix + tier},
			"statuses": {enumPackageStatus.prefix + "ACTIVE", enumPackageStatus.prefix + "DEACTIVATED"},
		}
		if region != "" {
			query.Set("cloudProviderRegionId", region)
		}
		listed, err := listOf(ctx, api.conn, OpListPackages, nil, query, "items", currentPackage)
		if err != nil {
			return nil, err
		}
		for _, p := range listed {
			if !slices.ContainsFunc(all, func(other Package) bool { return other.ID == p.ID }) {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// Package returns one size of node, also one that cannot be booked any more.
func (api *CurrentAPI) Package(ctx context.Context, provider, region, id string) (Package, error) {
	query := url.Values{"cloudProviderId": {provider}}
	if region != "" {
		query.Set("cloudProviderRegionId", region)
	}
	answer, err := api.conn.Do(ctx, OpGetPackage, Params{"id": id}, query, nil)
	if err != nil {
		return Package{}, err
	}
	n, err := parseNode(answer.Body)
	var p Package
	if err == nil {
		p, err = currentPackage(n.object("package"))
	}
	if err != nil {
		return Package{}, api.conn.misshapen(OpGetPackage, answer, err)
	}
	return p, nil
}

func currentPackage(n node) (Package, error) {
	id, err := n.id()
	size := n.object("resourceConfiguration")
	return Package{
		ID: id, Name: n.words("name"), Type: n.words("type"), Currency: n.text("currency"), MultiAZ: n.bool("multiAz"),
		Tier:     n.enum("tier", enumPackageTier),
		Status:   n.enum("status", enumPackageStatus),
		CPUMilli: milli(size.text("cpu")), RAMMiB: mebibytes(size.text("ram")), DiskMiB: mebibytes(size.text("disk")),
		GPUMilli: milli(size.text("gpu")), GPURAMMiB: mebibytes(size.text("gpuRam")),
		PricePerHourMillicents:     max(0, n.integer("unitIntPricePerHour")),
		DiskPricePerHourMillicents: max(0, n.object("availableAdditionalResources").integer("diskPricePerHour")),
		StorageTiers:               storageTiers(n.objects("availableStorageTierConfigurations")),
	}, err
}

func storageTiers(offered []node) []StorageTier {
	var tiers []StorageTier
	for _, n := range offered[:min(maxTiers, len(offered))] {
		if name := n.enum("storageTierType", enumStorageTier); name != "" {
			tiers = append(tiers, StorageTier{Name: name, PricePerHourMillicents: max(0, n.integer("pricePerHour"))})
		}
	}
	return tiers
}

// Providers returns the cloud providers of the account.
func (api *CurrentAPI) Providers(ctx context.Context) ([]Provider, error) {
	return listOf(ctx, api.conn, OpListCloudProviders, nil, nil, "items", func(n node) (Provider, error) {
		id, err := n.id()
		return Provider{ID: id, Name: n.words("name"), Available: n.bool("available")}, err
	})
}

// Regions returns a provider's regions.
func (api *CurrentAPI) Regions(ctx context.Context, provider string) ([]Region, error) {
	return listOf(ctx, api.conn, OpListCloudProviderRegions, Params{"cloud_provider_id": provider}, nil, "items", func(n node) (Region, error) {
		id, err := n.id()
		return Region{ID: id, Name: n.words("name"), Provider: orString(n.text("provider"), provider),
			Country: n.words("countryIsoCode"), Available: n.bool("available"),
			StorageClasses: namesOf(n.objects("storageClasses")), VolumeSnapshotClasses: namesOf(n.objects("volumeSnapshotClasses"))}, err
	})
}

func namesOf(classes []node) []string {
	var names []string
	for _, n := range classes[:min(maxClasses, len(classes))] {
		if name := n.words("name"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Releases returns the versions of Qdrant that upstream knows, or for a cluster those it can be
// updated to.
func (api *CurrentAPI) Releases(ctx context.Context, cluster string) ([]Release, error) {
	return listOf(ctx, api.conn, OpListQdrantReleases, nil, clusterQuery("clusterId", cluster), "items", func(n node) (Release, error) {
		r := Release{Version: n.words("version"), NotesURL: n.address("releaseNotesUrl"), Remarks: n.words("remarks"),
			Default: n.bool("default"), EndOfLife: n.bool("endOfLife"), Unavailable: n.bool("unavailable")}
		if r.Version == "" {
			return r, errors.New("a release has no version")
		}
		return r, nil
	})
}

// listOf calls an operation that answers {"items": [...]}, or another name of a list, and decodes each
// item, as reading does.
func listOf[T any](ctx context.Context, conn *Conn, op Op, params Params, query url.Values, list string, decode func(node) (T, error)) ([]T, error) {
	answer, err := conn.Do(ctx, op, params, query, nil)
	if err != nil {
		return nil, err
	}
	read := reading[T]{decode: decode}
	if _, err = members(answer.Body, list, read.add); err == nil {
		err = read.failure()
	}
	if err != nil {
		return nil, conn.misshapen(op, answer, err)
	}
	return read.items, nil
}

// reading collects the items of a list. One that cannot be read is left out, so that a single
// novelty upstream hides nothing else; a list of which nothing can be read is an error.
type reading[T any] struct {
	decode func(node) (T, error)
	items  []T
	first  error // why the first of those left out was
}

func (r *reading[T]) add(raw json.RawMessage) error {
	n, err := parseNode(raw)
	var item T
	if err == nil {
		item, err = r.decode(n)
	}
	if err != nil {
		if r.first == nil {
			r.first = err
		}
		return nil
	}
	r.items = append(r.items, item)
	return nil
}

func (r *reading[T]) failure() error {
	if len(r.items) == 0 {
		return r.first
	}
	return nil
}

// misshapen is the error for a well-formed answer that does not say what it should.
func (c *Conn) misshapen(op Op, answer Answer, err error) *Error {
	return c.malformed(op, answer, "The answer does not have the shape it should: "+err.Error()+".")
}

// gathering collects the clusters of one answer.
type gathering struct {
	conn *Conn
	got  ClusterPage
	seen map[string]bool
}

func (c *Conn) gatherClusters() *gathering { return &gathering{conn: c, seen: map[string]bool{}} }

// add takes one item. Only a cluster of another account ends it: then the answer is somebody else's.
func (g *gathering) add(raw json.RawMessage) error {
	cluster, err := g.conn.decodeCluster(raw)
	switch {
	case errors.Is(err, errOtherAccount):
		return err
	case err != nil:
		g.got.Unreadable = append(g.got.Unreadable, UnreadableCluster{ID: idOf(raw), Reason: clean(err.Error(), maxMessageRunes)})
	case !g.seen[cluster.ID]: // of one that is there twice the first counts
		g.seen[cluster.ID] = true
		g.got.Clusters = append(g.got.Clusters, cluster)
	}
	return nil
}

// page returns what was gathered, and an error where that is nothing but unreadable.
func (g *gathering) page() (ClusterPage, error) {
	if len(g.got.Clusters) == 0 && len(g.got.Unreadable) > 0 {
		return ClusterPage{}, errors.New(g.got.Unreadable[0].Reason)
	}
	return g.got, nil
}

// idOf returns the id of what cannot be decoded otherwise, or nothing.
func idOf(raw json.RawMessage) string {
	var named struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &named) != nil || !isIdentifier(named.ID) {
		return ""
	}
	return named.ID
}

var errOtherAccount = errors.New("it belongs to another account")

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
		return Cluster{}, fmt.Errorf("cluster %s: %w", cluster.ID, errOtherAccount)
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
