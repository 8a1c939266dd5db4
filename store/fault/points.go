package fault

// Points are all the moments, sorted. A crash test that does not reach one of
// them fails.
var Points = []string{
	"ledger: after checkpoint",
	"ledger: after history commit",
	"ledger: after id pages",
	"ledger: after journal commit",
	"ledger: after trim",
	"ledger: before checkpoint",
	"ledger: before history commit",
	"ledger: before id pages",
	"ledger: before journal commit",
	"ledger: before trim",
}
