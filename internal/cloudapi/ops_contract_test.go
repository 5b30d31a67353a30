package cloudapi

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// servedServices are the services whose every rpc is in the table; the others of the API are not
// part of the console.
var servedServices = []string{
	"qdrant.cloud.account.v1.AccountService",
	"qdrant.cloud.auth.v1.AuthService",
	"qdrant.cloud.booking.v1.BookingService",
	"qdrant.cloud.cluster.auth.v1.DatabaseApiKeyService",
	"qdrant.cloud.cluster.auth.v1.EphemeralDashboardTokenService",
	"qdrant.cloud.cluster.auth.v2.DatabaseApiKeyService",
	"qdrant.cloud.cluster.backup.v1.BackupService",
	"qdrant.cloud.cluster.v1.ClusterService",
	"qdrant.cloud.iam.v1.IAMService",
	"qdrant.cloud.monitoring.v1.MonitoringService",
	"qdrant.cloud.platform.v1.PlatformService",
	"qdrant.cloud.quota.v1.QuotaService",
	"qdrant.cloud.ui.v1.ClusterDataService",
}

// specs returns the folder of the published API definitions.
func specs(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TEST_API_SPECS")
	if dir == "" {
		t.Skip("NOT RUN: TEST_API_SPECS is not set; the operations were not compared with the published API definitions")
	}
	return dir
}

// TestOperationsMatchTheCurrentAPI compares each row with the definition it was written from, both ways.
func TestOperationsMatchTheCurrentAPI(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(specs(t), "messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var defined struct {
		Services map[string][]struct {
			Name          string            `json:"name"`
			HTTP          map[string]string `json:"http"`
			Permissions   []string          `json:"permissions"`
			RequiresAll   *bool             `json:"requires_all_permissions"`
			Authenticated *bool             `json:"requires_authentication"`
			Actors        []string          `json:"actors"`
			Event         json.RawMessage   `json:"event"`
		} `json:"services"`
	}
	if err := json.Unmarshal(raw, &defined); err != nil {
		t.Fatal(err)
	}

	want := map[string]Op{}
	for _, service := range servedServices {
		rpcs := defined.Services[service]
		if len(rpcs) == 0 {
			t.Errorf("%s is not in messages.json", service)
		}
		for _, rpc := range rpcs {
			op := Op{RPC: service + "/" + rpc.Name, Name: rpc.Name, Generation: Current, Mutates: rpc.Event != nil}
			switch {
			case strings.Contains(service, ".auth.v1.Database"):
				op.Name += "V1"
			case strings.Contains(service, ".auth.v2.Database"):
				op.Name += "V2"
			}
			for method, path := range rpc.HTTP {
				if method == "body" {
					op.Body = path == "*"
					continue
				}
				op.Method, op.Path = strings.ToUpper(method), path
			}
			for _, p := range rpc.Permissions {
				if p != "" {
					op.Permissions = append(op.Permissions, p)
				}
			}
			op.AnyPermission = rpc.RequiresAll != nil && !*rpc.RequiresAll
			op.Public = rpc.Authenticated != nil && !*rpc.Authenticated
			op.UserOnly = slices.Equal(rpc.Actors, []string{"ACTOR_TYPE_USER"})
			op.Logs = rpc.Name == "GetClusterLogs" || rpc.Name == "GetClusterEvents" // our own word: they take long
			want[op.RPC] = op
		}
	}
	if diff := cmp.Diff(want, byRPC(t, Current)); diff != "" {
		t.Errorf("operations differ from the definitions (-defined +ours):\n%s", diff)
	}
}

// TestOperationsMatchPAV1 does the same for the legacy API.
func TestOperationsMatchPAV1(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(specs(t), "pa-v1.openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Op{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			rpc := "pa/v1/" + operation.OperationID
			want[rpc] = Op{
				Name: operation.OperationID, RPC: rpc, Generation: PAV1, Method: method, Path: path,
				Body: operation.RequestBody != nil, Mutates: method != http.MethodGet,
			}
		}
	}
	if diff := cmp.Diff(want, byRPC(t, PAV1)); diff != "" {
		t.Errorf("operations differ from the definition (-defined +ours):\n%s", diff)
	}
}

// TestEnumsMatchTheCurrentAPI compares the numbers of each decoded enum with the definition.
func TestEnumsMatchTheCurrentAPI(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(specs(t), "messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var defined struct {
		Enums map[string]map[string]int `json:"enums"`
	}
	if err := json.Unmarshal(raw, &defined); err != nil {
		t.Fatal(err)
	}
	ours := map[string]enum{
		"cluster.v1.ClusterPhase":                             enumPhase,
		"cluster.v1.ClusterNodeState":                         enumNodeState,
		"cluster.v1.ClusterNodeNotReadyCondition":             enumNotReady,
		"cluster.v1.ClusterNodeTerminationEvent":              enumTermination,
		"cluster.v1.ClusterNodeActionKind":                    enumNodeAction,
		"cluster.v1.ClusterDiskExpansionSupportStatus":        enumDiskExpansion,
		"cluster.v1.ClusterBackupSupportStatus":               enumBackupSupport,
		"cluster.v1.ClusterScalabilityStatus":                 enumScalability,
		"booking.v1.PackageTier":                              enumPackageTier,
		"booking.v1.PackageStatus":                            enumPackageStatus,
		"cluster.auth.v2.GlobalAccessRuleAccessType":          enumGlobalAccess,
		"cluster.auth.v2.CollectionAccessRuleAccessType":      enumCollectionAccess,
		"cluster.backup.v1.BackupStatus":                      enumBackupStatus,
		"cluster.backup.v1.BackupScheduleStatus":              enumScheduleStatus,
		"cluster.backup.v1.BackupRestoreStatus":               enumRestoreStatus,
		"monitoring.v1.ClusterAlertType":                      enumAlertType,
		"monitoring.v1.ClusterAlertSeverity":                  enumAlertSeverity,
		"monitoring.v1.ClusterAlertState":                     enumAlertState,
		"cluster.v1.ClusterServiceType":                       settingEnums["serviceType"],
		"cluster.v1.ClusterConfigurationGpuType":              settingEnums["gpuType"],
		"cluster.v1.ClusterConfigurationRestartPolicy":        settingEnums["restartPolicy"],
		"cluster.v1.ClusterConfigurationRebalanceStrategy":    settingEnums["rebalanceStrategy"],
		"common.v1.StorageTierType":                           settingEnums["storageTierType"],
		"cluster.v1.DatabaseConfigurationLogLevel":            settingEnums["logLevel"],
		"cluster.v1.AuditLogRotation":                         settingEnums["rotation"],
		"cluster.v1.TolerationOperator":                       settingEnums["operator"],
		"cluster.v1.TolerationEffect":                         settingEnums["effect"],
		"common.v1.TopologySpreadConstraintWhenUnsatisfiable": settingEnums["whenUnsatisfiable"],
	}
	for name, of := range ours {
		got := map[string]int{}
		for i, value := range of.names {
			got[of.prefix+value] = i + 1
		}
		want := map[string]int{}
		for value, number := range defined.Enums["qdrant.cloud."+name] {
			if number != 0 {
				want[value] = number
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs (-defined +ours):\n%s", name, diff)
		}
	}
}

// TestOperationsAreUsable holds without the definitions: names and bindings are unique, and every
// path is one the client can fill.
func TestOperationsAreUsable(t *testing.T) {
	names, bindings := map[string]bool{}, map[string]bool{}
	for _, op := range Operations() {
		name, binding := string(op.Generation)+" "+op.Name, op.Method+" "+op.Path
		if names[name] || bindings[binding] {
			t.Errorf("%s (%s) is there twice", name, binding)
		}
		names[name], bindings[binding] = true, true
		if !strings.HasPrefix(op.Path, "/") || strings.Count(op.Path, "{") != strings.Count(op.Path, "}") {
			t.Errorf("%s: path %q", op.Name, op.Path)
		}
		if op.Mutates && op.Method == http.MethodGet {
			t.Errorf("%s mutates with a GET, which is retried", op.Name)
		}
		if op.Public && (len(op.Permissions) > 0 || op.UserOnly) {
			t.Errorf("%s is public and asks for something", op.Name)
		}
	}
	if len(names) == 0 {
		t.Fatal("no operations")
	}
}

func byRPC(t *testing.T, generation Generation) map[string]Op {
	t.Helper()
	rows := map[string]Op{}
	for _, op := range Operations() {
		if op.Generation != generation {
			continue
		}
		if _, twice := rows[op.RPC]; twice {
			t.Errorf("%s is in the table twice", op.RPC)
		}
		rows[op.RPC] = op
	}
	return rows
}
