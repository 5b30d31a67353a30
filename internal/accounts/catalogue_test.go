package accounts

import (
	"testing"
	"time"

	"quartermaster/internal/cloudapi"
)

// A size that was told while the clock was ahead is asked for again once it is right, as lists are.
func TestSizesOfPackagesAndAClockThatWasAhead(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	id := packageID{cloudapi.Current, "a"}
	for name, test := range map[string]struct {
		told time.Time
		want bool
	}{
		"a minute ago":   {now.Add(-time.Minute), true},
		"too long ago":   {now.Add(-catalogueLife), false},
		"a year to come": {now.Add(year), false},
	} {
		c := &catalogue{}
		c.tell(cloudapi.Current, []cloudapi.Package{{ID: "a", Name: "mx1"}}, test.told)
		if _, known := c.told(id, now); known != test.want {
			t.Errorf("told %s: known is %v, want %v", name, known, test.want)
		}
	}
}
