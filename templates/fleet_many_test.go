package templates

import (
	"strings"
	"testing"
)

func TestCountsStopAtTheCap(t *testing.T) {
	for n, want := range map[int]string{0: "0", 1: "1", 1999: "1,999", CountCap: "2,000", CountCap + 1: "2,000+", 5000: "2,000+"} {
		if got := CountUpTo(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestTroublesAreSummedUp: however many accounts fail, and for however many reasons, what is said of
// them is bounded, and each is counted once.
func TestTroublesAreSummedUp(t *testing.T) {
	v := sampleManyClusters()
	trouble, fine := v.troubled()
	groups := troubleGroups(trouble)
	n := 0
	for i, g := range groups {
		n += len(g.Accounts) + g.More
		if len(g.Accounts) > maxTroubleNames {
			t.Errorf("%q names %d accounts", g.Words, len(g.Accounts))
		}
		if i > 0 && len(groups[i-1].Accounts)+groups[i-1].More < len(g.Accounts)+g.More {
			t.Error("a smaller group is before a larger one")
		}
	}
	if n != len(trouble) || len(trouble) != 40 || len(fine) != 60 || len(groups) != maxTroubleGroups {
		t.Errorf("%d of %d in %d groups, %d fine", n, len(trouble), len(groups), len(fine))
	}
	var page strings.Builder
	if err := FleetRegion(v).Render(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, words := range []string{"40 of 100 accounts", "2,000+ clusters", "60 accounts fresh", "and 8 more", `href="/accounts?state=trouble"`} {
		if !strings.Contains(text, words) {
			t.Errorf("the fleet does not say %q", words)
		}
	}
	if strings.Contains(text, "of 2,000+") || strings.Count(text, "account-trouble\"") > 60 {
		t.Error("the fleet says too much")
	}
}
