package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// errRefused says that a value is not an allowed one, which the setting explains.
var errRefused = errors.New("refused")

// single makes a setting of one value.
func single[T any](
	key, flag, usage, allowed string, field func(*Config) *T, parse func(string) (T, error), format func(T) string,
) Setting {
	return Setting{
		Key: key, Flag: flag, Usage: usage, Allowed: allowed,
		parse: func(c *Config, values []string) error {
			if len(values) != 1 {
				return errRefused
			}
			v, err := parse(values[0])
			if err != nil {
				return err
			}
			*field(c) = v
			return nil
		},
		format: func(c *Config) string { return format(*field(c)) },
	}
}

func text(key, flag, usage, allowed string, field func(*Config) *string, check func(string) bool) Setting {
	return single(key, flag, usage, allowed, field, func(s string) (string, error) {
		if !check(s) {
			return "", errRefused
		}
		return s, nil
	}, func(s string) string { return s })
}

func choice(key, flag, usage string, field func(*Config) *string, values ...string) Setting {
	return text(key, flag, usage, strings.Join(values, ", "), field, func(s string) bool {
		for _, v := range values {
			if s == v {
				return true
			}
		}
		return false
	})
}

func list(key, flag, usage, allowed string, field func(*Config) *[]string, check func(string) bool) Setting {
	return Setting{
		Key: key, Flag: flag, Usage: usage, Allowed: allowed, List: true,
		parse: func(c *Config, values []string) error {
			for _, v := range values {
				if !check(v) {
					return errRefused
				}
			}
			*field(c) = values
			return nil
		},
		format: func(c *Config) string { return strings.Join(*field(c), ",") },
	}
}

func count[T int | int64](key, flag, usage string, least, most T, field func(*Config) *T) Setting {
	return single(key, flag, usage, fmt.Sprintf("a whole number from %d to %d", least, most), field,
		func(s string) (T, error) {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < int64(least) || n > int64(most) {
				return 0, errRefused
			}
			return T(n), nil
		}, func(n T) string { return strconv.FormatInt(int64(n), 10) })
}

func cores(key, flag, usage string, field func(*Config) *float64) Setting {
	return single(key, flag, usage, "0, or a number from 0.01 to 4096 such as 1.5", field,
		func(s string) (float64, error) {
			n, err := strconv.ParseFloat(s, 64)
			// Written so that NaN, which compares as false, is refused.
			if err != nil || n != 0 && !(n >= 0.01 && n <= 4096) {
				return 0, errRefused
			}
			return n, nil
		}, func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) })
}

func size(key, flag, usage string, least int64, field func(*Config) *int64) Setting {
	return single(key, flag, usage, "0, or a size of at least "+FormatSize(least)+" such as 512m or 2g", field,
		func(s string) (int64, error) {
			n, err := ParseSize(s)
			if err != nil || n != 0 && n < least {
				return 0, errRefused
			}
			return n, nil
		}, FormatSize)
}

func duration(key, flag, usage, allowed string, least, most time.Duration, field func(*Config) *time.Duration) Setting {
	return single(key, flag, usage, allowed, field, func(s string) (time.Duration, error) {
		d, err := v1.ParseDuration(s)
		if err != nil || d < least || d > most || d > 0 && d < time.Second {
			return 0, errRefused
		}
		return d, nil
	}, FormatDuration)
}

const units = "bkmgt"

// ParseSize reads a number of bytes: "1024", "512m", "1.5g", "2GiB". The units b, k, m, g and t
// are powers of 1024, as with docker.
func ParseSize(s string) (int64, error) {
	refused := fmt.Errorf("%q is not a size such as 1024, 512m or 2g", s)
	number := strings.ToLower(s)
	if strings.HasSuffix(number, "ib") && len(number) > 2 {
		number = strings.TrimSuffix(number, "ib")
	} else if n := len(number); n > 2 && number[n-1] == 'b' && strings.IndexByte(units[1:], number[n-2]) >= 0 {
		number = number[:n-1]
	}
	factor := 1.0
	if n := len(number); n > 0 {
		if unit := strings.IndexByte(units, number[n-1]); unit >= 0 {
			number, factor = number[:n-1], math.Pow(1024, float64(unit))
		}
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, refused
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n*factor >= 1<<53 {
		return 0, refused
	}
	return int64(n * factor), nil
}

// FormatSize gives the shortest form that [ParseSize] reads back to the same number.
func FormatSize(n int64) string {
	unit := 0
	for unit < len(units)-1 && n != 0 && n%1024 == 0 {
		n, unit = n/1024, unit+1
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + units[unit:unit+1]
}

// FormatDuration gives d as the API does.
func FormatDuration(d time.Duration) string { return v1.Duration(d).String() }
