package enrich_test

import (
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/eider-analytics/eider/ingest/enrich"
)

const (
	usualAgent    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	usualReferrer = "https://www.google.com/"
)

var usualHints = enrich.Hints{Brands: `"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"`, Platform: `"Windows"`, Mobile: "?0"}

// TestBounded sends a million distinct keys, each as long as it is taken, and
// looks at what is kept of them.
func TestBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("a million keys take seconds")
	}
	agents, bots, sources := enrich.NewAgents(0), enrich.NewBots(), enrich.NewSources()
	bots.CompileAll()
	before := heap()
	p := page(t, "")
	filler := ""
	for i := range 1_000_000 {
		if i == 990_000 {
			filler = strings.Repeat("x", 450) // what stays in the caches is long
		}
		key := fmt.Sprintf("https://%d.example/%s", i, filler)
		bots.Match(key)
		sources.Attribute(p, key)
		if i%4 == 0 {
			agents.Parse(key, enrich.Hints{Model: key}, 0)
		}
	}
	if a, b, s := agents.Remembered(), bots.Remembered(), sources.Remembered(); a > 4096 || b > 4096 || s > 4096 {
		t.Errorf("%d agents, %d bots and %d referrers are remembered, want 4096 at most", a, b, s)
	}
	// 3 × 4096 entries of some 700 bytes.
	if kept := heap() - before; kept > 16<<20 {
		t.Errorf("%d KiB are kept, want 16 MiB at most", kept>>10)
	}
	runtime.KeepAlive(agents)
	runtime.KeepAlive(bots)
	runtime.KeepAlive(sources)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAllocations holds the warm path to no allocation at all.
func TestAllocations(t *testing.T) {
	agents, bots, sources := enrich.NewAgents(0), enrich.NewBots(), enrich.NewSources()
	places, _ := openPlaces(t, cities(), enrich.PrecisionCity, io.Discard)
	p, addr := page(t, ""), netip.MustParseAddr("81.2.69.142")
	for name, f := range map[string]func(){
		"Parse":     func() { agents.Parse(usualAgent, usualHints, 1920) },
		"Match":     func() { bots.Match(usualAgent) },
		"Attribute": func() { sources.Attribute(p, usualReferrer) },
		"Lookup":    func() { places.Lookup(addr) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %.0f allocations, want none", name, n)
		}
	}
}

// TestConcurrent uses everything from many goroutines, for the race detector.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	agents, bots, sources := enrich.NewAgents(8), enrich.NewBots(), enrich.NewSources()
	places, _ := openPlaces(t, cities(), enrich.PrecisionCity, io.Discard)
	p := page(t, "utm_source=x")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				agent := fmt.Sprintf("%s x/%d bot", usualAgent, i)
				agents.Parse(agent, usualHints, 0)
				bots.Match(agent)
				sources.Attribute(p, fmt.Sprintf("https://%d.example/", i))
				places.Lookup(netip.AddrFrom4([4]byte{81, 2, 69, byte(i)}))
				if g == 0 && i%50 == 0 {
					if err := places.Reload(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkWarm is one event of a visitor whose like has been seen: browser,
// machine or not, source and place.
func BenchmarkWarm(b *testing.B) {
	agents, bots, sources := enrich.NewAgents(0), enrich.NewBots(), enrich.NewSources()
	places, _ := openPlaces(b, cities(), enrich.PrecisionCity, io.Discard)
	p, addr := page(b, ""), netip.MustParseAddr("81.2.69.142")
	b.ReportAllocs()
	for b.Loop() {
		bots.Match(usualAgent)
		agents.Parse(usualAgent, usualHints, 1920)
		sources.Attribute(p, usualReferrer)
		places.Lookup(addr)
	}
}

func BenchmarkParse(b *testing.B) {
	b.Run("hit", func(b *testing.B) {
		a := enrich.NewAgents(0)
		for b.Loop() {
			a.Parse(usualAgent, usualHints, 1920)
		}
	})
	b.Run("miss", func(b *testing.B) {
		a := enrich.NewAgents(1)
		list := agents(b)
		for i := 0; b.Loop(); i++ {
			a.Parse(list[i%len(list)].agent, usualHints, 1920)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	b.Run("hit", func(b *testing.B) {
		bots := enrich.NewBots()
		for b.Loop() {
			bots.Match(usualAgent)
		}
	})
	b.Run("miss", func(b *testing.B) {
		bots := enrich.NewBots()
		keys := distinct(usualAgent + " Edg/%d")
		for i := 0; b.Loop(); i++ {
			bots.Match(keys[i%len(keys)])
		}
	})
}

func BenchmarkAttribute(b *testing.B) {
	s := enrich.NewSources()
	p, campaign := page(b, ""), page(b, "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=x")
	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			s.Attribute(p, "")
		}
	})
	b.Run("hit", func(b *testing.B) {
		for b.Loop() {
			s.Attribute(p, usualReferrer)
		}
	})
	b.Run("campaign", func(b *testing.B) {
		for b.Loop() {
			s.Attribute(campaign, usualReferrer)
		}
	})
	b.Run("miss", func(b *testing.B) {
		keys := distinct("https://www.site-%d.example/path/of/it?query=1")
		for i := 0; b.Loop(); i++ {
			s.Attribute(p, keys[i%len(keys)])
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	builtIn, _ := openPlaces(b, nil, enrich.PrecisionCity, io.Discard)
	file, _ := openPlaces(b, cities(), enrich.PrecisionCity, io.Discard)
	for _, c := range []struct {
		name   string
		places *enrich.Places
		addr   netip.Addr
	}{
		{"built-in", builtIn, netip.MustParseAddr("8.8.8.8")},
		{"built-in-v6", builtIn, netip.MustParseAddr("2a01:4f8::1")},
		{"file", file, netip.MustParseAddr("81.2.69.142")},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.places.Lookup(c.addr)
			}
		})
	}
}

func BenchmarkParsePage(b *testing.B) {
	for b.Loop() {
		if _, err := enrich.ParsePage("https://www.example.com/docs/start?utm_source=news", false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLanguage(b *testing.B) {
	for b.Loop() {
		enrich.Language("de-DE,de;q=0.9,en;q=0.8")
	}
}

func BenchmarkMoney(b *testing.B) {
	for b.Loop() {
		if _, _, err := enrich.Money("15.99", "USD"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNew is what starting costs.
func BenchmarkNew(b *testing.B) {
	b.Run("bots", func(b *testing.B) {
		for b.Loop() {
			enrich.NewBots()
		}
	})
	b.Run("sources", func(b *testing.B) {
		for b.Loop() {
			enrich.NewSources()
		}
	})
}

// distinct returns more keys than any cache holds.
func distinct(format string) []string {
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprintf(format, i)
	}
	return keys
}
