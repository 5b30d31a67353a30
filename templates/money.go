package templates

import (
	"strconv"
	"strings"
)

// hoursPerMonth is what a month is taken to be: a twelfth of 365 days.
const hoursPerMonth = 730

// PerHour tells a price in millicents, thousandths of a cent, as an amount with the digits it needs.
func PerHour(millicents int64, currency string) string {
	amount := strconv.FormatFloat(float64(millicents)/100_000, 'f', 5, 64)
	whole, fraction, _ := strings.Cut(amount, ".")
	for len(fraction) > 2 && strings.HasSuffix(fraction, "0") {
		fraction = fraction[:len(fraction)-1]
	}
	return withCurrency(whole, fraction, currency)
}

// PerMonth tells what a price in millicents an hour comes to in a month of 730 hours.
func PerMonth(millicents int64, currency string) string {
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(float64(millicents)*hoursPerMonth/100_000, 'f', 2, 64), ".")
	return withCurrency(whole, fraction, currency)
}

func withCurrency(whole, fraction, currency string) string {
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "−", whole[1:]
	}
	if n, err := strconv.Atoi(whole); err == nil {
		whole = thousands(n)
	}
	amount := whole + "." + fraction
	switch currency {
	case "USD":
		return sign + "$" + amount
	case "EUR":
		return sign + "€" + amount
	}
	return strings.TrimSpace(sign + amount + " " + currency)
}
