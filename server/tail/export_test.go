package tail

// Limits that the tests reach.
const (
	Kept        = keptEvents
	Buffered    = bufferEvents
	WaitingMost = waitingBytes
	Lingering   = lingering
	Linger      = linger
)

// Hold keeps the goroutine from looking at anything until release is called.
func (t *Tap) Hold() (release func()) {
	t.mu.Lock()
	return t.mu.Unlock
}

// On says whether groups are looked at.
func (t *Tap) On() bool { return t.on.Load() }

// Sites returns of how many sites something is kept.
func (t *Tap) Sites() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sites)
}

// Last returns the last event that has been looked at.
func (t *Tap) Last() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}
