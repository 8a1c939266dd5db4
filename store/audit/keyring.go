package audit

import (
	"crypto/ed25519"
	"fmt"
	"slices"
)

// maxNamed bounds the keys that a chain may name.
const maxNamed = 1000

// A keyring knows which keys may sign where in a chain. The entries [Genesis] and
// [Rotate] name the key that is in force from there on. A key is believed if the
// auditor trusts it or if a checkpoint after its entry is signed by it and by one that
// is believed.
type keyring struct {
	trusted *Trusted

	named   []ed25519.PublicKey // by the entries so far
	force   ed25519.PublicKey   // the last of them, nil before any
	reached []ed25519.PublicKey // named, and believed
	fromLog bool                // the first named one is believed for want of trusted ones
	seen    []ed25519.PublicKey // whose signatures were valid

	unanchored int64 // size of the first checkpoint that no believed key has signed, nor one after it; 0 if none
	rotated    int64 // seq of the last rotation whose checkpoint is still to come, -1 if none
	old        ed25519.PublicKey
}

// name takes the key that an entry names.
func (k *keyring) name(seq int64, text string) error {
	if text == "" && seq == 0 {
		return nil
	}
	raw, err := decode32(text)
	if err != nil {
		return fmt.Errorf("the key that it names is none: %w", err)
	}
	if len(k.named) == maxNamed {
		return fmt.Errorf("it is the rotation number %d of keys", maxNamed)
	}
	if seq > 0 && k.force != nil {
		k.old, k.rotated = k.force, seq
	}
	k.force = raw[:]
	k.named = append(k.named, k.force)
	if k.trusted.Empty() && len(k.named) == 1 {
		k.fromLog = true
		k.reached = append(k.reached, k.force)
	}
	return nil
}

func in(list []ed25519.PublicKey, key ed25519.PublicKey) bool {
	return slices.ContainsFunc(list, func(other ed25519.PublicKey) bool { return other.Equal(key) })
}

// checkpoint returns why the signatures of a checkpoint do not do.
func (k *keyring) checkpoint(c Checkpoint, r *Report) string {
	believed := append(k.trusted.of(c.Origin), k.reached...)
	all := slices.Clone(believed)
	for _, key := range k.named {
		if !in(all, key) {
			all = append(all, key)
		}
	}
	if len(all) == 0 {
		return "" // nobody knows a key: the end will tell
	}
	by, err := signed(c.Note, c.Origin, all)
	if err != nil {
		return err.Error()
	}
	for _, key := range by {
		if !in(k.seen, key) {
			k.seen = append(k.seen, key)
		}
	}
	if len(by) == 0 {
		return "no key that is known has signed it"
	}
	if k.force != nil && !in(by, k.force) {
		return "the key in force has not signed it"
	}
	both := k.old != nil && in(by, k.old)
	if k.rotated > 0 && !both && in(believed, k.force) {
		r.warn("entry %d names another key, and no checkpoint is signed by the old one as well", k.rotated)
	}
	k.rotated = 0
	if !slices.ContainsFunc(by, func(key ed25519.PublicKey) bool { return in(believed, key) }) {
		if k.unanchored == 0 {
			k.unanchored = c.Size
		}
		return ""
	}
	k.unanchored = 0
	r.Signed = c.Size
	if k.force != nil && !in(believed, k.force) {
		k.reached = append(k.reached, k.force)
	}
	return ""
}

// end returns why the last checkpoints are not to be believed.
func (k *keyring) end(r *Report) string {
	if k.unanchored == 0 {
		return ""
	}
	if k.fromLog {
		return fmt.Sprintf("the checkpoints from %d on are signed by a key that the one before it has not signed for", k.unanchored)
	}
	return fmt.Sprintf("the checkpoints from %d on are signed by none of the keys that are trusted", k.unanchored)
}

func (k *keyring) summarize(r *Report) {
	for _, key := range k.seen {
		r.Keys = append(r.Keys, KeyText(key))
	}
	if r.KeysFromLog = k.fromLog; k.fromLog {
		r.warn("the keys were taken from the log itself: whoever has made all of it up would have done so as well")
	}
}
