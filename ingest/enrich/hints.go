package enrich

import (
	"strconv"
	"strings"
)

// brands are the names by which browsers go in Sec-CH-UA, and ours. A brand that
// is not here is not taken over: it may be anything.
var brands = map[string]string{
	"Google Chrome": "Chrome", "Chromium": "Chromium", "Android WebView": "Chrome WebView", "HeadlessChrome": "Headless Chrome",
	"Microsoft Edge": "Edge", "Microsoft Edge WebView2": "Edge WebView", "Opera": "Opera", "Opera GX": "Opera", "OperaMobile": "Opera",
	"Brave": "Brave", "Vivaldi": "Vivaldi", "Samsung Internet": "Samsung Internet", "YaBrowser": "Yandex Browser", "Yandex": "Yandex Browser",
	"DuckDuckGo": "DuckDuckGo", "Whale": "Whale", "NAVER Whale": "Whale", "Avast Secure Browser": "Avast Secure Browser",
	"AVG Secure Browser": "AVG Secure Browser", "Norton Private Browser": "Norton Private Browser", "CocCoc": "Cốc Cốc",
	"HuaweiBrowser": "Huawei Browser", "MIUI Browser": "MIUI Browser", "Amazon Silk": "Silk", "Silk": "Silk", "Ecosia": "Ecosia",
	"Arc": "Arc", "Comet": "Comet", "Wavebox": "Wavebox", "Sidekick": "Sidekick", "Oculus Browser": "Meta Quest Browser", "Electron": "Electron",
}

// generic are the brands that many browsers name beside their own, from the
// least telling to the most.
var generic = map[string]int{"Chromium": 1, "Chrome WebView": 2, "Edge WebView": 3, "Chrome": 4}

const product = 5 // a brand that only one browser names

// hintedBrowser returns the most telling brand. A browser that the user agent
// names is not overruled by a brand that it shares with others.
func hintedBrowser(h Hints, name, version string) (string, string) {
	best, bestVersion, rank := "", "", 0
	for brand, v := range brandList(h.Brands) {
		n, known := brands[brand]
		if !known {
			continue // made-up brands (GREASE) among them
		}
		r := generic[n]
		if r == 0 {
			r = product
		}
		if r > rank {
			best, bestVersion, rank = n, major(v), r
		}
	}
	if rank == 0 || rank < product && name != "" && name != "Chrome" && generic[name] == 0 {
		return name, version
	}
	if name == "Chrome WebView" && rank < product {
		best = name // says so by its user agent, and Chrome by its brand
	}
	return best, bestVersion
}

// brandList yields the brands of a Sec-CH-UA header with their versions:
//
//	"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"
//
// It is a structured field, of which browsers send this part only.
func brandList(header string) func(yield func(brand, version string) bool) {
	return func(yield func(brand, version string) bool) {
		for {
			_, rest, ok := strings.Cut(header, `"`)
			if !ok {
				return
			}
			brand, rest, ok := quoted(rest)
			if !ok {
				return
			}
			version := ""
			if v, found := strings.CutPrefix(strings.TrimLeft(rest, "; "), `v="`); found {
				if version, rest, ok = quoted(v); !ok {
					return
				}
			}
			if !yield(brand, version) {
				return
			}
			header = rest
		}
	}
}

// quoted cuts s after the first quote that no backslash stands before.
func quoted(s string) (text, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func unquote(s string) string { return strings.Trim(strings.TrimSpace(s), `"`) }

// platforms are the values of Sec-CH-UA-Platform, and our names.
var platforms = map[string]string{
	"Windows": "Windows", "macOS": "macOS", "Android": "Android", "iOS": "iOS", "Linux": "Linux",
	"Chrome OS": "ChromeOS", "Chromium OS": "ChromeOS", "ChromeOS": "ChromeOS",
}

// hintedSystem returns the system of the hints, and its version if they tell it.
// Browsers freeze the versions in their user agents, so that only a hint can
// tell Windows 11 and macOS after 10.15.
func hintedSystem(h Hints, os, version string) (string, string) {
	hinted, ok := platforms[unquote(h.Platform)]
	if !ok || os == "Xbox" || os == "Tizen" || os == "webOS" || os == "iPadOS" {
		return os, version
	}
	if hinted != os {
		os, version = hinted, ""
	}
	v := unquote(h.PlatformVersion)
	switch {
	case v == "" || os == "Linux":
		return os, version
	case os == "Windows":
		if w := windowsVersion(v); w != "" {
			return os, w
		}
		return os, version
	}
	if n := twoNumbers(v); n != "" {
		return os, n
	}
	return os, version
}

// windowsVersion reads the version of Windows' API contract that browsers send.
func windowsVersion(v string) string {
	n, err := strconv.Atoi(major(v))
	switch {
	case err != nil:
		return ""
	case n >= 13:
		return "11"
	case n >= 1:
		return "10"
	}
	return map[string]string{"0.1": "7", "0.2": "8", "0.3": "8.1"}[twoNumbers(v)]
}
