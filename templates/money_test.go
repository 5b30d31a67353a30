package templates

import "testing"

func TestMoney(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{PerHour(9424, "USD"), "$0.09424"}, {PerHour(0, "USD"), "$0.00"}, {PerHour(100_000, "EUR"), "€1.00"}, {PerHour(123_456_700_000, "USD"), "$1,234,567.00"}, {PerHour(1, "CHF"), "0.00001 CHF"}, {PerHour(50, ""), "0.0005"},
		{PerMonth(9424, "USD"), "$68.80"}, {PerMonth(0, "USD"), "$0.00"}, {PerMonth(-9424, "USD"), "−$68.80"}, {PerHour(-150_000, "USD"), "−$1.50"}, {PerMonth(1_000_000, "USD"), "$7,300.00"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}
