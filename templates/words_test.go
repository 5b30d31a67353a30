package templates

import (
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{Words("NOT_READY"), "Not ready"}, {Words("HEALTHY"), "Healthy"}, {Words("eu-central-1"), "eu-central-1"}, {Words(""), ""}, {Words("A B"), "A B"},
		{Ago(sampleNow, sampleNow), "now"}, {Ago(sampleNow, before(4*time.Second)), "now"}, {Ago(sampleNow, before(59*time.Second)), "59 s ago"},
		{Ago(sampleNow, before(time.Minute)), "1 min ago"}, {Ago(sampleNow, before(90*time.Minute)), "1 h ago"}, {Ago(sampleNow, before(30*day)), "1 mo ago"},
		{Ago(sampleNow, before(365*day)), "1 y ago"}, {Ago(sampleNow, before(-2*time.Hour)), "in 2 h"},
		{Ago(sampleNow, before(-7*day+time.Second)), "in 7 d"}, {Ago(sampleNow, before(7*day-time.Second)), "6 d ago"}, {Ago(sampleNow, before(-59*time.Second)), "in 59 s"},
		{MiB(0), "–"}, {MiB(512), "512 MiB"}, {MiB(1024), "1 GiB"}, {MiB(1536), "1.5 GiB"}, {MiB(2 << 20), "2 TiB"},
		{CPU(0), "–"}, {CPU(500), "0.5 vCPU"}, {CPU(16000), "16 vCPU"}, {Amount(25.6), "25.6"}, {Amount(0), "0"}, {Amount(100), "100"},
		{Count(1, "cluster"), "1 cluster"}, {Count(0, "cluster"), "0 clusters"}, {Count(1204, "cluster"), "1,204 clusters"}, {thousands(1234567), "1,234,567"}, {thousands(-5), "-5"},
		{initials("Olga Operator"), "OO"}, {initials("ada@example.test"), "AE"}, {initials("…"), "?"}, {initials("éa 中文"), "É中"},
		{span(sampleNow, before(40*day)), "1 mo"}, {span(sampleNow, sampleNow), "now"}, {strings.Join(nameParts("a.b.C/D"), "|"), "a.|b.|C/|D"}, {strings.Join(nameParts(""), "|"), ""},
		{ActWords("cluster.restart"), "Restart cluster"}, {ActWords("cluster.unsuspend"), "Resume cluster"}, {ActWords("odd"), "odd"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestTones(t *testing.T) {
	for phase, want := range map[string]string{
		"HEALTHY": toneOK, "UPDATING": toneBusy, "BACKUP_RUNNING": toneBusy, "NOT_READY": toneWarn, "SUSPENDED": toneOff, "FAILED_TO_SYNC": toneBad, "NOT_FOUND": toneBad, "": toneOff, "SOMETHING_NEW": toneWarn,
	} {
		if got := phaseTone(phase); got != want {
			t.Errorf("phase %q has the tone %s, want %s", phase, got, want)
		}
	}
	for status, want := range map[string]string{"SUPPORTED": toneOK, "SCALABLE": toneOK, "NOT_SUPPORTED": toneOff, "UNSUPPORTED": toneOff, "DISABLED": toneOff, "": toneOff} {
		if got := capabilityTone(status); got != want {
			t.Errorf("capability %q has the tone %s, want %s", status, got, want)
		}
	}
}

// TestRegion proves that the id of a hybrid region is cut in a list, with the whole beside it, and
// that other regions are not.
func TestRegion(t *testing.T) {
	const id = "ad6e0ee7-af25-433f-bd10-05227d377128"
	_, cut := rendered(t, region(id))
	if !strings.Contains(cut, `title="`+id+`"`) || !strings.Contains(cut, "ad6e0ee7…") {
		t.Errorf("a hybrid region reads %s", cut)
	}
	for _, whole := range []string{"germanywestcentral", "ad6e0ee7-af25-433f-bd10-05227d37712g", "ad6e0ee7af25433fbd1005227d377128----", strings.Repeat("é", 18)} {
		if _, got := rendered(t, region(whole)); !strings.Contains(got, whole) || strings.Contains(got, "…") {
			t.Errorf("the region %s reads %s", whole, got)
		}
	}
}

// TestMeIsInTheOrderOfWhatIsAsked: who one is and what one may do come first, then where one is signed in and how the
// rights came, and what the provider said last and folded.
func TestMeIsInTheOrderOfWhatIsAsked(t *testing.T) {
	_, page := rendered(t, Me(sampleMe()))
	last := -1
	for _, part := range []string{`id="who"`, `id="rights"`, `id="sessions"`, `id="mapping"`, `<details class="panel" id="sign-in"`, `id="claims"`} {
		at := strings.Index(page, part)
		if at <= last {
			t.Errorf("%s is at %d, and what stands before it at %d", part, at, last)
		}
		last = at
	}
}

// TestAReviewOfThePastSaysWhatWasUsedThen: a grant that was young on the day that is looked at was not unused for long
// then, however old it is today.
func TestAReviewOfThePastSaysWhatWasUsedThen(t *testing.T) {
	given := before(200 * day)
	for since, want := range map[time.Duration]string{day: "not yet", 89 * day: "not yet", 91 * day: "none in 90 days"} {
		v := ReviewView{Page: samplePage("Access review", "review-index", "admin"), Moment: given.Add(since), Past: true, Total: 1, All: 1, Rows: []ReviewRow{{Name: "Vera Viewer", Role: "viewer", Since: given}}}
		if _, page := rendered(t, Review(v)); !strings.Contains(page, ">"+want+"<") {
			t.Errorf("%v after the grant the page does not say %q", since, want)
		}
	}
}
