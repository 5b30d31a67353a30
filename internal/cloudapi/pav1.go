package cloudapi

import (
	"context"
	"net/url"
	"strconv"
	"strings"
)

// LegacyAPI is pa/v1 seen through one Conn, with the methods of CurrentAPI. What pa/v1 lacks returns
// *UnsupportedError and sends nothing.
type LegacyAPI struct{ conn *Conn }

// NewLegacyAPI returns the API of conn, whose generation is PAV1.
func NewLegacyAPI(conn *Conn) *LegacyAPI { return &LegacyAPI{conn} }

func lacks(op, what string) *UnsupportedError {
	return &UnsupportedError{Op: op, Reason: "The legacy pa/v1 API has no " + what + "."}
}

// Accounts is not in pa/v1: the account id has to be known.
func (*LegacyAPI) Accounts(context.Context) ([]Account, error) {
	return nil, lacks("Accounts", "list of accounts")
}

// Permissions is not in pa/v1.
func (*LegacyAPI) Permissions(context.Context) ([]string, error) {
	return nil, lacks("Permissions", "list of permissions")
}

// ListClusters returns all clusters of the account. There is one page, so a token is Invalid.
func (api *LegacyAPI) ListClusters(ctx context.Context, pageToken string) (ClusterPage, error) {
	if pageToken != "" {
		return ClusterPage{}, &Error{Kind: Invalid, Op: OpPAListClusters, Message: "The legacy pa/v1 API has no pages."}
	}
	answer, err := api.conn.Do(ctx, OpPAListClusters, nil, nil, nil)
	if err != nil {
		return ClusterPage{}, err
	}
	done, err := api.conn.decoding(ctx, answer)
	if err != nil {
		return ClusterPage{}, err
	}
	defer done()
	gather := api.conn.gatherClusters()
	err = topList(answer.Body, gather.add)
	var page ClusterPage
	if err == nil {
		page, err = gather.page()
	}
	if err != nil {
		return ClusterPage{}, api.conn.misshapen(OpPAListClusters, answer, err)
	}
	return page, nil
}

// Cluster returns one cluster.
func (api *LegacyAPI) Cluster(ctx context.Context, id string) (Cluster, error) {
	answer, err := api.conn.Do(ctx, OpPAGetCluster, Params{"cluster_id": id}, nil, nil)
	if err != nil {
		return Cluster{}, err
	}
	return api.conn.oneCluster(OpPAGetCluster, answer, answer.Body, id)
}

// RestartCluster is not in pa/v1.
func (*LegacyAPI) RestartCluster(context.Context, string) error {
	return lacks("RestartCluster", "restart")
}

// SuspendCluster is not in pa/v1.
func (*LegacyAPI) SuspendCluster(context.Context, string) error {
	return lacks("SuspendCluster", "suspend")
}

// UnsuspendCluster is not in pa/v1.
func (*LegacyAPI) UnsuspendCluster(context.Context, string) error {
	return lacks("UnsuspendCluster", "resume")
}

// DeleteCluster deletes a cluster, and its backups where deleteBackups says so.
func (api *LegacyAPI) DeleteCluster(ctx context.Context, id string, deleteBackups bool) error {
	query := url.Values{"delete_backups": {strconv.FormatBool(deleteBackups)}}
	_, err := api.conn.Do(ctx, OpPADeleteCluster, Params{"cluster_id": id}, query, nil)
	return err
}

// ManagementKeys is not in pa/v1.
func (*LegacyAPI) ManagementKeys(context.Context) ([]ManagementKey, error) {
	return nil, lacks("ManagementKeys", "list of management keys")
}

// DeleteManagementKey is not in pa/v1.
func (*LegacyAPI) DeleteManagementKey(context.Context, string) error {
	return lacks("DeleteManagementKey", "way to delete a management key")
}

// Packages returns the sizes of node that can be booked in a region. pa/v1 asks for both and calls
// hybrid private.
func (api *LegacyAPI) Packages(ctx context.Context, provider, region string) ([]Package, error) {
	if provider == hybrid {
		provider, region = legacyHybrid, legacyHybrid
	}
	query := url.Values{"provider": {provider}, "region": {region}}
	answer, err := api.conn.Do(ctx, OpPAGetPackages, nil, query, nil)
	if err != nil {
		return nil, err
	}
	read := reading[Package]{decode: legacyPackage}
	if err = topList(answer.Body, read.add); err == nil {
		err = read.failure()
	}
	if err != nil {
		return nil, api.conn.misshapen(OpPAGetPackages, answer, err)
	}
	return read.items, nil
}

// Package is not in pa/v1.
func (*LegacyAPI) Package(context.Context, string, string, string) (Package, error) {
	return Package{}, lacks("Package", "way to ask for a single package")
}

func legacyPackage(n node) (Package, error) {
	id, err := n.id()
	p := Package{ID: id, Name: n.words("name"), Currency: strings.ToUpper(n.text("currency")),
		Type: "paid", PricePerHourMillicents: max(0, n.integer("unit_int_price_per_hour"))}
	if p.PricePerHourMillicents == 0 {
		p.Type = "free"
	}
	for _, r := range n.objects("resource_configurations") {
		amount := r.text("amount") + r.text("resource_unit")
		switch r.text("resource_type") {
		case "cpu":
			p.CPUMilli = milli(amount)
		case "ram":
			p.RAMMiB = mebibytes(amount)
		case "disk":
			p.DiskMiB = mebibytes(amount)
		}
	}
	return p, err
}

// Providers is not in pa/v1.
func (*LegacyAPI) Providers(context.Context) ([]Provider, error) {
	return nil, lacks("Providers", "list of cloud providers")
}

// Regions is not in pa/v1.
func (*LegacyAPI) Regions(context.Context, string) ([]Region, error) {
	return nil, lacks("Regions", "list of regions")
}

// Releases is not in pa/v1.
func (*LegacyAPI) Releases(context.Context, string) ([]Release, error) {
	return nil, lacks("Releases", "list of releases")
}
