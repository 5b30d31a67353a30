package accounts

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// crontab is when a backup schedule makes backups. Upstream says that schedules are crontab lines, and not of which place the
// clock is; UTC is taken.
type crontab struct {
	every                           time.Duration // since the last time; 0: the fields say it
	minutes, hours, days, months    uint64        // sets of numbers
	weekdays                        uint64        // 0 is Sunday
	everyDay, everyWeekday, started bool          // started: once, when something starts; nobody knows when
}

// The crontab lines of their short names.
var crontabNames = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@hourly": "0 * * * *",
}

// cronYears is for how many years a next time is looked for: the 29th of February is at most eight years away.
const cronYears = 9

// parseCrontab reads a schedule as upstream takes it. ok is false where it is not known when that is: of lines with more than
// five fields nobody says what the others mean.
func parseCrontab(line string) (c crontab, ok bool) {
	line = strings.TrimSpace(line)
	if named, is := crontabNames[line]; is {
		line = named
	}
	if line == "@reboot" {
		return crontab{started: true}, true
	}
	if length, is := strings.CutPrefix(line, "@every "); is {
		every, err := time.ParseDuration(strings.TrimSpace(length))
		return crontab{every: every}, err == nil && every >= time.Second
	}
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return crontab{}, false
	}
	for i, f := range []struct {
		set       *uint64
		low, high int
	}{{&c.minutes, 0, 59}, {&c.hours, 0, 23}, {&c.days, 1, 31}, {&c.months, 1, 12}, {&c.weekdays, 0, 7}} {
		if *f.set, ok = cronSet(fields[i], f.low, f.high); !ok {
			return crontab{}, false
		}
	}
	if c.weekdays&(1<<7) != 0 { // Sunday has two numbers
		c.weekdays |= 1
	}
	c.everyDay, c.everyWeekday = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	return c, true
}

// cronSet reads one field: numbers, ranges and steps, separated by commas.
func cronSet(field string, low, high int) (set uint64, ok bool) {
	for part := range strings.SplitSeq(field, ",") {
		span, step, stepped := strings.Cut(part, "/")
		by := 1
		if stepped {
			if by, ok = cronNumber(step, 1, 1000); !ok {
				return 0, false
			}
		}
		from, to := low, high
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, ok = cronNumber(first, low, high); !ok {
				return 0, false
			}
			switch {
			case ranged:
				if to, ok = cronNumber(last, from, high); !ok {
					return 0, false
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += by {
			set |= 1 << n
		}
	}
	return set, true
}

func cronNumber(text string, low, high int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high && len(text) <= 4 && text[0] != '+' && text[0] != '-'
}

// after is the first time later than t; ok is false when there is none, or it is not known.
func (c crontab) after(t time.Time) (next time.Time, ok bool) {
	t = t.UTC()
	switch {
	case c.started:
		return time.Time{}, false
	case c.every > 0:
		return t.Add(c.every), true
	}
	from := t.Truncate(time.Minute).Add(time.Minute)
	month := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC)
	// By months, and within one by numbers: what never comes is asked for as often as what does.
	for last := month.AddDate(cronYears, 0, 0); !month.After(last); month = month.AddDate(0, 1, 0) {
		if c.months&(1<<int(month.Month())) == 0 {
			continue
		}
		first, days, weekday := 1, month.AddDate(0, 1, -1).Day(), int(month.Weekday())
		if month.Before(from) {
			first = from.Day()
		}
		for day := first; day <= days; day++ {
			if !c.on(day, (weekday+day-1)%7) {
				continue
			}
			midnight := month.AddDate(0, 0, day-1)
			if at, ok := c.within(max(0, from.Sub(midnight))); ok {
				return midnight.Add(at), true
			}
		}
	}
	return time.Time{}, false
}

// within is the first time of a day, counted from midnight, that is not before from, which is whole minutes.
func (c crontab) within(from time.Duration) (at time.Duration, ok bool) {
	for hour, minute := int(from/time.Hour), int(from%time.Hour/time.Minute); hour < 24; hour, minute = hour+1, 0 {
		if c.hours&(1<<hour) == 0 {
			continue
		}
		if left := c.minutes >> minute << minute; left != 0 {
			return time.Duration(hour)*time.Hour + time.Duration(bits.TrailingZeros64(left))*time.Minute, true
		}
	}
	return 0, false
}

// on reports whether it is a day of the schedule, in a month of it. Where both the day of the month and that of the week are named,
// either is enough.
func (c crontab) on(day, weekday int) bool {
	ofMonth, ofWeek := c.days&(1<<day) != 0, c.weekdays&(1<<weekday) != 0
	if c.everyDay || c.everyWeekday {
		return ofMonth && ofWeek
	}
	return ofMonth || ofWeek
}
