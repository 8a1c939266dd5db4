package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// A value is one typed variable that is set from text.
type value struct {
	valid string             // the range, in words that follow "must be"
	set   func(string) error // an error adds what valid does not say; errRange adds nothing
	show  func() string      // set(show()) changes nothing
}

// errRange is returned by a value's set when valid says it all.
var errRange = errors.New("out of range")

// pathValue takes what names a file; whether there is one is seen when it is
// opened.
func pathValue(p *string) value {
	return value{"a path", func(s string) error { *p = s; return nil }, func() string { return *p }}
}

// secretValue takes any text; of a short one config.check warns.
func secretValue(p *string) value {
	return value{"text, best 32 bytes or more by chance", func(s string) error { *p = s; return nil }, func() string { return *p }}
}

func numberValue(p *int, least, most int) value {
	valid := fmt.Sprintf("a whole number from %d to %d", least, most)
	return value{
		valid: valid,
		set: func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > most {
				return errRange
			}
			*p = n
			return nil
		},
		show: func() string { return strconv.Itoa(*p) },
	}
}

func boolValue(p *bool) value {
	return value{
		valid: "true or false",
		set: func(s string) error {
			switch strings.ToLower(s) {
			case "1", "true", "yes", "on":
				*p = true
			case "0", "false", "no", "off":
				*p = false
			default:
				return errRange
			}
			return nil
		},
		show: func() string { return strconv.FormatBool(*p) },
	}
}

func choiceValue(p *string, of ...string) value {
	return value{
		valid: "one of " + strings.Join(of, ", "),
		set: func(s string) error {
			if !slices.Contains(of, s) {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

// secondsValue takes a duration such as 1m30s, or a bare number of seconds.
func secondsValue(p *time.Duration, least, most time.Duration) value {
	return value{
		valid: fmt.Sprintf("from %s to %s, as a duration such as 90s, or a bare number of seconds", plain(least), plain(most)),
		set: func(s string) error {
			d, err := time.ParseDuration(s)
			if n, numErr := strconv.ParseFloat(s, 64); numErr == nil {
				d, err = time.Duration(n*float64(time.Second)), nil
			}
			if err != nil || d < least || d > most {
				return errRange
			}
			*p = d
			return nil
		},
		show: func() string { return plain(*p) },
	}
}

// plain is a duration without the units that are zero: 1h, not 1h0m0s.
func plain(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// daysValue takes a number of days, with or without a d behind it.
func daysValue(p *int) value {
	const most = 36_500
	return value{
		valid: fmt.Sprintf("a number of days from 0 (for ever) to %d", most),
		set: func(s string) error {
			n, err := strconv.Atoi(strings.TrimSuffix(s, "d"))
			if err != nil || n < 0 || n > most {
				return errRange
			}
			*p = n
			return nil
		},
		show: func() string { return strconv.Itoa(*p) },
	}
}

// sizeValue takes 64MiB, 64MB or a bare number of bytes.
func sizeValue(p *int64, least int64) value {
	return value{
		valid: "a size of at least " + bytesText(least) + ", such as 64MiB, or a bare number of bytes",
		set: func(s string) error {
			n, err := parseBytes(s)
			if err != nil || n < least {
				return errRange
			}
			*p = n
			return nil
		},
		show: func() string { return bytesText(*p) },
	}
}

func parseBytes(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<60 {
		return 0, errRange
	}
	return int64(n), nil
}

// bytesText is a size in the largest unit that it is a whole number of, so that
// it can be read back without loss.
func bytesText(n int64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// listValue takes texts separated by commas.
func listValue(p *[]string, valid string, check func(string) error) value {
	return value{
		valid: valid,
		set: func(s string) error {
			var list []string
			for item := range strings.SplitSeq(s, ",") {
				if item = strings.TrimSpace(item); item == "" {
					continue
				}
				if err := check(item); err != nil {
					return err
				}
				list = append(list, item)
			}
			*p = list
			return nil
		},
		show: func() string { return strings.Join(*p, ",") },
	}
}

// A diskFloor is how much of a volume has to stay free: the larger of a share of
// the whole and a size.
type diskFloor struct {
	percent float64
	bytes   int64
}

// of returns the floor, in bytes, of a volume of the given size.
func (f diskFloor) of(total int64) int64 {
	return max(int64(float64(total)*f.percent/100), f.bytes)
}

func (f diskFloor) String() string {
	percent := strconv.FormatFloat(f.percent, 'g', -1, 64) + "%"
	switch {
	case f.percent == 0:
		return bytesText(f.bytes)
	case f.bytes == 0:
		return percent
	default:
		return "max(" + percent + ", " + bytesText(f.bytes) + ")"
	}
}

func floorValue(p *diskFloor) value {
	return value{
		valid: "a share from 0% to 90%, a size such as 64MiB, or the larger of both: max(5%, 64MiB)",
		set: func(s string) error {
			var f diskFloor
			s = strings.TrimSuffix(strings.TrimPrefix(s, "max("), ")")
			for item := range strings.SplitSeq(s, ",") {
				item = strings.TrimSpace(item)
				var err error
				if share, ok := strings.CutSuffix(item, "%"); ok {
					f.percent, err = strconv.ParseFloat(strings.TrimSpace(share), 64)
				} else {
					f.bytes, err = parseBytes(item)
				}
				if err != nil || !(f.percent >= 0 && f.percent <= 90) {
					return errRange
				}
			}
			*p = f
			return nil
		},
		show: func() string { return p.String() },
	}
}

// hostValue takes an address to listen on. A name other than localhost is
// refused: what it stands for could change between two starts.
func hostValue(p *string) value {
	return value{
		valid: "an IP address to listen on, or localhost",
		set: func(s string) error {
			s = strings.Trim(s, "[]")
			if _, err := netip.ParseAddr(s); err != nil && s != "localhost" {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

func listenValue(p *string) value {
	return value{
		valid: "an address and a port, such as [::]:9091",
		set: func(s string) error {
			host, port, err := net.SplitHostPort(s)
			if err != nil {
				return errRange
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return errRange
			}
			if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

func originValue(p *string) value {
	return value{
		valid: "an origin without a path, such as https://stats.example.com",
		set: func(s string) error {
			u, err := url.Parse(strings.TrimSuffix(s, "/"))
			if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Path != "" ||
				u.RawQuery != "" || u.Fragment != "" || u.User != nil {
				return errRange
			}
			*p = u.Scheme + "://" + strings.ToLower(u.Host)
			return nil
		},
		show: func() string { return *p },
	}
}
