// The index page shows this server's address in its examples, and how it is.

for (const el of document.querySelectorAll('.origin')) el.textContent = location.origin;

const state = document.getElementById('state');

async function show() {
	try {
		const ready = await fetch('/health/ready');
		const text = (await ready.text()).trim();
		state.textContent = ready.ok ? 'This server is ready.' : 'This server is not ready: ' + text.replaceAll('\n', '; ');
		state.className = ready.ok ? 'soft' : 'bad';
		const status = await (await fetch('/api/auth/status')).json();
		if (status.setup_required) {
			state.append(' Nobody has set it up yet: open the link that it printed when it started.');
		}
	} catch {
		state.textContent = 'This server does not answer.';
		state.className = 'bad';
	}
}

show();
