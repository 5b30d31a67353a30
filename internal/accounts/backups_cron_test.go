package accounts

import (
	"testing"
	"time"
)

// TestCrontab: next times of what upstream takes as a schedule, and nothing where it is not known.
func TestCrontab(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		when, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct{ line, after, want string }{
		{"0 2 * * *", "2026-11-30 01:59:59", "2026-11-30 02:00:00"},
		{"0 2 * * *", "2026-11-30 02:00:00", "2026-12-01 02:00:00"},
		{"*/15 * * * *", "2026-11-30 23:46:00", "2026-12-01 00:00:00"},
		{"5/20 * * * *", "2026-11-30 10:06:00", "2026-11-30 10:25:00"},
		{"30 1-3 * * *", "2026-11-30 03:30:00", "2026-12-01 01:30:00"},
		{"0 4,16 * * *", "2026-11-30 04:00:00", "2026-11-30 16:00:00"},
		{"0 0 * * 0", "2026-11-30 00:00:00", "2026-12-06 00:00:00"}, // a Monday
		{"0 0 * * 7", "2026-11-30 00:00:00", "2026-12-06 00:00:00"},
		{"0 0 13 * 5", "2026-11-30 00:00:00", "2026-12-04 00:00:00"}, // either is enough
		{"0 0 */2 * 5", "2026-11-30 00:00:00", "2026-12-11 00:00:00"},
		{"0 0 29 2 *", "2026-11-30 00:00:00", "2028-02-29 00:00:00"},
		{"0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"},
		{"@daily", "2026-12-31 12:00:00", "2027-01-01 00:00:00"},
		{"@hourly", "2026-12-31 23:59:00", "2027-01-01 00:00:00"},
		{"@weekly", "2026-11-30 00:00:00", "2026-12-06 00:00:00"},
		{"@monthly", "2026-11-30 00:00:00", "2026-12-01 00:00:00"},
		{"@yearly", "2026-11-30 00:00:00", "2027-01-01 00:00:00"},
		{"@annually", "2026-11-30 00:00:00", "2027-01-01 00:00:00"},
		{"@every 36h", "2026-11-30 00:00:00", "2026-12-01 12:00:00"},
	} {
		tab, ok := parseCrontab(c.line)
		got, known := tab.after(at(c.after))
		if !ok || !known || !got.Equal(at(c.want)) {
			t.Errorf("%s after %s: %v %t %t, want %s", c.line, c.after, got, ok, known, c.want)
		}
	}
	for _, line := range []string{"@reboot", "0 0 31 2 *"} {
		tab, ok := parseCrontab(line)
		if next, known := tab.after(at("2026-11-30 00:00:00")); !ok || known {
			t.Errorf("%s: %v", line, next)
		}
	}
	for _, line := range []string{"", "* * * *", "0 0 2 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "-1 * * * *", "+1 * * * *", "*/0 * * * *", "5-1 * * * *",
		"a * * * *", "@never", "@every", "@every x", "@every 1ns", "1,, * * * *", "99999999999999999999 * * * *", "* * * * *\x00", "/ * * * *", "- * * * *"} {
		if tab, ok := parseCrontab(line); ok {
			t.Errorf("%q is taken as %+v", line, tab)
		}
	}
}

// FuzzCrontab: whatever a schedule is, the next time is later, in UTC and soon found.
func FuzzCrontab(f *testing.F) {
	for _, line := range []string{"0 2 * * *", "*/7 1-5 1,15 * 3", "@every 1h", "@reboot", "0 0 30 2 *"} {
		f.Add(line, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, line string, seconds int64) {
		tab, ok := parseCrontab(line)
		if !ok {
			return
		}
		from := time.Unix(seconds%4_000_000_000, 0)
		if next, known := tab.after(from); known && (!next.After(from) || next.Location() != time.UTC) {
			t.Fatalf("%q after %v is %v", line, from, next)
		}
	})
}

// TestCrontabIsSoonFound: a schedule that never comes, or seldom does, costs next to nothing: whoever makes many of them upstream
// keeps no page and no poller busy.
func TestCrontabIsSoonFound(t *testing.T) {
	from := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	for _, line := range []string{"0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 29 2 */6", "59 23 31 12 */6", "0 0 29 2 *"} {
		tab, ok := parseCrontab(line)
		if !ok {
			t.Fatalf("%q is not taken", line)
		}
		best := time.Hour
		for range 20 {
			began := time.Now()
			tab.after(from)
			best = min(best, time.Since(began))
		}
		if best > raceFactor*40*time.Microsecond {
			t.Errorf("the next time of %q takes %v to find", line, best)
		}
	}
}

// TestCrontabDayByDay: the next time is the one that going through each minute finds.
func TestCrontabDayByDay(t *testing.T) {
	from := time.Date(2027, 12, 30, 22, 58, 30, 0, time.UTC)
	for _, line := range []string{"0 0 29 2 1", "5 4 */10 * *", "0 12 1-7 * */7", "59 23 31 * 3", "0 0 31 */5 *", "30 6 * 2 1-5", "0 3 */2 3 */2", "0 0 30 4,6 *", "58 22 * * *", "59 22 30 12 *"} {
		tab, ok := parseCrontab(line)
		got, known := tab.after(from)
		if !ok || !known {
			t.Fatalf("%q: %t %t", line, ok, known)
		}
		want := from.Truncate(time.Minute).Add(time.Minute)
		for tab.hours&(1<<want.Hour()) == 0 || tab.minutes&(1<<want.Minute()) == 0 || tab.months&(1<<int(want.Month())) == 0 || !tab.on(want.Day(), int(want.Weekday())) {
			want = want.Add(time.Minute)
		}
		if !got.Equal(want) {
			t.Errorf("%q after %v is %v, want %v", line, from, got, want)
		}
	}
}
