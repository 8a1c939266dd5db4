// The filters of the page as chips, and the ways to more of them: the editor and
// the saved segments.

import { h, put, field } from './dom.js';
import { get, post } from './api.js';
import { t } from './i18n.js';
import { go, link, read } from './state.js';
import { menu, dialog, notice } from './menu.js';
import { nameOf, plural } from './names.js';
import { editor } from './filtereditor.js';
import * as filters from './filters.js';

const dimName = (dim) => dim.startsWith('prop:') ? dim.slice(5) : t('dim1.' + dim);

// words writes a filter for people.
export function words(tree) {
	if (tree.raw) return JSON.stringify(tree.raw);
	if (tree.all) return tree.all.map(words).join(' ' + t('and') + ' ');
	if (tree.any) return tree.any.map((x) => x.all ? `(${words(x)})` : words(x)).join(' ' + t('or') + ' ');
	if (tree.not) return `${t('not')} (${words(tree.not)})`;
	const values = tree.values.map((v) => nameOf(plural(tree.dim), v)).join(` ${t('or')} `);
	return `${dimName(tree.dim)} ${t('op.' + tree.op)} ${values}`;
}

async function saveSegment(ctx, list, changed) {
	const name = h('input', { required: true, maxlength: 200, autofocus: true });
	const say = h('p', { class: 'bad', role: 'alert' });
	dialog(t('segment.save'), (close) => h('form', {
		class: 'stack',
		onsubmit: async (e) => {
			e.preventDefault();
			try {
				const made = await post('/api/segments', { name: name.value, filters: list.map(filters.toV2) }, { site_id: ctx.site.domain });
				await changed();
				close();
				notice(t('segment.saved', { name: made.name }));
				go({ filters: '', segment: String(made.id) });
			} catch (err) {
				put(say, err.message);
			}
		},
	}, field(t('segment.name'), name), h('p', { class: 'soft' }, list.map(words).join(` ${t('and')} `)), say, h('p', { class: 'actions' }, h('button', { type: 'submit' }, t('save')))));
}

export function filterbar(ctx) {
	const el = h('div', { class: 'filters', role: 'group', 'aria-label': t('filters') });
	let segments = [];
	const load = async () => {
		if (ctx.share) return; // they are the operator's
		try {
			segments = (await get('/api/segments', { site_id: ctx.site.domain })).segments;
		} catch { segments = []; }
	};
	const chip = (text, href, edit) => h('span', { class: 'chip' }, edit ? h('button', { type: 'button', onclick: edit }, text) : h('span', null, text),
		h('a', { href, 'aria-label': t('filter.remove', { filter: text }), title: t('remove') }, '×'));
	const update = (state) => {
		const list = filters.parse(state.filters), segment = segments.find((x) => String(x.id) === state.segment);
		put(el,
			state.segment && chip('◆ ' + (segment?.name ?? t('segment') + ' ' + state.segment), link({ segment: '' }), segment && (() => editor(ctx, segment.filters.map(filters.fromV2), (made) => go({ segment: '', filters: filters.print(made) })))),
			list.map((tree) => chip(words(tree), link({ filters: filters.print(filters.without(list, tree)) }), () => editor(ctx, list, (made) => go({ filters: filters.print(made) })))),
			h('button', { type: 'button', class: 'quiet', id: 'addfilter', onclick: () => editor(ctx, list, (made) => go({ filters: filters.print(made) })) }, '+ ' + t('filter')),
			segments.length > 0 && menu(t('segments'), segments.map((x) => ({ text: x.name, href: link({ segment: String(x.id) }), on: String(x.id) === state.segment }))),
			list.length > 0 && ctx.admin && h('button', { type: 'button', class: 'quiet', onclick: () => saveSegment(ctx, list, load) }, t('segment.save')),
			(list.length > 1 || list.length && state.segment) ? h('a', { class: 'quietlink', href: link({ filters: '', segment: '' }) }, t('filter.clear')) : null);
	};
	load().then(() => update(read()));
	return { el, update };
}
