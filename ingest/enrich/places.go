package enrich

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oschwald/maxminddb-golang/v2"
	"github.com/phuslu/iploc"
)

// A Place is where an address is registered to be. A field is empty or 0 when
// it is not known, or finer than the [Precision] asked for.
type Place struct {
	Country    string // ISO 3166-1 alpha-2
	Region     string // ISO 3166-2: US-CA
	RegionName string // English
	City       string // English
	CityID     int64  // GeoNames id
}

// A Precision is the finest part of a [Place] that is told. The zero value is
// PrecisionCity.
type Precision int

// The precisions, from fine to coarse.
const (
	PrecisionCity Precision = iota
	PrecisionRegion
	PrecisionCountry
	PrecisionNone
)

// ParsePrecision reads "city", "region", "country" or "none".
func ParsePrecision(s string) (Precision, error) {
	for p, name := range precisions {
		if s == name {
			return Precision(p), nil
		}
	}
	return 0, fmt.Errorf("precision %q is none of city, region, country, none", s)
}

// String returns the word that [ParsePrecision] reads.
func (p Precision) String() string {
	if p < 0 || int(p) >= len(precisions) {
		return fmt.Sprintf("Precision(%d)", int(p))
	}
	return precisions[p]
}

var precisions = [...]string{PrecisionCity: "city", PrecisionRegion: "region", PrecisionCountry: "country", PrecisionNone: "none"}

// coarsen forgets what is finer than p.
func (p Precision) coarsen(at Place) Place {
	switch p {
	case PrecisionCity:
		return at
	case PrecisionRegion:
		return Place{Country: at.Country, Region: at.Region, RegionName: at.RegionName}
	case PrecisionCountry:
		return Place{Country: at.Country}
	}
	return Place{}
}

// PlacesInfo tells which data [Places] answers from.
type PlacesInfo struct {
	Path  string    // the file; "" for the built-in table
	Type  string    // what the file says it is: GeoLite2-City
	Built time.Time // when the data was made; zero if unknown
	Err   error     // why the file's newest version is not in use; nil if it is
}

const (
	placesCache = 4096                   // records remembered by an open file
	settle      = 500 * time.Millisecond // how long a file must lie still before it is read again
)

// Places tells the place of an address. It is safe for concurrent use.
type Places struct {
	path      string
	precision Precision
	log       *slog.Logger
	file      atomic.Pointer[placeFile] // nil for the built-in table

	mu  sync.Mutex // held for the whole of a Reload
	err error      // why the last one failed

	watcher *fsnotify.Watcher
	done    chan struct{} // closed when the goroutine that watches has returned
	closed  sync.Once
}

// A placeFile is an open database. It is left to the garbage collector to close,
// because a Lookup may still be in it.
type placeFile struct {
	reader *maxminddb.Reader
	stat   os.FileInfo
	seen   *lru.Cache[uintptr, Place] // by the record's place in the file, of which there are fewer than addresses
}

// OpenPlaces opens the database of places at path, in MaxMind's format, or the
// built-in table of countries if path is "". It watches the file's directory
// and takes a new version of the file into use as soon as it is there whole; a
// new version that cannot be read is logged and the old one stays.
//
// Replace the file by renaming a new one over it. It is mapped into memory: one
// that is overwritten in place gives wrong places, or none, until it is whole.
func OpenPlaces(path string, p Precision, log *slog.Logger) (*Places, error) {
	pl := &Places{path: path, precision: p, log: log, done: make(chan struct{})}
	if path == "" {
		close(pl.done)
		return pl, nil
	}
	if err := pl.Reload(); err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch places: %w", err)
	}
	// The directory and not the file: a renamed file is another file.
	if err := w.Add(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch places: %w", err), w.Close())
	}
	pl.watcher = w
	go pl.watch()
	return pl, nil
}

// Lookup returns the place of an address. An address that nobody is registered
// for, a private one for example, has the zero Place.
func (p *Places) Lookup(addr netip.Addr) Place {
	if p.precision == PrecisionNone || !addr.IsValid() {
		return Place{}
	}
	addr = addr.Unmap().WithZone("")
	var at Place
	if f := p.file.Load(); f != nil {
		at = f.lookup(addr)
	}
	if at.Country == "" {
		at.Country = countryOf(addr)
	}
	return p.precision.coarsen(at)
}

// countryOf asks the built-in table, which has a country for every address and
// ZZ for those that nobody has. Its first address of version 6 unpacks 11 MiB.
func countryOf(addr netip.Addr) string {
	if c := iploc.IPCountry(addr); len(c) == 2 && c != "ZZ" && 'A' <= c[0] && c[0] <= 'Z' {
		return c
	}
	return ""
}

// Reload reads the file again. On an error the data in use stays.
func (p *Places) Reload() error {
	if p.path == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := openPlaceFile(p.path)
	if err != nil {
		p.err = fmt.Errorf("open places %s: %w", p.path, err)
		return p.err
	}
	p.err = nil
	p.file.Store(f)
	return nil
}

// Info tells which data is in use.
func (p *Places) Info() PlacesInfo {
	f := p.file.Load()
	if f == nil {
		return PlacesInfo{Type: "built-in countries"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := f.reader.Metadata
	return PlacesInfo{Path: p.path, Type: m.DatabaseType, Built: m.BuildTime(), Err: p.err}
}

// Close ends the watching and waits for it. Lookup stays usable.
func (p *Places) Close() error {
	var err error
	p.closed.Do(func() {
		if p.watcher != nil {
			err = p.watcher.Close()
		}
		<-p.done
	})
	return err
}

// watch reloads the file when it has changed and then lain still for a while. It
// returns when the watcher is closed.
func (p *Places) watch() {
	defer close(p.done)
	still := time.NewTimer(settle)
	still.Stop()
	defer still.Stop()
	for {
		select {
		case _, ok := <-p.watcher.Events:
			if !ok {
				return
			}
			// Any event: the file may be a link to one that changes elsewhere.
			still.Reset(settle)
		case err, ok := <-p.watcher.Errors:
			if !ok {
				return
			}
			p.log.Warn("places are no longer watched well", "err", err)
		case <-still.C:
			p.reloadChanged()
		}
	}
}

func (p *Places) reloadChanged() {
	stat, err := os.Stat(p.path)
	old := p.file.Load().stat
	if err == nil && os.SameFile(stat, old) && stat.ModTime().Equal(old.ModTime()) && stat.Size() == old.Size() {
		return
	}
	if err := p.Reload(); err != nil {
		p.log.Warn("new places not taken into use", "err", err, "path", p.path)
		return
	}
	p.log.Info("new places in use", "path", p.path)
}

// errNoPlaces says that a file is a database, but not of places.
var errNoPlaces = errors.New("database holds no places: no network in it has a country or city")

func openPlaceFile(path string) (f *placeFile, err error) {
	// A fault in the mapped file is a panic that recovered can catch.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recovered(&err)
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	r, err := maxminddb.Open(path)
	if err != nil {
		return nil, err
	}
	if err := holdsPlaces(r); err != nil {
		return nil, err
	}
	return newPlaceFile(r, stat), nil
}

func newPlaceFile(r *maxminddb.Reader, stat os.FileInfo) *placeFile {
	return &placeFile{reader: r, stat: stat, seen: newCache[uintptr, Place](placesCache)}
}

// holdsPlaces tries the first records: a database may be whole and hold
// something else. The networks of a damaged one may be without end, so that
// those without a record count as well.
func holdsPlaces(r *maxminddb.Reader) error {
	const maxRecords, maxNetworks = 1000, 100_000
	records, networks := 0, 0
	for res := range r.Networks(maxminddb.IncludeNetworksWithoutData(), maxminddb.IncludeAliasedNetworks()) {
		if err := res.Err(); err != nil {
			return err
		}
		if res.Found() {
			at, err := decodePlace(res)
			if err != nil {
				return err
			}
			if at != (Place{}) {
				return nil
			}
			records++
		}
		if networks++; records == maxRecords || networks == maxNetworks {
			break
		}
	}
	return errNoPlaces
}

// recovered turns a panic into an error. Reading a mapped file that somebody has
// cut short faults, and a damaged file must not end the process.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("damaged database: %v", v)
	}
}

// lookup returns the zero Place for an address that the file does not know, and
// for one whose record cannot be read.
func (f *placeFile) lookup(addr netip.Addr) (at Place) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see openPlaceFile
	var err error
	defer recovered(&err)
	res := f.reader.Lookup(addr)
	if !res.Found() {
		return Place{} // nor is an address of version 6 in a file of version 4
	}
	if at, ok := f.seen.Get(res.Offset()); ok {
		return at
	}
	if at, err = decodePlace(res); err != nil {
		at = Place{}
	}
	f.seen.Add(res.Offset(), at)
	return at
}

// A nestedRecord is what MaxMind's, DB-IP's and IP2Location's databases hold.
type nestedRecord struct {
	Country      area   `maxminddb:"country"`
	Registered   area   `maxminddb:"registered_country"`
	Subdivisions []area `maxminddb:"subdivisions"`
	City         area   `maxminddb:"city"`
}

type area struct {
	ISO   string `maxminddb:"iso_code"`
	ID    int64  `maxminddb:"geoname_id"`
	Names struct {
		EN string `maxminddb:"en"`
	} `maxminddb:"names"`
}

// A flatRecord is what databases of other makers hold: texts by different names.
type flatRecord struct {
	CountryCode string `maxminddb:"country_code"`
	Country     string `maxminddb:"country"`
	State       string `maxminddb:"state1"`
	Region      string `maxminddb:"region"`
	City        string `maxminddb:"city"`
}

func decodePlace(res maxminddb.Result) (Place, error) {
	var n nestedRecord
	errNested := res.Decode(&n)
	if errNested == nil {
		if at := n.place(); at != (Place{}) {
			return at, nil
		}
	}
	var f flatRecord
	if err := res.Decode(&f); err != nil {
		if errNested == nil {
			return Place{}, nil // a nested record without a place
		}
		return Place{}, err
	}
	return f.place(), nil
}

func (n *nestedRecord) place() Place {
	at := Place{Country: countryCode(n.Country.ISO), City: placeName(n.City.Names.EN), CityID: max(n.City.ID, 0)}
	if at.Country == "" {
		at.Country = countryCode(n.Registered.ISO)
	}
	if len(n.Subdivisions) > 0 {
		s := n.Subdivisions[0]
		at.RegionName = placeName(s.Names.EN)
		if iso := placeName(s.ISO); iso != "" && at.Country != "" {
			at.Region = at.Country + "-" + strings.TrimPrefix(iso, at.Country+"-")
		}
	}
	return at
}

func (f *flatRecord) place() Place {
	at := Place{Country: countryCode(f.CountryCode), RegionName: placeName(f.State), City: placeName(f.City)}
	if at.Country == "" {
		at.Country = countryCode(f.Country)
	}
	if at.RegionName == "" {
		at.RegionName = placeName(f.Region)
	}
	return at
}

// countryCode returns s if it is two capital letters.
func countryCode(s string) string {
	if len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z' && s != "ZZ" {
		return s
	}
	return ""
}

// placeName cleans a name; some makers write "-" where they know none.
func placeName(s string) string {
	if s == "-" {
		return ""
	}
	return CleanText(s, 200)
}
