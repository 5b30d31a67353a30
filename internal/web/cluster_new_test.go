package web

import (
	"strings"
	"testing"

	"quartermaster/internal/accounts"
)

// Clusters are counted up to a bound, and what is counted no further is not told as a number.
func TestQuotaOfAnAccountWithMoreClustersThanAreCounted(t *testing.T) {
	form := accounts.ClusterForm{Account: accounts.Account{Clusters: accounts.CountCap + 1}}
	form.Quotas.Clusters = 5000
	if words := strings.Join(quotaWords(form), " "); !strings.Contains(words, "is known to have 2,000+.") {
		t.Errorf("it says: %s", words)
	}
}
