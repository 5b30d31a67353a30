package accounts

import (
	"slices"
	"testing"

	"quartermaster/internal/accounts/access"
)

// TestEffectivePermissionsFitTheActs: what a scope of clusters is said to give is what acts on clusters need, and nothing
// that only acts on accounts or on the console need; everything gives all.
func TestEffectivePermissionsFitTheActs(t *testing.T) {
	all := append(access.Upstream(), access.Own()...)
	clusters, account := access.Effective(all, access.ScopeCluster), access.Effective(all, access.ScopeAccount)
	for _, act := range Acts() {
		for _, p := range slices.Concat(act.Needs.All, act.Needs.Any) {
			switch act.TargetKind {
			case KindCluster, KindAlert, KindBackup, KindKey, KindAdminKey:
				if !slices.Contains(clusters, p) || !slices.Contains(account, p) {
					t.Errorf("%s on a cluster needs %s, which is said to take no effect there", act.Name, p)
				}
			case KindAccount, KindManagementKey:
				if slices.Contains(clusters, p) || !slices.Contains(account, p) {
					t.Errorf("%s on an account needs %s: a scope of clusters is said to give it, or one of accounts not to", act.Name, p)
				}
			case KindMember, KindBreakGlass:
				if slices.Contains(clusters, p) || slices.Contains(account, p) {
					t.Errorf("%s needs %s on everything, which a narrower scope is said to give", act.Name, p)
				}
			}
		}
	}
	if got := access.Effective(all, access.ScopeEverything); !slices.Equal(got, all) {
		t.Errorf("everything gives %d of %d permissions", len(got), len(all))
	}
	if got := access.Effective(all, access.ScopeLabels); !slices.Equal(got, clusters) {
		t.Errorf("labels give %v", got)
	}
}
