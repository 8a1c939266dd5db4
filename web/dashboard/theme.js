// Before the first paint: the theme that the reader chose, if he chose one. It
// is no module, because modules run after the page was shown.
(() => {
	// A shared link may say which: where it is in a frame, that of the page around.
	let theme = location.pathname.startsWith('/share/') ? new URLSearchParams(location.search).get('theme') || '' : '';
	try { theme = theme || localStorage.getItem('eider.theme') || ''; } catch { /* storage is off */ }
	if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
