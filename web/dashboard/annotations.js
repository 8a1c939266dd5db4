// Notes to the chart: made, changed and removed in a dialog.

import { h, put, field } from './dom.js';
import { post, change } from './api.js';
import { t } from './i18n.js';
import { today } from './period.js';
import { dialog } from './menu.js';

// note shows one note, or makes one where there is none yet. changed is called after.
export function note(ctx, old, changed) {
	const site_id = ctx.site.domain;
	if (!ctx.admin) return dialog(t('note.title'), () => h('p', null, old.text));
	const text = h('input', { maxlength: 200, required: true, value: old?.text, autofocus: true });
	const date = h('input', { type: 'date', required: true, value: old ? old.date ?? old.time.slice(0, 10) : today(ctx.site.timezone) });
	const say = h('p', { class: 'bad', role: 'alert' });
	return dialog(t('note.title'), (close) => {
		const act = async (what) => {
			try {
				await what();
				close();
				changed();
			} catch (err) {
				put(say, err.message);
			}
		};
		const body = () => ({ date: date.value, text: text.value });
		return h('form', {
			class: 'stack',
			onsubmit: (e) => {
				e.preventDefault();
				act(() => old ? change('PATCH', `/api/annotations/${old.id}`, body(), { site_id }) : post('/api/annotations', body(), { site_id }));
			},
		}, field(t('note.text'), text), field(t('note.date'), date), say, h('p', { class: 'actions' },
			old && h('button', { type: 'button', class: 'danger', onclick: () => act(() => change('DELETE', `/api/annotations/${old.id}`, undefined, { site_id })) }, t('remove')),
			h('button', { type: 'submit' }, t('save'))));
	});
}
