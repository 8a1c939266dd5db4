// The set-up page trades the token of the one-time link for the first key. The
// token is in the fragment, which a browser sends to nobody; it is taken out of
// the address at once, so that it is not left in the history.

const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);

const [ask, button, say, made] = ['ask', 'make', 'say', 'made'].map((id) => document.getElementById(id));

function complain(text) {
	say.textContent = text;
	say.className = 'bad';
}

// sentence makes one of what the server says.
const sentence = (text) => text[0].toUpperCase() + text.slice(1) + '.';

async function make() {
	button.disabled = true;
	try {
		const answer = await fetch('/api/auth/setup', {
			method: 'POST',
			headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify({ token }),
		});
		const body = await answer.json();
		if (!answer.ok) return complain(sentence(body.error));
		document.getElementById('key').textContent = body.key;
		document.getElementById('origin').textContent = location.origin;
		ask.hidden = true;
		made.hidden = false;
		made.focus(); // for those who hear the page
	} catch {
		complain('The server does not answer. Try again.');
		button.disabled = false;
	}
}

button.addEventListener('click', make);
if (token) button.disabled = false;
else complain('This page needs the link that the server printed when it started. Restart it for a new one.');
