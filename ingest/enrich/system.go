package enrich

import (
	"strconv"
	"strings"

	"github.com/mileusna/useragent"
)

// systems are those that the parser does not know or takes for another, by the
// text that names them, with the version after it.
var systems = [...]struct{ token, name string }{
	{"Xbox", "Xbox"},
	{"PlayStation Vita", "PlayStation"},
	{"PlayStation; PlayStation ", "PlayStation"},
	{"PlayStation ", "PlayStation"},
	{"Nintendo", "Nintendo"},
	{"Tizen", "Tizen"},
	{"Web0S", "webOS"},
	{"webOS", "webOS"},
	{"NetCast", "webOS"},
	{"KAIOS/", "KaiOS"},
	{"Roku/DVP-", "Roku"},
	{"OpenHarmony", "HarmonyOS"},
	{"HarmonyOS", "HarmonyOS"},
	{"FreeBSD", "FreeBSD"},
	{"OpenBSD", "OpenBSD"},
	{"NetBSD", "NetBSD"},
}

// windowsNames are what people call the versions of Windows NT.
var windowsNames = map[string]string{
	"10.0": "10", "6.3": "8.1", "6.2": "8", "6.1": "7", "6.0": "Vista", "5.2": "XP", "5.1": "XP", "5.0": "2000",
}

func systemOf(agent string, u *useragent.UserAgent) (name, version string) {
	for _, s := range systems {
		if _, after, ok := strings.Cut(agent, s.token); ok {
			if strings.HasSuffix(s.name, "BSD") {
				return s.name, ""
			}
			return s.name, twoNumbers(strings.TrimLeft(after, " /"))
		}
	}
	switch u.OS {
	case useragent.Windows:
		return "Windows", windowsNames[u.OSVersion]
	case useragent.MacOS:
		if strings.Contains(agent, " Mobile/") {
			return "iPadOS", "" // a tablet that asks for the pages of a desktop
		}
		return "macOS", twoNumbers(u.OSVersion)
	case useragent.IOS:
		return appleSystem(u.Tablet, twoNumbers(u.OSVersion))
	case useragent.ChromeOS, useragent.CrOS:
		_, after, _ := strings.Cut(agent, "CrOS ")
		_, after, _ = strings.Cut(after, " ")
		return "ChromeOS", twoNumbers(after)
	case useragent.Linux:
		return "Linux", ""
	case useragent.WindowsPhone, useragent.WindowsPhoneOS, useragent.Android, useragent.BlackBerry:
		return strings.TrimSuffix(u.OS, " OS"), twoNumbers(u.OSVersion)
	}
	return "", ""
}

// appleSystem tells iPadOS, which is what iOS is called on tablets from 13 on.
func appleSystem(tablet bool, version string) (string, string) {
	if n, _ := strconv.Atoi(major(version)); tablet && n >= 13 {
		return "iPadOS", version
	}
	return "iOS", version
}

// twoNumbers returns the first two numbers of a version, the second only if it
// is not 0: 10.15 of 10_15_7, 14 of 14.0.
func twoNumbers(version string) string {
	first := major(version)
	rest := version[len(first):]
	if first == "" || rest == "" || rest[0] != '.' && rest[0] != '_' {
		return first
	}
	if second := major(rest[1:]); second != "" && second != "0" {
		return first + "." + second
	}
	return first
}

// signs are texts in a user agent or model that give a device away; the first
// that is there wins.
var signs = [...]struct{ text, device string }{
	{"Xbox", Console}, {"PlayStation", Console}, {"Nintendo", Console},
	{"SMART-TV", TV}, {"SmartTV", TV}, {"Smart TV", TV}, {"GoogleTV", TV}, {"Google TV", TV}, {"Android TV", TV},
	{"AppleTV", TV}, {"Apple TV", TV}, {"HbbTV", TV}, {"Web0S", TV}, {"NetCast", TV}, {"BRAVIA", TV}, {"CrKey", TV},
	{"Chromecast", TV}, {"Roku", TV}, {"VIDAA", TV}, {"MiTV", TV}, {"MIBOX", TV}, {"; AFT", TV}, {"SHIELD Android", TV},
	{"Watch", Wearable}, {"Wear OS", Wearable},
	{"iPad", Tablet}, {"Tablet", Tablet}, {"Kindle", Tablet}, {"PlayBook", Tablet}, {"; KF", Tablet}, {"SM-T", Tablet}, {"SM-X", Tablet},
}

func deviceOf(agent string, h Hints, os string, u *useragent.UserAgent) string {
	model := unquote(h.Model)
	for _, s := range signs {
		if strings.Contains(agent, s.text) || strings.HasPrefix(model, strings.TrimLeft(s.text, "; ")) {
			return s.device
		}
	}
	switch {
	case os == "iPadOS":
		return Tablet
	case h.Mobile == "?1":
		return Mobile
	case os == "Android" && (h.Mobile == "?0" || !mobileToken(agent)):
		return Tablet // Android says Mobile on phones
	case u.Tablet:
		return Tablet
	case u.Mobile, os == "iOS", os == "Android", os == "KaiOS", os == "HarmonyOS":
		return Mobile
	case u.Desktop, h.Mobile == "?0", os != "":
		return Desktop
	}
	return ""
}

// mobileToken says whether the user agent claims to be a phone's. Opera Mini
// and web views without a browser's tokens are phones' as well.
func mobileToken(agent string) bool {
	return strings.Contains(agent, "Mobi") || strings.Contains(agent, "Mini") || !strings.Contains(agent, "Gecko")
}
