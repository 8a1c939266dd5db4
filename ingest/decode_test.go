package ingest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
)

// item returns what every event has that says no more than its name, page and
// site, changed by fn.
func item(fn func(*ingest.Item)) ingest.Item {
	it := ingest.Item{Name: "pageview", URL: "https://example.com/a", Domains: []string{"example.com"}, Interactive: true, Scroll: event.NoScroll}
	if fn != nil {
		fn(&it)
	}
	return it
}

func TestDecodeEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		want       ingest.Item
	}{
		{"long keys", `{"name":"pageview","url":"https://example.com/a","domain":"example.com"}`, item(nil)},
		{"short keys", `{"n":"pageview","u":"https://example.com/a","d":"example.com"}`, item(nil)},
		{"short wins", `{"n":"pageview","name":"x","u":"https://example.com/a","url":"y","d":"example.com","domain":"z"}`, item(nil)},
		{"domain from the url", `{"n":"pageview","u":"https://www.Example.com/a"}`, item(func(it *ingest.Item) { it.URL = "https://www.Example.com/a" })},
		{"two sites", `{"n":"pageview","u":"https://example.com/a","d":" www.example.com, B.example "}`, item(func(it *ingest.Item) { it.Domains = []string{"example.com", "b.example"} })},
		{"number as name", `{"n":404,"u":"https://example.com/a","d":"example.com"}`, item(func(it *ingest.Item) { it.Name = "404" })},
		{"referrer null", `{"n":"pageview","u":"https://example.com/a","d":"example.com","r":null}`, item(nil)},
		{
			"tracker 0.4.6 pageview",
			`{"n":"pageview","v":36,"u":"https://example.com/a","d":"example.com","r":"https://google.com/","p":{"plan":"pro"}}`,
			item(func(it *ingest.Item) { it.Referrer, it.Props = "https://google.com/", `{"plan":"pro"}` }),
		},
		{
			"tracker 0.4.6 purchase",
			`{"n":"Purchase","v":36,"u":"https://example.com/a","d":"example.com","p":{"plan":"pro","a":"1"},"i":false,"$":{"amount":15.99,"currency":"USD"}}`,
			item(func(it *ingest.Item) {
				it.Name, it.Props, it.Interactive, it.Amount, it.Currency = "Purchase", `{"a":"1","plan":"pro"}`, false, "15.99", "USD"
			}),
		},
		{
			"tracker 0.4.6 engagement",
			`{"n":"engagement","sd":null,"d":"example.com","u":"https://example.com/a","e":47,"v":36}`,
			item(func(it *ingest.Item) { it.Name, it.Interactive, it.EngagedMS = "engagement", false, 47 }),
		},
		{
			"client 2.0.0",
			`{"n":"pageview","u":"https://example.com/a","d":"example.com","w":1024,"h":0,"p":"{\"foo\":1,\"baz\":null}","revenue":"{\"currency\":\"USD\",\"amount\":5}"}`,
			item(func(it *ingest.Item) { it.Width, it.Props, it.Amount, it.Currency = 1024, `{"foo":"1"}`, "5", "USD" }),
		},
		{"hash", `{"n":"pageview","u":"https://example.com/a","d":"example.com","h":1}`, item(func(it *ingest.Item) { it.Hash = true })},
		{
			"mallard",
			`{"n":"pageview","u":"https://example.com/a","d":"example.com","p":"{\"a\":\"b\"}","ra":9.5,"rc":"eur"}`,
			item(func(it *ingest.Item) { it.Props, it.Amount, it.Currency = `{"a":"b"}`, "9.5", "eur" }),
		},
		{"scroll too far", `{"n":"engagement","u":"https://example.com/a","d":"example.com","sd":"250"}`, item(func(it *ingest.Item) { it.Name, it.Interactive, it.Scroll = "engagement", false, 100 })},
		{"engaged for a year", `{"n":"engagement","u":"https://example.com/a","d":"example.com","sd":3,"e":31536000000}`, item(func(it *ingest.Item) { it.Name, it.Interactive, it.Scroll = "engagement", false, 3 })},
		{"props that are no scalars", `{"n":"pageview","u":"https://example.com/a","d":"example.com","p":{"l":[1],"o":{},"n":null,"b":true,"f":1.50,"":"x","e":" "}}`, item(func(it *ingest.Item) { it.Props = `{"b":"true","f":"1.50"}` })},
		{"props with markup", `{"n":"pageview","u":"https://example.com/a","d":"example.com","p":{"a":"<b>&"}}`, item(func(it *ingest.Item) { it.Props = `{"a":"<b>&"}` })},
		{"revenue that is none", `{"n":"pageview","u":"https://example.com/a","d":"example.com","$":"no"}`, item(nil)},
		{
			"keys of a batch",
			`{"n":"pageview","u":"https://example.com/a","d":"example.com","id":"x","user":7,"ip":"::ffff:192.0.2.1","timestamp":"2026-01-02T03:04:05.678Z"}`,
			item(func(it *ingest.Item) {
				it.ID, it.User, it.Time = "x", "7", time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
				if err := it.Addr.UnmarshalText([]byte("192.0.2.1")); err != nil {
					panic(err)
				}
			}),
		},
	} {
		got, err := ingest.DecodeEvent([]byte(c.body))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", c.name, got, err, c.want)
		}
	}
}

func TestDecodeEventErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	for _, c := range []struct{ name, body, field string }{
		{"nothing", ``, "request"},
		{"no object", `[]`, "request"},
		{"null", `null`, "request"},
		{"cut short", `{"n":"pageview"`, "request"},
		{"two objects", `{"n":"pageview","u":"https://a.example","d":"a"}{}`, "request"},
		{"deep", strings.Repeat(`{"p":`, 20_000) + `1` + strings.Repeat(`}`, 20_000), "request"},
		{"no name", `{"u":"https://a.example","d":"a"}`, "event_name"},
		{"blank name", `{"n":"","u":"https://a.example","d":"a"}`, "event_name"},
		{"name a switch", `{"n":true,"u":"https://a.example","d":"a"}`, "event_name"},
		{"name a list", `{"n":[],"u":"https://a.example","d":"a"}`, "event_name"},
		{"long name", `{"n":"` + long + `","u":"https://a.example","d":"a"}`, "event_name"},
		{"no url", `{"n":"pageview","d":"a"}`, "url"},
		{"url a number", `{"n":"pageview","u":1,"d":"a"}`, "url"},
		{"long url", `{"n":"pageview","u":"https://a.example/` + strings.Repeat(long, 10) + `","d":"a"}`, "url"},
		{"no domain", `{"n":"pageview","u":"/path"}`, "domain"},
		{"blank domain", `{"n":"pageview","u":"/path","d":" , "}`, "domain"},
		{"many domains", `{"n":"pageview","u":"/path","d":"` + strings.Repeat("a,", 11) + `"}`, "domain"},
		{"props a list", `{"n":"pageview","u":"https://a.example","d":"a","p":[]}`, "props"},
		{"long prop", `{"n":"pageview","u":"https://a.example","d":"a","p":{"k":"` + long + `"}}`, "props"},
		{"long prop key", `{"n":"pageview","u":"https://a.example","d":"a","p":{"` + long[:301] + `":"v"}}`, "props"},
		{"engagement of nothing", `{"n":"engagement","u":"https://a.example","d":"a","sd":"x"}`, "event_name"},
		{"long id", `{"n":"pageview","u":"https://a.example","d":"a","id":"` + long + `"}`, "id"},
		{"long user", `{"n":"pageview","u":"https://a.example","d":"a","user":"` + long + `"}`, "user"},
		{"no address", `{"n":"pageview","u":"https://a.example","d":"a","ip":"localhost"}`, "ip"},
		{"no time", `{"n":"pageview","u":"https://a.example","d":"a","timestamp":"yesterday"}`, "timestamp"},
		{"time beyond", `{"n":"pageview","u":"https://a.example","d":"a","timestamp":1e300}`, "timestamp"},
	} {
		_, err := ingest.DecodeEvent([]byte(c.body))
		var fe *event.FieldError
		if !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%s: %v, want an error of field %s", c.name, err, c.field)
		}
	}
}

// TestManyProps: the first thirty stay, in the order in which they were sent.
func TestManyProps(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, `"k%06d":"v",`, 100_000-i)
	}
	it, err := ingest.DecodeEvent([]byte(`{"n":"x","u":"https://a.example","d":"a","p":{` + strings.TrimSuffix(b.String(), ",") + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	var props map[string]string
	if err := json.Unmarshal([]byte(it.Props), &props); err != nil || len(props) != 30 {
		t.Fatalf("%d props, %v; want 30", len(props), err)
	}
	for _, k := range []string{"k100000", "k099971"} {
		if props[k] != "v" {
			t.Errorf("%s is not among the first thirty: %s", k, it.Props)
		}
	}
}

func TestDecodePixel(t *testing.T) {
	t.Parallel()
	got, err := ingest.DecodePixel(url.Values{"u": {"https://example.com/a"}, "d": {"example.com"}, "w": {"800"}, "r": {"https://a.example/"}})
	want := item(func(it *ingest.Item) { it.Width, it.Referrer = 800, "https://a.example/" })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, q := range []url.Values{{}, {"d": {"a"}}, {"u": {"x"}}, {"u": {"https://a.example"}, "n": {strings.Repeat("x", 200)}}} {
		if _, err := ingest.DecodePixel(q); err == nil {
			t.Errorf("%v: no error", q)
		}
	}
}

func TestDecodeBatch(t *testing.T) {
	t.Parallel()
	const good = `{"n":"a","d":"s.example"}`
	for _, c := range []struct {
		name, body string
		ndjson     bool
		items      int
		wrong      []int // indexes of items that cannot be decoded
		broken     bool  // the whole batch is refused
	}{
		{"array", `[` + good + `,` + good + `]`, false, 2, nil, false},
		{"empty array", `[]`, false, 0, nil, false},
		{"nothing", ``, true, 0, nil, false},
		{"one wrong type", `[` + good + `,{"n":"a","d":1},` + good + `]`, false, 3, []int{1}, false},
		{"one no object", `[` + good + `,7,null]`, false, 3, []int{1, 2}, false},
		{"array cut short", `[` + good + `,`, false, 0, nil, true},
		{"lines", good + "\n\n" + good + "\r\n", true, 2, nil, false},
		{"a wrong line", good + "\n{\n" + good, true, 3, []int{1}, false},
		{"lines without being said", good + "\n" + good, false, 2, nil, false},
		{"too many", `[` + strings.Repeat(good+`,`, ingest.MaxBatch) + good + `]`, false, 0, nil, true},
		{"too many lines", strings.Repeat(good+"\n", ingest.MaxBatch+1), true, 0, nil, true},
	} {
		items, errs, err := ingest.DecodeBatch(c.body, c.ndjson)
		if (err != nil) != c.broken || len(items) != c.items {
			t.Errorf("%s: %d items, %v; want %d, refused %t", c.name, len(items), err, c.items, c.broken)
			continue
		}
		var wrong []int
		for i, err := range errs {
			if err != nil {
				wrong = append(wrong, i)
			}
		}
		if !reflect.DeepEqual(wrong, c.wrong) {
			t.Errorf("%s: items %v are wrong, want %v", c.name, wrong, c.wrong)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"n":"pageview","u":"https://example.com/a","d":"example.com","p":{"a":1},"$":{"amount":1,"currency":"EUR"},"sd":1,"e":"2","timestamp":1}`))
	f.Add([]byte(`{"n":404,"p":"{\"a\":[1]}","revenue":"{}","user":1e9,"ip":"::1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		it, err := ingest.DecodeEvent(body)
		var fe *event.FieldError
		if err != nil {
			if !errors.As(err, &fe) {
				t.Fatalf("%v is not a FieldError", err)
			}
			return
		}
		if it.Name == "" || len(it.Name) > 120 || len(it.Domains) == 0 || it.Scroll < event.NoScroll || it.Scroll > 100 || it.EngagedMS < 0 {
			t.Fatalf("accepted %+v", it)
		}
		if it.Props != "" && !json.Valid([]byte(it.Props)) {
			t.Fatalf("props are no JSON: %s", it.Props)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(`[{"n":"a","d":"s.example"},{"n":1}]`, false)
	f.Add("{\"n\":\"a\",\"d\":\"s.example\"}\n{}", true)
	f.Fuzz(func(t *testing.T, body string, ndjson bool) {
		items, errs, err := ingest.DecodeBatch(body, ndjson)
		if err != nil && len(items) > 0 {
			t.Fatalf("%d items of a batch that was refused: %v", len(items), err)
		}
		for i := range items {
			if errs[i] == nil && (items[i].Name == "" || len(items[i].Domains) == 0) {
				t.Fatalf("accepted %+v", items[i])
			}
		}
	})
}
