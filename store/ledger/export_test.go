package ledger

import "fmt"

// LimitPages makes the database full once it has n pages.
func (l *Ledger) LimitPages(n int) error {
	var got int
	if err := l.journal.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&got); err != nil {
		return err
	}
	return l.main.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&got)
}

// SetSync replaces the sync of the WAL that the durability OS does. It must be
// called before the first Append.
func (l *Ledger) SetSync(f func() error) { l.syncFile = f }

// Checkpoint moves pages from the WAL into the database now.
func (l *Ledger) Checkpoint() {
	select {
	case l.due <- struct{}{}:
	default:
	}
}
