package v1

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as Go writes it, without the zeroes at its end:
// "30m", "1h30m", "168h". Days are read too, as "7d" is, and never written: not every reader of
// Go's durations knows them.
type Duration time.Duration

// String gives the form on the wire.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText gives the form on the wire.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDuration] does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// ParseDuration reads what time.ParseDuration does, and days of 24 hours: "30s", "1h30m", "7d",
// "1d12h". What it refuses, its error explains to a person.
func ParseDuration(s string) (time.Duration, error) {
	if !strings.Contains(s, "d") { // no other unit has it
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, refuseDuration(s)
		}
		return d, nil
	}
	unsigned, negative := strings.CutPrefix(s, "-")
	if !negative {
		unsigned = strings.TrimPrefix(s, "+")
	}
	var sum time.Duration
	for left := unsigned; left != ""; {
		value, unit, after := cutPart(left)
		left = after
		factor := time.Duration(1)
		if unit == "d" { // as hours, whose fractions and bounds are read
			unit, factor = "h", 24
		}
		d, err := time.ParseDuration(value + unit)
		if err != nil || d < 0 || d > (math.MaxInt64-sum)/factor {
			return 0, refuseDuration(s)
		}
		sum += factor * d
	}
	if negative {
		sum = -sum
	}
	return sum, nil
}

// cutPart cuts the first number and its unit off.
func cutPart(s string) (value, unit, after string) {
	const digits = "0123456789."
	unit = strings.TrimLeft(s, digits)
	value = s[:len(s)-len(unit)]
	if i := strings.IndexAny(unit, digits); i >= 0 {
		unit, after = unit[:i], unit[i:]
	}
	return value, unit, after
}

func refuseDuration(s string) error {
	return fmt.Errorf("%.64q is not a duration such as 30s, 1h30m or 7d", s)
}
