package enrich_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest/enrich"
)

type object = map[string]any

// database returns a file in MaxMind's format that holds these records.
func database(kind string, records map[string]any) []byte {
	nodes := [][2]int{{}} // 0: nothing; n > 0: node n; n < 0: data at -n-1
	data := make([]byte, 0, 1024)
	for _, network := range slices.Sorted(maps.Keys(records)) {
		prefix := netip.MustParsePrefix(network)
		bits, addr := prefix.Bits(), prefix.Addr().As16()
		if prefix.Addr().Is4() {
			bits += 96
			addr = netip.AddrFrom16([16]byte(append(make([]byte, 12), prefix.Addr().AsSlice()...))).As16()
		}
		node := 0
		for i := range bits {
			bit := addr[i/8] >> (7 - i%8) & 1
			switch {
			case i == bits-1:
				nodes[node][bit] = -len(data) - 1
			case nodes[node][bit] == 0:
				nodes = append(nodes, [2]int{})
				nodes[node][bit] = len(nodes) - 1
				fallthrough
			default:
				node = nodes[node][bit]
			}
		}
		data = appendValue(data, records[network])
	}
	return file(kind, nodes, data)
}

// file returns a database of a search tree and the records it points to.
func file(kind string, nodes [][2]int, data []byte) []byte {
	var b []byte
	for _, n := range nodes {
		for _, r := range n {
			switch {
			case r == 0:
				r = len(nodes)
			case r < 0:
				r = len(nodes) + 16 - r - 1
			}
			b = append(b, byte(r>>16), byte(r>>8), byte(r))
		}
	}
	b = append(b, make([]byte, 16)...)
	b = append(b, data...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	return appendValue(b, object{
		"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(1_750_000_000),
		"database_type": kind, "description": object{"en": kind}, "ip_version": uint16(6), "languages": []any{"en"},
		"node_count": uint32(len(nodes)), "record_size": uint16(24),
	})
}

func appendValue(b []byte, v any) []byte {
	control := func(kind, size int) {
		first := kind << 5
		if kind > 7 {
			first = 0
		}
		long := size >= 29
		if long {
			b = append(b, byte(first|29))
		} else {
			b = append(b, byte(first|size))
		}
		if kind > 7 {
			b = append(b, byte(kind-7))
		}
		if long {
			b = append(b, byte(size-29))
		}
	}
	switch v := v.(type) {
	case string:
		control(2, len(v))
		return append(b, v...)
	case uint16:
		control(5, 2)
		return binary.BigEndian.AppendUint16(b, v)
	case uint32:
		control(6, 4)
		return binary.BigEndian.AppendUint32(b, v)
	case uint64:
		control(9, 8)
		return binary.BigEndian.AppendUint64(b, v)
	case []any:
		control(11, len(v))
		for _, x := range v {
			b = appendValue(b, x)
		}
	case object:
		control(7, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = appendValue(appendValue(b, k), v[k])
		}
	default:
		panic(fmt.Sprintf("no encoding for %T", v))
	}
	return b
}

func named(name string) object { return object{"en": name, "de": name + "-de"} }

// cities is a database as MaxMind and DB-IP make them.
func cities() []byte {
	return database("Test-City", map[string]any{
		"81.2.69.0/24": object{
			"country":      object{"iso_code": "GB", "names": named("United Kingdom")},
			"subdivisions": []any{object{"iso_code": "ENG", "names": named("England")}, object{"iso_code": "BKM"}},
			"city":         object{"geoname_id": uint32(2654993), "names": named("Bracknell")},
			"location":     object{"time_zone": "Europe/London"},
		},
		"2001:db8:1::/48": object{
			"country":      object{"iso_code": "US"},
			"subdivisions": []any{object{"iso_code": "CA", "names": named("California")}},
			"city":         object{"geoname_id": uint32(5391959), "names": named("San Francisco")},
		},
		"203.0.113.0/24": object{"registered_country": object{"iso_code": "SE"}},
	})
}

// flat is a database as others make them.
func flat() []byte {
	return database("flat", map[string]any{
		"81.2.69.0/24":   object{"country_code": "GB", "state1": "England", "city": "Bracknell"},
		"203.0.113.0/24": object{"country": "SE", "region": "Skåne", "city": "-"},
	})
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func openPlaces(t testing.TB, data []byte, p enrich.Precision, log io.Writer) (*enrich.Places, string) {
	t.Helper()
	path := ""
	if data != nil {
		path = filepath.Join(t.TempDir(), "places.mmdb")
		write(t, path, data)
	}
	places, err := enrich.OpenPlaces(path, p, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := places.Close(); err != nil {
			t.Error(err)
		}
	})
	return places, path
}

// bracknell is the place of 81.2.69.142.
var bracknell = enrich.Place{Country: "GB", Region: "GB-ENG", RegionName: "England", City: "Bracknell", CityID: 2654993}

func TestPlaces(t *testing.T) {
	t.Parallel()
	city, _ := openPlaces(t, cities(), enrich.PrecisionCity, io.Discard)
	region, _ := openPlaces(t, cities(), enrich.PrecisionRegion, io.Discard)
	country, _ := openPlaces(t, cities(), enrich.PrecisionCountry, io.Discard)
	none, _ := openPlaces(t, cities(), enrich.PrecisionNone, io.Discard)
	other, _ := openPlaces(t, flat(), enrich.PrecisionCity, io.Discard)
	builtIn, _ := openPlaces(t, nil, enrich.PrecisionCity, io.Discard)
	for _, c := range []struct {
		name   string
		places *enrich.Places
		addr   string
		want   enrich.Place
	}{
		{"city", city, "81.2.69.142", bracknell},
		{"mapped", city, "::ffff:81.2.69.142", bracknell},
		{"version 6", city, "2001:db8:1::1", enrich.Place{Country: "US", Region: "US-CA", RegionName: "California", City: "San Francisco", CityID: 5391959}},
		{"registered only", city, "203.0.113.9", enrich.Place{Country: "SE"}},
		{"not in the file, but in the built-in table", city, "8.8.8.8", enrich.Place{Country: "US"}},
		{"region", region, "81.2.69.142", enrich.Place{Country: "GB", Region: "GB-ENG", RegionName: "England"}},
		{"country", country, "81.2.69.142", enrich.Place{Country: "GB"}},
		{"none", none, "81.2.69.142", enrich.Place{}},
		{"flat", other, "81.2.69.142", enrich.Place{Country: "GB", RegionName: "England", City: "Bracknell"}},
		{"flat, no city", other, "203.0.113.9", enrich.Place{Country: "SE", RegionName: "Skåne"}},
		{"built in", builtIn, "8.8.8.8", enrich.Place{Country: "US"}},
		{"built in, version 6", builtIn, "2a01:4f8::1", enrich.Place{Country: "DE"}},
		{"built in, first of all", builtIn, "0.0.0.0", enrich.Place{}},
		{"built in, first of all, version 6", builtIn, "::", enrich.Place{}},
		{"built in, last of all", builtIn, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", enrich.Place{}},
		{"private", builtIn, "192.168.1.1", enrich.Place{}},
		{"loopback", builtIn, "127.0.0.1", enrich.Place{}},
		{"loopback, version 6", builtIn, "::1", enrich.Place{}},
		{"link", builtIn, "fe80::1%eth0", enrich.Place{}},
	} {
		for _, how := range []string{"first", "remembered"} {
			if got := c.places.Lookup(netip.MustParseAddr(c.addr)); got != c.want {
				t.Errorf("%s, %s: got %+v, want %+v", c.name, how, got, c.want)
			}
		}
	}
	if got := builtIn.Lookup(netip.Addr{}); got != (enrich.Place{}) {
		t.Errorf("no address: got %+v", got)
	}
	if i := city.Info(); i.Type != "Test-City" || !i.Built.Equal(time.Unix(1_750_000_000, 0)) || i.Path == "" || i.Err != nil {
		t.Errorf("got %+v", i)
	}
	if i := builtIn.Info(); i.Path != "" || i.Err != nil {
		t.Errorf("got %+v", i)
	}
}

func TestPrecision(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"city", "region", "country", "none"} {
		if p, err := enrich.ParsePrecision(name); err != nil || p.String() != name {
			t.Errorf("%s: got %s, %v", name, p, err)
		}
	}
	if _, err := enrich.ParsePrecision("street"); err == nil {
		t.Error("street: got no error")
	}
}

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// A lockedBuffer is a log that a test may read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestPlacesReload replaces the file by a damaged one, which must change
// nothing, and by a new one, which must be taken into use unasked.
func TestPlacesReload(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	places, path := openPlaces(t, cities(), enrich.PrecisionCity, &log)
	addr := netip.MustParseAddr("81.2.69.142")

	write(t, path, cities()[:500])
	eventually(t, "a warning", func() bool { return strings.Contains(log.String(), "level=WARN") })
	if got := places.Lookup(addr); got != bracknell {
		t.Errorf("after a damaged file: got %+v, want %+v", got, bracknell)
	}
	if places.Info().Err == nil {
		t.Error("after a damaged file: no error in Info")
	}
	if err := places.Reload(); err == nil {
		t.Error("Reload of a damaged file: no error")
	}

	write(t, path, database("New", map[string]any{"81.2.69.0/24": object{"country": object{"iso_code": "FR"}}}))
	eventually(t, "the new place", func() bool { return places.Lookup(addr) == enrich.Place{Country: "FR"} })
	if i := places.Info(); i.Err != nil || i.Type != "New" {
		t.Errorf("after a new file: got %+v", i)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := places.Reload(); err == nil {
		t.Error("Reload of a removed file: no error")
	}
	if got := (enrich.Place{Country: "FR"}); places.Lookup(addr) != got {
		t.Errorf("after the file is gone: got %+v", places.Lookup(addr))
	}
	if err := places.Close(); err != nil {
		t.Error(err)
	}
}

// TestPlacesCut cuts the file short while it is in use, which no reader of a
// mapped file survives by itself.
func TestPlacesCut(t *testing.T) {
	t.Parallel()
	// The search tree fits the first page, which is left; the records do not.
	records := map[string]any{}
	for i := range 250 {
		records[fmt.Sprintf("81.2.%d.0/24", i)] = object{"country": object{"iso_code": "GB"}, "city": object{"names": named(strings.Repeat("x", 30) + fmt.Sprint(i))}}
	}
	places, path := openPlaces(t, database("Cut", records), enrich.PrecisionCity, io.Discard)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	for i := range 250 {
		at := places.Lookup(netip.AddrFrom4([4]byte{81, 2, byte(i), 1}))
		if at.City != "" && !strings.HasPrefix(at.City, "xxx") {
			t.Errorf("got %+v", at)
		}
	}
}

// TestOpenPlacesDamaged cuts a database after every byte and flips every byte of
// it: OpenPlaces and Lookup may fail, but not panic.
func TestOpenPlacesDamaged(t *testing.T) {
	t.Parallel()
	whole := cities()
	path := filepath.Join(t.TempDir(), "places.mmdb")
	for cut := range len(whole) {
		write(t, path, whole[:cut])
		if _, err := enrich.LookupIn(path); err == nil {
			t.Errorf("cut at %d: opened", cut)
		}
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0xff
		tryPlaces(damaged)
	}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"text", []byte("not a database")},
		{"no places", database("ASN", map[string]any{"81.2.69.0/24": object{"autonomous_system_number": uint32(1)}})},
		{"no networks", database("City", nil)},
		{"2^100 ways to nothing", file("City", maze(100), nil)},
	} {
		write(t, path, c.data)
		if places, err := enrich.OpenPlaces(path, 0, slog.New(slog.DiscardHandler)); err == nil {
			places.Close()
			t.Errorf("%s: opened", c.name)
		}
	}
	if _, err := enrich.OpenPlaces(t.TempDir(), 0, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a directory: opened")
	}
}

// maze returns a tree of n levels in which both branches lead to the same place.
func maze(n int) [][2]int {
	nodes := make([][2]int, n)
	for i := range n - 1 {
		nodes[i] = [2]int{i + 1, i + 1}
	}
	return nodes
}

// tryPlaces opens and asks a database, whole or not.
func tryPlaces(data []byte) {
	lookup, err := enrich.LookupInBytes(data)
	if err != nil {
		return
	}
	for _, a := range []string{"81.2.69.142", "2001:db8:1::1", "203.0.113.9", "0.0.0.0", "::", "255.255.255.255"} {
		lookup(netip.MustParseAddr(a))
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(cities())
	f.Add(flat())
	f.Fuzz(func(t *testing.T, data []byte) { tryPlaces(data) })
}
