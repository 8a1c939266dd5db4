package audit

import (
	"errors"
	"fmt"
	"time"
)

// A Status is what a verification comes to.
type Status string

// What a verification comes to, from best to worst.
const (
	Sound     Status = "sound"     // nothing speaks against it
	CannotAll Status = "unknown"   // some of it cannot be judged
	Truncated Status = "truncated" // it is shorter than it was
	Tampered  Status = "tampered"  // it is not what was written
)

// exits are the exit codes of statuses, severity their order.
var (
	exits    = map[Status]int{Sound: 0, Tampered: 1, Truncated: 2, CannotAll: 3}
	severity = map[Status]int{Sound: 0, CannotAll: 1, Truncated: 2, Tampered: 3}
)

// A Finding is one thing that is not as it should be.
type Finding struct {
	Status Status `json:"status"`
	Seq    int64  `json:"seq"` // of the entry; -1 if it is not about one
	What   string `json:"what"`
}

// Bounds of a report: a verification ends when there is no room for more.
const (
	maxFindings = 20
	maxWarnings = 50
)

// A Report is what a verification has found.
type Report struct {
	Status   Status    `json:"status"`
	Exit     int       `json:"exit"`            // 0 sound, 1 tampered, 2 truncated, 3 cannot tell
	Where    *Finding  `json:"where,omitempty"` // the first of the worst
	Findings []Finding `json:"findings,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`

	Origin  string `json:"origin,omitempty"` // of the newest checkpoint
	Start   int64  `json:"start"`            // the first entry that was looked at
	Entries int64  `json:"entries"`          // how many were
	Pruned  int64  `json:"pruned"`           // of them have only their link left
	Head    string `json:"head"`             // size:root, as X-Eider-Audit-Head has it
	Size    int64  `json:"size"`

	Checkpoints  int64    `json:"checkpoints"` // that were looked at
	Signed       int64    `json:"signed"`      // size of the newest that a key in force has signed
	Keys         []string `json:"keys"`        // public keys whose signatures were valid
	KeysFromLog  bool     `json:"keys_from_log"`
	Cosigned     int64    `json:"cosigned"` // size of the newest that a given witness has cosigned
	Incarnation  int64    `json:"incarnation"`
	UnknownKinds int64    `json:"unknown_kinds"`

	PrivateKept   int64 `json:"private_kept"`   // private values that match their commitment
	PrivateErased int64 `json:"private_erased"` // that an entry says are destroyed

	Elapsed float64 `json:"elapsed"` // seconds
}

// A Damage is why a file is not an export in its own form. A verification that ends
// with it has found something, other than one that could not read a disk.
type Damage struct {
	Seq       int64 // of the entry that is there or should be, -1 if none
	What      string
	Truncated bool // it seems cut off rather than changed
}

func (e *Damage) Error() string {
	if e.Seq < 0 {
		return "audit export is damaged: " + e.What
	}
	return fmt.Sprintf("audit export is damaged at entry %d: %s", e.Seq, e.What)
}

// Unopened returns the report of a log that could not be opened.
func Unopened(err error) Report {
	r := newReport()
	r.fail(err)
	r.finish(time.Now())
	return r
}

func newReport() Report { return Report{Status: Sound, Keys: []string{}} }

// find adds a finding, and returns whether there is room for more.
func (r *Report) find(s Status, seq int64, format string, args ...any) bool {
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, Finding{s, seq, fmt.Sprintf(format, args...)})
	}
	return len(r.Findings) < maxFindings
}

func (r *Report) warn(format string, args ...any) {
	switch {
	case len(r.Warnings) < maxWarnings:
		r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
	case len(r.Warnings) == maxWarnings:
		r.Warnings = append(r.Warnings, "there is more of the kind")
	}
}

// fail adds what ended a verification.
func (r *Report) fail(err error) {
	var damage *Damage
	switch {
	case errors.As(err, &damage) && damage.Truncated:
		r.find(Truncated, damage.Seq, "%s", damage.What)
	case errors.As(err, &damage):
		r.find(Tampered, damage.Seq, "%s", damage.What)
	case errors.Is(err, ErrRolledBack):
		r.find(Truncated, -1, "%v", err)
	default:
		r.find(CannotAll, -1, "%v", err)
	}
}

// finish says what all findings come to.
func (r *Report) finish(began time.Time) {
	for i, f := range r.Findings {
		if severity[f.Status] > severity[r.Status] {
			r.Status, r.Where = f.Status, &r.Findings[i]
		}
	}
	r.Exit = exits[r.Status]
	r.Elapsed = time.Since(began).Seconds()
}
