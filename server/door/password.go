package door

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a password, in characters. The upper one is of no use to anyone but to
// those who send us megabytes.
const (
	MinPassword = 8
	maxPassword = 512
)

var (
	// ErrPassword is returned for a password that is too short or too long, or that is
	// the name of its user.
	ErrPassword = fmt.Errorf("a password has %d to %d characters, and is not the user name", MinPassword, maxPassword)

	// ErrCommon is returned for a password that many people have.
	ErrCommon = errors.New("too many people use this password, and it is among the first that are tried; a few words that belong together for nobody else are best")
)

// commonPasswords are in small letters, one a line; common/README.md says where they
// are from.
//
//go:embed common/passwords.txt
var commonPasswords string

// CheckPassword refuses a password that nobody may have, as NIST SP 800-63B-3 asks for
// in 5.1.1.2: one that is short, that is the name of its user, or that is common. Kinds
// of characters are not asked for: they make nobody's password better.
func CheckPassword(name, password string) error {
	n := utf8.RuneCountInString(password)
	if !utf8.ValidString(password) || n < MinPassword || n > maxPassword || strings.EqualFold(password, name) {
		return ErrPassword
	}
	if isCommon(password) {
		return ErrCommon
	}
	return nil
}

func isCommon(password string) bool {
	word := strings.ToLower(strings.TrimSpace(password)) + "\n"
	return strings.Count(word, "\n") == 1 && (strings.HasPrefix(commonPasswords, word) || strings.Contains(commonPasswords, "\n"+word))
}
