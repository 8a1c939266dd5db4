package server

import "net/http"

const ofAuth = "Log-in"

// setupAnswer is who has come in, or the first key.
type setupAnswer struct{}

func (setupAnswer) schema() schema {
	return schema{"type": "object", "properties": schema{"user": schema{"type": "object"}, "expires": textual(), "key": textual()}}
}

var (
	entered  = "Also the cookie of the session, and one that says that the device is known."
	unlucky  = []int{http.StatusUnauthorized, http.StatusTooManyRequests}
	forUsers = "For a user who has logged in, not for a key."
)

var authOperations = map[string]operation{
	"GET /api/auth/status": {group: ofAuth, says: "Whether somebody can administer the server, and who asks.", gives: okJSON("It.", statusJSON{})},
	"POST /api/auth/setup": {
		group: ofAuth, says: "Makes the first user, or the first key, with the token that the server printed at its start.", takes: jsonOf(setupRequest{}),
		gives: created("Who has come in; or the key itself, this once.", setupAnswer{}), fails: []int{http.StatusUnauthorized, http.StatusConflict},
	},
	"POST /api/auth/login":  {group: ofAuth, says: "Begins a session.", more: "401 with the code `code_needed`: the password is right, and there is a second factor. 429: too many attempts have failed; `Retry-After` says when the next is looked at.", takes: jsonOf(loginRequest{}), gives: okJSON(entered, enteredJSON{}), fails: unlucky},
	"POST /api/auth/logout": {group: ofAuth, says: "Ends the session of the cookie.", gives: gone204},
	"POST /api/auth/invite": {group: ofAuth, says: "Sets the password of who was invited, and begins a session.", more: "Who has a second factor has to log in.", takes: jsonOf(inviteRequest{}), gives: created(entered, enteredJSON{}), fails: unlucky},

	"GET /api/auth/sessions":         {group: ofAuth, says: "The sessions of who asks.", more: forUsers, gives: okJSON("They, the newest first.", sessionsJSON{})},
	"DELETE /api/auth/sessions/{id}": {group: ofAuth, says: "Ends one of them.", more: forUsers, gives: gone204, fails: notFound},
	"POST /api/auth/password":        {group: ofAuth, says: "Sets another password, and ends the other sessions.", more: forUsers, takes: jsonOf(passwordRequest{}), gives: gone204, fails: []int{http.StatusTooManyRequests}},
	"POST /api/auth/totp":            {group: ofAuth, says: "Makes a secret for a second factor, which is none until it is confirmed.", more: forUsers, gives: okJSON("It, this once.", secretJSON{})},
	"POST /api/auth/totp/confirm":    {group: ofAuth, says: "Makes it the second factor.", more: forUsers, takes: jsonOf(codeRequest{}), gives: okJSON("Recovery codes.", codesJSON{}), fails: []int{http.StatusConflict, http.StatusTooManyRequests}},
	"DELETE /api/auth/totp":          {group: ofAuth, says: "Removes the second factor and the recovery codes.", more: forUsers, takes: jsonOf(confirmRequest{}), gives: gone204, fails: []int{http.StatusNotFound, http.StatusTooManyRequests}},
	"GET /api/auth/passkeys":         {group: ofAuth, says: "The passkeys of who asks.", more: forUsers, gives: okJSON("They, the oldest first.", passkeysJSON{})},
	"POST /api/auth/passkeys/{id}": {
		group: ofAuth, says: "Adds a passkey, in two steps.", asks: []ask{{name: "id", says: "begin, with `{\"name\": …}`; then finish, with what the browser has made.", of: oneOf("begin", "finish")}},
		more: forUsers, takes: jsonOf(credentialJSON{}),
		gives: []reply{{http.StatusOK, "For `PublicKeyCredential.parseCreationOptionsFromJSON`.", jsonOf(optionsJSON{})}, {http.StatusCreated, "The passkey.", jsonOf(passkeyJSON{})}}, fails: []int{http.StatusNotFound, http.StatusConflict},
	},
	"DELETE /api/auth/passkeys/{id}": {group: ofAuth, says: "Removes a passkey.", more: forUsers, gives: gone204, fails: []int{http.StatusNotFound, http.StatusConflict}},
	"POST /api/auth/passkey/begin":   {group: ofAuth, says: "Begins a log-in by passkey.", gives: okJSON("For `PublicKeyCredential.parseRequestOptionsFromJSON`.", optionsJSON{}), fails: []int{http.StatusUnprocessableEntity}},
	"POST /api/auth/passkey/finish":  {group: ofAuth, says: "Begins a session by what the browser has answered.", takes: jsonOf(credentialJSON{}), gives: okJSON(entered, enteredJSON{}), fails: unlucky},

	"GET /api/users":         {group: ofAuth, says: "Who can log in.", gives: okJSON("They, by name.", usersJSON{})},
	"POST /api/users":        {group: ofAuth, says: "Makes a user.", takes: jsonOf(newUser{}), gives: created("The user, and the link of the invitation.", invitedJSON{}), fails: exists},
	"PATCH /api/users/{id}":  {group: ofAuth, says: "Changes a user; fields that are left out stay.", more: "A new role or password ends his sessions.", takes: jsonOf(userChange{}), gives: okJSON("As it is now.", invitedJSON{}), fails: []int{http.StatusNotFound, http.StatusConflict}},
	"DELETE /api/users/{id}": {group: ofAuth, says: "Removes a user with sessions and factors.", gives: gone204, fails: []int{http.StatusNotFound, http.StatusConflict}},
}
