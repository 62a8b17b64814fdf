package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a flag.Value in bytes: "4096", "64KiB", "10GiB".
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// Set parses s.
func (v *Size) Set(s string) error {
	mult, num := int64(1), s
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			mult, num = u.bytes, n
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/mult {
		return fmt.Errorf("%q is not a size; write 4096, 64KiB, 512MiB or 10GiB", s)
	}
	*v = Size(n * mult)
	return nil
}

// String prints the largest unit that divides v evenly.
func (v *Size) String() string {
	for _, u := range units {
		if *v != 0 && int64(*v)%u.bytes == 0 {
			return strconv.FormatInt(int64(*v)/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

// Duration is a flag.Value that also understands whole days: "30s", "12h", "400d".
type Duration time.Duration

// Set parses s.
func (v *Duration) Set(s string) error {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err == nil && n >= 0 && n <= int64(math.MaxInt64/(24*time.Hour)) {
			*v = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration; write 30s, 12h or 400d", s)
	}
	*v = Duration(d)
	return nil
}

// String prints days when v is a whole number of them.
func (v *Duration) String() string {
	d := time.Duration(*v)
	if d != 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return d.String()
}

// Strings is a flag.Value that may be given several times, or once with commas
// (as an environment variable must).
type Strings []string

// Set appends the comma-separated parts of s.
func (v *Strings) Set(s string) error {
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			*v = append(*v, p)
		}
	}
	return nil
}

// String joins the parts with commas.
func (v *Strings) String() string { return strings.Join(*v, ",") }
