package sandbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestCronIsRead(t *testing.T) {
	from := time.Date(2028, 2, 27, 22, 30, 0, 0, time.UTC) // a Sunday, two days before the 29th
	for text, want := range map[string]string{
		"30 2 * * *": "2028-02-28 02:30:00", "*/20 * * * *": "2028-02-27 22:40:00", "5/20 * * * *": "2028-02-27 22:45:00", "0 0 29 2 *": "2028-02-29 00:00:00",
		"0 0 * * 7": "2028-03-05 00:00:00", "0 0 * * 0": "2028-03-05 00:00:00", "0 12 1,15 * *": "2028-03-01 12:00:00", "0 9-17 * * *": "2028-02-28 09:00:00",
		"0 0 13 * 5":    "2028-03-03 00:00:00", // one of the two days is enough
		"0 0 */2 * 1":   "2028-03-13 00:00:00", // with a star both have to fit: the 13th is an odd day and a Monday
		"15 30 2 * * *": "2028-02-28 02:30:15", "0 0 0 1 1 * 2030": "2030-01-01 00:00:00", "0 0 31 2 *": "never", "@reboot": "never",
		"@hourly": "2028-02-27 23:00:00", "@daily": "2028-02-28 00:00:00", "@weekly": "2028-03-05 00:00:00", "@monthly": "2028-03-01 00:00:00",
		"@yearly": "2029-01-01 00:00:00", "@annually": "2029-01-01 00:00:00", "@every 36h": "2028-02-29 10:30:00", "@every 5ns": "2028-02-27 22:30:01",
		"": "refused", "* * * *": "refused", "* * * * * * * *": "refused", "60 * * * *": "refused", "* 24 * * *": "refused", "* * 0 * *": "refused", "* * * 13 *": "refused",
		"* * * * 8": "refused", "*-5 * * * *": "refused", "9-5 * * * *": "refused", "*/0 * * * *": "refused", "*****": "refused", "@dailyfoo": "refused",
		"@every 0s": "refused", "@every 1d": "refused", "x * * * * *": "refused", "* * * * * * 1900": "refused", "99999999999999999999 * * * *": "refused",
	} {
		got := "never"
		c, err := parseCron(text)
		if err != nil {
			got = "refused"
		}
		for at := range c.forwards(from, from.AddDate(3, 0, 0), from) {
			got = at.Format(time.DateTime)
			break
		}
		if err == nil && got != want || err != nil && want != "refused" {
			t.Errorf("%q comes round next at %s (%v), want %s", text, got, err, want)
		}
	}
}

// TestCronWalks compares both walks with a look at each second.
func TestCronWalks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	field := func(low, high int) string {
		a, b := low+rng.IntN(high-low+1), low+rng.IntN(high-low+1)
		return []string{"*", "*", fmt.Sprint(a), fmt.Sprintf("%d,%d", a, b), fmt.Sprintf("%d-%d", min(a, b), max(a, b)), fmt.Sprintf("*/%d", 1+rng.IntN(9)), fmt.Sprintf("%d/7", a)}[rng.IntN(7)]
	}
	for range 60 {
		text := fmt.Sprintf("%s %s %s %s %s", field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
		c, err := parseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		after := time.Date(2027, time.Month(1+rng.IntN(12)), 1+rng.IntN(28), rng.IntN(24), rng.IntN(60), rng.IntN(60), rng.IntN(2), time.UTC)
		upTo := after.Add(time.Duration(rng.IntN(4*24*60)) * time.Minute)
		var want []time.Time
		for at := after.Truncate(time.Minute); !at.After(upTo); at = at.Add(time.Minute) {
			if at.After(after) && c.on(at.Truncate(day)) && c.hours>>at.Hour()&1 == 1 && c.minutes>>at.Minute()&1 == 1 {
				want = append(want, at)
			}
		}
		got, back := slices.Collect(c.forwards(after, upTo, after)), slices.Collect(c.backwards(after, upTo, after))
		slices.Reverse(back)
		if !slices.Equal(got, want) || !slices.Equal(back, want) {
			t.Errorf("%q from %s to %s: %d forwards, %d backwards, want %d", text, after, upTo, len(got), len(back), len(want))
		}
	}
}
