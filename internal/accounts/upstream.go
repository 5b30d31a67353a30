package accounts

import (
	"context"

	"quartermaster/internal/cloudapi"
)

// cloud is what the domain asks of the Cloud API. cloudapi.CurrentAPI and cloudapi.LegacyAPI offer
// it, one a generation. What a generation lacks is answered with *cloudapi.UnsupportedError; every
// other refusal, of upstream or of the network, is a *cloudapi.Error.
type cloud interface {
	Accounts(ctx context.Context) ([]cloudapi.Account, error)
	Permissions(ctx context.Context) ([]string, error)

	ListClusters(ctx context.Context, pageToken string) (cloudapi.ClusterPage, error)
	Cluster(ctx context.Context, id string) (cloudapi.Cluster, error)
	RestartCluster(ctx context.Context, id string) error
	SuspendCluster(ctx context.Context, id string) error
	UnsuspendCluster(ctx context.Context, id string) error
	DeleteCluster(ctx context.Context, id string, deleteBackups bool) error

	ManagementKeys(ctx context.Context) ([]cloudapi.ManagementKey, error)
	DeleteManagementKey(ctx context.Context, id string) error

	Packages(ctx context.Context, provider, region string) ([]cloudapi.Package, error)
	Providers(ctx context.Context) ([]cloudapi.Provider, error)
	Regions(ctx context.Context, provider string) ([]cloudapi.Region, error)
	Releases(ctx context.Context) ([]cloudapi.Release, error)
}
