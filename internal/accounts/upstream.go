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
	CreateCluster(ctx context.Context, n cloudapi.NewCluster) (cloudapi.Cluster, error)
	UpdateCluster(ctx context.Context, read cloudapi.Cluster, e cloudapi.ClusterEdit) (cloudapi.Cluster, error)
	RestartCluster(ctx context.Context, id string) error
	SuspendCluster(ctx context.Context, id string) error
	UnsuspendCluster(ctx context.Context, id string) error
	DeleteCluster(ctx context.Context, id string, deleteBackups bool) error

	DatabaseKeys(ctx context.Context, cluster string) (cloudapi.KeyListing, error)
	CreateDatabaseKey(ctx context.Context, n cloudapi.NewDatabaseKey) (cloudapi.DatabaseKey, cloudapi.Secret, error)
	DeleteDatabaseKey(ctx context.Context, cluster, id string) error
	AdminKeys(ctx context.Context, cluster string) (cloudapi.KeyListing, error)
	CreateAdminKey(ctx context.Context, clusters []string) (cloudapi.DatabaseKey, cloudapi.Secret, error)
	UpdateAdminKey(ctx context.Context, id string, clusters []string) (cloudapi.DatabaseKey, error)
	DeleteAdminKey(ctx context.Context, id string) error

	ManagementKeys(ctx context.Context) ([]cloudapi.ManagementKey, error)
	CreateManagementKey(ctx context.Context) (cloudapi.ManagementKey, cloudapi.Secret, error)
	DeleteManagementKey(ctx context.Context, id string) error

	Alerts(ctx context.Context, cluster string) (cloudapi.AlertList, error)
	Backups(ctx context.Context, pageToken string) (cloudapi.Listing[cloudapi.Backup], error)
	BackupSchedules(ctx context.Context, pageToken string) (cloudapi.Listing[cloudapi.BackupSchedule], error)

	Packages(ctx context.Context, provider, region string) ([]cloudapi.Package, error)
	Package(ctx context.Context, provider, region, id string) (cloudapi.Package, error)
	Providers(ctx context.Context) ([]cloudapi.Provider, error)
	Regions(ctx context.Context, provider string) ([]cloudapi.Region, error)
	Releases(ctx context.Context, cluster string) ([]cloudapi.Release, error)
	SuggestClusterName(ctx context.Context) (string, error)
	Quote(ctx context.Context, q cloudapi.QuoteFor) (cloudapi.Quote, error)
	Quotas(ctx context.Context) (cloudapi.Quotas, error)
	DownscaleRisks(ctx context.Context, cluster, packageID string) ([]cloudapi.DownscaleRisk, error)
}
