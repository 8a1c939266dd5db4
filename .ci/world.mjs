// Makes web/vendor/world/world.json, the shapes of the dashboard's map, out of
// npm's world-atlas. Run it by hand where these are installed:
//   npm i world-atlas@2.0.2 topojson-client@3.1.0 d3-geo@3.1.1 i18n-iso-countries@7.14.0
//   node world.mjs > world.json
// Countries are of the coarse atlas; those too small for it are points.
import { createRequire } from 'node:module';
import { feature } from 'topojson-client';
import { geoNaturalEarth1, geoPath } from 'd3-geo';

const require = createRequire(process.cwd() + '/');
const iso = require('i18n-iso-countries');
const width = 960, height = 470;
const coarse = require('world-atlas/countries-110m.json');
const fine = require('world-atlas/countries-50m.json');
const shapes = (topology) => feature(topology, topology.objects.countries).features.filter((f) => f.properties.name !== 'Antarctica');
const projection = geoNaturalEarth1().fitExtent([[4, 4], [width - 4, height - 4]], { type: 'FeatureCollection', features: shapes(coarse) });
const code = (f) => f.properties.name === 'Kosovo' ? 'XK' : f.id ? iso.numericToAlpha2(f.id) : undefined;

// relative writes a path with whole steps, which are short.
function relative(path) {
	const out = [];
	for (const ring of path.split('Z')) {
		if (!ring) continue;
		const points = ring.slice(1).split('L').map((p) => p.split(',').map((n) => Math.round(n * 2)));
		let [x, y] = points[0];
		let steps = '';
		for (const [px, py] of points.slice(1)) {
			if (px === x && py === y) continue;
			steps += `${px - x},${py - y} `;
			[x, y] = [px, py];
		}
		if (steps) out.push(`M${points[0]}l${steps.trim().replaceAll(',-', '-').replaceAll(' -', '-')}z`);
	}
	return out.join('');
}

const paths = {}, points = {};
const draw = geoPath(projection);
for (const f of shapes(coarse)) {
	const id = code(f) ?? f.properties.name;
	const d = relative(draw(f));
	if (d) paths[id] = (paths[id] ?? '') + d;
}
for (const f of shapes(fine)) {
	const id = code(f);
	if (id && !paths[id]) points[id] = draw.centroid(f).map((n) => Math.round(n * 2));
}
console.log(JSON.stringify({ source: 'world-atlas 2.0.2', width: width * 2, height: height * 2, paths, points }));
