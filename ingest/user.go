package ingest

import "github.com/eider-analytics/eider/store/event"

// User returns the id by which events carry a user of a site. The name of the
// user is what the site sends.
func (in *Ingest) User(site, name string) event.ID { return in.identity.user(site, name) }
