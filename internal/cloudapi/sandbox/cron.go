package sandbox

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cron is when a schedule comes round, by UTC. Its walks take time that grows with the days they cross and the moments
// they return, and not with the seconds between.
type cron struct {
	every time.Duration // counted from when the schedule was made; zero: the fields say when
	never bool          // @reboot: no clock brings it round

	seconds, minutes, hours, days, months, weekdays uint64 // a bit for each value
	years                                           []int  // empty: all
	eitherDay                                       bool   // days and weekdays are both given: one of them is enough
}

// parseCron reads the forms that the definition's pattern has room for: @daily and its like, @every with a duration, and five
// fields; six begin with seconds, and of seven the last one is the year. The pattern is lax, so this may refuse what fits it.
func parseCron(text string) (cron, error) {
	if of, ok := strings.CutPrefix(text, "@every "); ok {
		d, err := time.ParseDuration(of)
		if err != nil || d <= 0 {
			return cron{}, fmt.Errorf("%q is no duration such as 12h", of)
		}
		return cron{every: max(d.Round(time.Second), time.Second)}, nil
	}
	if strings.HasPrefix(text, "@") {
		fields, ok := map[string]string{
			"@annually": "0 0 1 1 *", "@yearly": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@hourly": "0 * * * *",
			"@reboot": "",
		}[text]
		switch {
		case !ok:
			return cron{}, fmt.Errorf("there is no %s", text)
		case fields == "":
			return cron{never: true}, nil
		}
		text = fields
	}
	fields := strings.Fields(text)
	switch len(fields) {
	case 5:
		fields = append([]string{"0"}, append(fields, "*")...)
	case 6:
		fields = append(fields, "*")
	case 7:
	default:
		return cron{}, errors.New("it has not five to seven fields")
	}
	var c cron
	masks := []*uint64{&c.seconds, &c.minutes, &c.hours, &c.days, &c.months, &c.weekdays}
	bounds := [][2]int{{0, 59}, {0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}, {1970, 2099}}
	for i, field := range fields {
		values, err := cronField(field, bounds[i][0], bounds[i][1])
		if err != nil {
			return cron{}, err
		}
		if i == len(masks) {
			if field != "*" {
				c.years = values
			}
			break
		}
		for _, v := range values {
			*masks[i] |= 1 << v
		}
	}
	c.weekdays |= c.weekdays >> 7 & 1 // 7 is Sunday as well
	c.eitherDay = !strings.HasPrefix(fields[3], "*") && !strings.HasPrefix(fields[5], "*")
	return c, nil
}

// cronField reads one field: parts separated by commas, each a star, a number or a range, which may go in steps. A number with steps
// begins there.
func cronField(field string, low, high int) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(field, ",") {
		span, steps, stepped := strings.Cut(part, "/")
		step := 1
		var err error
		if stepped {
			if step, err = cronNumber(steps, 1, math.MaxInt16); err != nil {
				return nil, fmt.Errorf("%q are no steps", part)
			}
		}
		from, to := low, high
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, err = cronNumber(first, low, high); err != nil {
				return nil, err
			}
			switch {
			case ranged:
				if to, err = cronNumber(last, low, high); err != nil {
					return nil, err
				}
				if to < from {
					return nil, fmt.Errorf("%q ends before it begins", part)
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += step {
			list = append(list, n)
		}
	}
	return list, nil
}

func cronNumber(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high || s[0] == '+' {
		return 0, fmt.Errorf("%q is not from %d to %d", s, low, high)
	}
	return n, nil
}

// on reports whether it comes round on a day.
func (c cron) on(day time.Time) bool {
	year, month, date := day.Date()
	if c.months>>month&1 == 0 || len(c.years) > 0 && !slices.Contains(c.years, year) {
		return false
	}
	byDate, byWeekday := c.days>>date&1 == 1, c.weekdays>>day.Weekday()&1 == 1
	if c.eitherDay {
		return byDate || byWeekday
	}
	return byDate && byWeekday
}

// backwards returns the moments after one and up to another, the latest first. made is when the schedule was made.
func (c cron) backwards(after, upTo, made time.Time) iter.Seq[time.Time] {
	return c.walk(after, upTo, made, true)
}

// forwards returns the moments after one and up to another, the first first.
func (c cron) forwards(after, upTo, made time.Time) iter.Seq[time.Time] {
	return c.walk(after, upTo, made, false)
}

func (c cron) walk(after, upTo, made time.Time, back bool) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		switch {
		case c.never || !upTo.After(after):
		case c.every > 0:
			c.walkEvery(after, upTo, made, back, yield)
		default:
			c.walkDays(after, upTo, back, yield)
		}
	}
}

func (c cron) walkEvery(after, upTo, made time.Time, back bool, yield func(time.Time) bool) {
	first, last := max(int64(after.Sub(made)/c.every)+1, 1), int64(upTo.Sub(made)/c.every)
	for n := range last - first + 1 {
		if n += first; back {
			n = first + last - n
		}
		if !yield(made.Add(time.Duration(n) * c.every)) {
			return
		}
	}
}

func (c cron) walkDays(after, upTo time.Time, back bool, yield func(time.Time) bool) {
	after, upTo = after.UTC(), upTo.UTC()
	first, last := after.Truncate(day), upTo.Truncate(day)
	for d := range int64(last.Sub(first)/day) + 1 {
		begins := first.Add(time.Duration(d) * day)
		if back {
			begins = last.Add(-time.Duration(d) * day)
		}
		if c.on(begins) && !c.walkDay(begins, after, upTo, back, yield) {
			return
		}
	}
}

// walkDay returns the moments of one day; false ends the walk.
func (c cron) walkDay(begins, after, upTo time.Time, back bool, yield func(time.Time) bool) bool {
	low, high := after.Sub(begins), min(upTo.Sub(begins), day-1) // within the day: after low, up to high
	for hours := c.hours; hours != 0; {
		at := time.Duration(take(&hours, back)) * time.Hour
		if at > high || at+time.Hour <= low {
			continue
		}
		for minutes := c.minutes; minutes != 0; {
			at := at + time.Duration(take(&minutes, back))*time.Minute
			if at > high || at+time.Minute <= low {
				continue
			}
			for seconds := c.seconds; seconds != 0; {
				at := at + time.Duration(take(&seconds, back))*time.Second
				if at > low && at <= high && !yield(begins.Add(at)) {
					return false
				}
			}
		}
	}
	return true
}

// take takes the lowest bit that is set out of a mask, or the highest, and returns its number.
func take(mask *uint64, highest bool) int {
	n := bits.TrailingZeros64(*mask)
	if highest {
		n = bits.Len64(*mask) - 1
	}
	*mask &^= 1 << n
	return n
}
