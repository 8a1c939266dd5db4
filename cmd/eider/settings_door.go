package main

import (
	"strings"
	"time"

	"github.com/eider-analytics/eider/server/door"
)

// doorConfig is what is set of logging in.
type doorConfig struct {
	password string // of the user admin; "" leaves him
	secure   string // "true", "false", or "" for what fits
	attempts int
	lockout  time.Duration
	ttl      time.Duration
	idle     time.Duration
}

func (c *config) doorSettings() []setting {
	d := &c.door
	const day = 24 * time.Hour
	return []setting{
		{env: "EIDER_ADMIN_PASSWORD", auto: "none: the first start prints a link", secret: true, value: passwordValue(&d.password),
			doc: "Password of the user `admin`, who is made if he is not there. It is set at every start, and ends his sessions if it was another one."},
		{env: "EIDER_SECURE_COOKIES", auto: "`true` unless on loopback without a proxy", value: autoValue(&d.secure),
			doc: "Cookies are for TLS only, and named `__Host-…`. `false` is for a network that you trust."},
		{env: "EIDER_MAX_LOGIN_ATTEMPTS", def: "5", value: numberValue(&d.attempts, 1, 1000),
			doc: "Log-ins of one address (IPv6: of a /64) that may fail before it has to wait."},
		{env: "EIDER_LOGIN_LOCKOUT", def: "5m", value: secondsValue(&d.lockout, time.Second, day),
			doc: "How long it has to wait. Each further failure doubles it, up to an hour."},
		{env: "EIDER_SESSION_TTL", def: "24h", value: secondsValue(&d.ttl, time.Minute, 365*day),
			doc: "How long a log-in is good, whether it is used or not."},
		{env: "EIDER_SESSION_IDLE", def: "12h", value: secondsValue(&d.idle, time.Minute, 365*day),
			doc: "How long a log-in is good without being used."},
	}
}

// passwordValue takes what a user may have as a password. What is wrong with one is
// told without it.
func passwordValue(p *string) value {
	return value{
		valid: "8 to 512 characters, neither the user name nor one that many people use",
		set: func(s string) error {
			s = strings.TrimRight(s, "\r\n") // of a file
			if err := door.CheckPassword(door.Admin, s); err != nil {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

// secureCookies says whether cookies are for TLS only.
func (c *config) secureCookies() bool {
	switch {
	case c.door.secure != "":
		return c.door.secure == "true"
	case c.secure():
		return true
	case strings.HasPrefix(c.dashboardOrigin, "http://"):
		return false
	}
	return !c.loopback() || c.trustedProxy != "" && c.trustedProxy != "none"
}

// options returns what a door is made of.
func (d *doorConfig) options() door.Options {
	return door.Options{Attempts: d.attempts, Lockout: d.lockout, TTL: d.ttl, Idle: d.idle}
}
