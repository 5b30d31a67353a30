package cloudapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeysThatCannotBeReadAreCounted, with their ids where these can be read; clusters that a key names again are named once,
// and those that are left out are counted.
func TestKeysThatCannotBeReadAreCounted(t *testing.T) {
	ids := make([]string, 0, maxKeyClusters+4)
	for i := range maxKeyClusters + 2 {
		ids = append(ids, fmt.Sprintf("%q", fmt.Sprintf("c-%d", i)))
	}
	ids = append(ids, `"c-0"`, `"../x"`)
	for op, body := range map[string]string{
		OpListDatabaseAPIKeysV2.Name: `{"items":[{"id":"good","clusterId":"c"},{"id":"whole"},{"clusterId":"c"},{"id":"theirs","clusterId":"c","accountId":"00000000-0000-4000-8000-0000000000ff"},7]}`,
		OpListDatabaseAPIKeysV1.Name: `{"items":[{"id":"good","clusterIds":[` + strings.Join(ids, ",") + `]},{"id":"whole","clusterIds":[]},{"clusterIds":["c"]}]}`,
		OpPAListAPIKeys.Name:         `[{"id":"good","cluster_ids":[` + strings.Join(ids, ",") + `]},{"id":"whole","cluster_ids":["","../x"]},{"cluster_ids":["c"]}]`,
	} {
		u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body) //nolint:errcheck // the client has gone
		})
		var list KeyListing
		var err error
		want := []string{"whole", ""}
		switch op {
		case OpListDatabaseAPIKeysV2.Name:
			list, err = NewCurrentAPI(u.conn(Current)).DatabaseKeys(t.Context(), "")
			want = []string{"whole", "", "theirs", ""}
		case OpListDatabaseAPIKeysV1.Name:
			list, err = NewCurrentAPI(u.conn(Current)).AdminKeys(t.Context(), "")
		default:
			list, err = NewLegacyAPI(u.conn(PAV1)).AdminKeys(t.Context(), "")
		}
		if err != nil || len(list.Keys) != 1 || list.Keys[0].ID != "good" {
			t.Fatalf("%s: %+v, %v", op, list, err)
		}
		var unreadable []string
		for _, k := range list.Unreadable {
			unreadable = append(unreadable, k.ID)
			if k.Reason == "" {
				t.Errorf("%s: no reason for %q", op, k.ID)
			}
		}
		if diff := cmp.Diff(want, unreadable); diff != "" {
			t.Errorf("%s: unreadable (-want +got)\n%s", op, diff)
		}
		if key := list.Keys[0]; key.Admin {
			once := slices.Compact(slices.Sorted(slices.Values(key.Clusters)))
			if len(key.Clusters) != maxKeyClusters || len(once) != maxKeyClusters || key.More != 3 {
				t.Errorf("%s: %d clusters, %d of them different, %d more", op, len(key.Clusters), len(once), key.More)
			}
		}
	}
}
