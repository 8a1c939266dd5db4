package audit

// A Kind says what was done. The list is closed and belongs to [Version]: an entry
// of another kind is kept as [Unknown] and counted, because an act that has happened
// must not go unrecorded for want of a name.
type Kind string

// What is done to the chain itself.
const (
	Genesis Kind = "audit.genesis" // the first entry of an instance
	Adopt   Kind = "audit.adopt"   // an operator took an older state as the truth: a new incarnation
	Rotate  Kind = "audit.key"     // checkpoints are signed by another key from here on
	Read    Kind = "audit.read"    // entries were listed, exported or proved
	Erase   Kind = "audit.erase"   // private values were destroyed
	Prune   Kind = "audit.prune"   // leaves were deleted, their hashes kept
	Alarm   Kind = "audit.alarm"   // a check has found that a copy, or the chain, is not what was written
	Unknown Kind = "unknown"
)

// What is done to an installation.
const (
	Start   Kind = "server.start"
	Stop    Kind = "server.stop"
	Migrate Kind = "server.migrate"
	Task    Kind = "server.maintenance" // publish, compact, rollup, verify: asked for by hand

	Refusal Kind = "access.refusal" // a request without the right to do what it asks

	KeyCreate Kind = "key.create"
	KeyRevoke Kind = "key.revoke"

	SiteCreate       Kind = "site.create"
	SiteChange       Kind = "site.change"
	SiteRemove       Kind = "site.remove"
	GoalCreate       Kind = "goal.create"
	GoalChange       Kind = "goal.change"
	GoalRemove       Kind = "goal.remove"
	SegmentCreate    Kind = "segment.create"
	SegmentChange    Kind = "segment.change"
	SegmentRemove    Kind = "segment.remove"
	AnnotationCreate Kind = "annotation.create"
	AnnotationChange Kind = "annotation.change"
	AnnotationRemove Kind = "annotation.remove"
	LinkCreate       Kind = "link.create"
	LinkChange       Kind = "link.change"
	LinkRevoke       Kind = "link.revoke"
	SettingChange    Kind = "setting.change"

	DataExport     Kind = "data.export"
	DataImport     Kind = "data.import"
	DataErase      Kind = "data.erase"
	DataRetain     Kind = "data.retain"
	DataBackup     Kind = "data.backup"
	DataRestore    Kind = "data.restore"
	DataQuarantine Kind = "data.quarantine" // a part is not what the ledger lists
	DataCopy       Kind = "data.copy"       // events are copied to another database from here on
	DataWithdraw   Kind = "data.withdraw"   // what was erased here is erased there too

	Login          Kind = "login.attempt"
	Lockout        Kind = "login.lockout"
	SessionStart   Kind = "session.start"
	SessionEnd     Kind = "session.end"
	PasswordChange Kind = "password.change"
	FactorAdd      Kind = "factor.add"
	FactorRemove   Kind = "factor.remove"
	UserCreate     Kind = "user.create"
	UserChange     Kind = "user.change"
	UserRemove     Kind = "user.remove"

	AgentInstall    Kind = "agent.install"
	AgentGrant      Kind = "agent.grant"
	AgentStart      Kind = "agent.start"
	AgentStop       Kind = "agent.stop"
	AgentDenial     Kind = "agent.denial"
	AgentQuarantine Kind = "agent.quarantine"
	AgentRemove     Kind = "agent.remove"
)

// Kinds are all there are.
var Kinds = []Kind{
	Genesis, Adopt, Rotate, Read, Erase, Prune, Alarm, Unknown,
	Start, Stop, Migrate, Task, Refusal, KeyCreate, KeyRevoke,
	SiteCreate, SiteChange, SiteRemove, GoalCreate, GoalChange, GoalRemove,
	SegmentCreate, SegmentChange, SegmentRemove, AnnotationCreate, AnnotationChange, AnnotationRemove,
	LinkCreate, LinkChange, LinkRevoke, SettingChange,
	DataExport, DataImport, DataErase, DataRetain, DataBackup, DataRestore, DataQuarantine, DataCopy, DataWithdraw,
	Login, Lockout, SessionStart, SessionEnd, PasswordChange, FactorAdd, FactorRemove, UserCreate, UserChange, UserRemove,
	AgentInstall, AgentGrant, AgentStart, AgentStop, AgentDenial, AgentQuarantine, AgentRemove,
}

var known = func() map[Kind]bool {
	m := make(map[Kind]bool)
	for _, k := range Kinds {
		m[k] = true
	}
	return m
}()

// An Outcome says what became of an act.
type Outcome string

// The outcomes. An act that takes long has two entries of one request: the first
// says that it has begun.
const (
	Done    Outcome = "done"
	Begun   Outcome = "begun"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"
)
