"""Style and script of the report's page: plain CSS and a cursor for the charts. Nothing is fetched."""

CSS = """
:root { --bg:#f6f7f9; --card:#fff; --ink:#1a1f29; --soft:#5d6675; --line:#e1e5eb; --faint:#9aa3b1;
  --good:#0b7a53; --bad:#b3362b; --warn-bg:#fff5e0; --warn:#7a5200; --accent:#2b5fd9;
  --c0:#2b5fd9; --c1:#d9702b; --c2:#0f8f73; --c3:#a13fb5; --c4:#c0392b; --c5:#7d8798; --c6:#b58900; --c7:#1495b8;
  --c8:#5c6f2a; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { --bg:#12151b; --card:#1a1f28; --ink:#e6e9ef;
  --soft:#a2abba; --line:#2c333f; --faint:#6e7888; --good:#4cc79a; --bad:#f0857b; --warn-bg:#33290f; --warn:#f0c674;
  --accent:#7aa2ff; --c0:#7aa2ff; --c1:#f0a064; --c2:#4cc7a6; --c3:#cf8be0; --c4:#f0857b; --c5:#8f9aac; --c6:#e0c060;
  --c7:#5cc8e6; --c8:#a9bf6a; } }
:root[data-theme=dark] { --bg:#12151b; --card:#1a1f28; --ink:#e6e9ef;
  --soft:#a2abba; --line:#2c333f; --faint:#6e7888; --good:#4cc79a; --bad:#f0857b; --warn-bg:#33290f; --warn:#f0c674;
  --accent:#7aa2ff; --c0:#7aa2ff; --c1:#f0a064; --c2:#4cc7a6; --c3:#cf8be0; --c4:#f0857b; --c5:#8f9aac; --c6:#e0c060;
  --c7:#5cc8e6; --c8:#a9bf6a; }
* { box-sizing: border-box; }
body { margin:0; background:var(--bg); color:var(--ink);
  font:15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width:1240px; margin:0 auto; padding:28px 24px 60px; }
header { display:flex; gap:16px; align-items:flex-start; justify-content:space-between; }
h1 { font-size:25px; line-height:1.25; margin:0 0 2px; }
h2 { font-size:18px; margin:36px 0 12px; }
h3 { font-size:14px; margin:0 0 8px; color:var(--soft); font-weight:600; }
.sub { color:var(--soft); margin:0; }
button { font:inherit; font-size:13px; color:var(--soft); background:var(--card); border:1px solid var(--line);
  border-radius:8px; padding:5px 11px; cursor:pointer; white-space:nowrap; }
.cards { display:grid; grid-template-columns:repeat(auto-fit, minmax(210px, 1fr)); gap:14px; margin:20px 0 0; }
.card, .chart, .box { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:14px 16px; }
.card i { display:block; font-style:normal; font-weight:600; font-size:13.5px; }
.card b { display:block; font-size:27px; margin:3px 0; line-height:1.2; font-weight:650;
  font-variant-numeric:tabular-nums; }
.card span { color:var(--soft); font-size:13px; }
.verdict { font-size:17px; margin:0 0 6px; font-weight:600; }
.stand { background:var(--warn-bg); color:var(--warn); border-radius:12px; padding:10px 16px; margin:16px 0 0; }
.stand ul { margin:2px 0 0; padding-left:20px; }
.two { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap:14px; }
.stack { display:flex; flex-direction:column; gap:14px; min-width:0; }
.stack > :last-child { flex:1; }
.box { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:14px; }
th, td { text-align:left; padding:5px 8px; border-bottom:1px solid var(--line); font-weight:400; vertical-align:top; }
tbody th { white-space:nowrap; }
thead th { color:var(--soft); font-size:12.5px; }
tr:last-child > * { border-bottom:0; }
tr.sum > * { font-weight:650; border-top:2px solid var(--line); }
.num { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap; }
thead th.num { white-space:normal; }
.faint { color:var(--faint); }
.good { color:var(--good); } .bad { color:var(--bad); }
td.bar { width:20%; min-width:72px; }
td.bar span { display:block; position:relative; height:14px; margin-top:4px;
  background:linear-gradient(var(--line), var(--line)) center / 1px 100% no-repeat; }
td.bar i { position:absolute; top:2px; bottom:2px; border-radius:2px; }
i.pos { background:var(--c2); } i.neg { background:var(--c4); }
.note { color:var(--soft); font-size:13px; margin:8px 0 0; }
.chart { margin:0; position:relative; }
figcaption { display:flex; flex-wrap:wrap; gap:2px 10px; align-items:baseline; font-size:14px; margin-bottom:4px; }
.unit { color:var(--soft); font-size:12.5px; }
.legend { display:flex; flex-wrap:wrap; gap:2px 12px; font-size:12.5px; color:var(--soft); margin-left:auto; }
.key::before { content:""; display:inline-block; width:14px; height:0; margin-right:5px;
  border-top:2.5px solid var(--c); vertical-align:middle; }
.key.dash::before { border-top-style:dashed; }
.key.wide::before { height:9px; border:0; background:var(--c); opacity:.22; }
svg { display:block; width:100%; height:auto; }
svg text { fill:var(--soft); font-size:11.5px; font-variant-numeric:tabular-nums; }
svg text.big { fill:var(--ink); font-size:15px; font-weight:600; }
.grid { stroke:var(--line); stroke-width:1; } .zero { stroke:var(--faint); stroke-width:1.2; }
.tick, .axis { stroke:var(--faint); } .strip { min-width:640px; }
.line { fill:none; stroke:var(--c); stroke-width:1.6; stroke-linejoin:round; } .line.dash { stroke-dasharray:5 4; }
.area { fill:var(--c); opacity:.16; } .edge { fill:none; stroke:var(--c); stroke-width:1.2; opacity:.6; }
.span { stroke:var(--accent); stroke-width:7; opacity:.28; stroke-linecap:round; }
.dot { fill:var(--accent); } .dot.hollow { fill:var(--card); stroke:var(--accent); stroke-width:2; }
.asrun { fill:var(--ink); }
.cursor { stroke:var(--faint); stroke-dasharray:3 3; visibility:hidden; }
.tip { position:absolute; top:34px; pointer-events:none; background:var(--card); border:1px solid var(--line);
  border-radius:8px; padding:6px 9px; font-size:12px; line-height:1.45; z-index:2;
  box-shadow:0 4px 14px rgb(0 0 0 / .14); font-variant-numeric:tabular-nums; white-space:nowrap; }
.tip div { display:flex; gap:14px; justify-content:space-between; }
.c0 { --c:var(--c0); } .c1 { --c:var(--c1); } .c2 { --c:var(--c2); } .c3 { --c:var(--c3); } .c4 { --c:var(--c4); }
.c5 { --c:var(--c5); } .c6 { --c:var(--c6); } .c7 { --c:var(--c7); } .c8 { --c:var(--c8); }
details { margin-top:10px; } summary { cursor:pointer; color:var(--soft); font-size:13.5px; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:3px 18px; margin:0; font-size:14px; }
dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
@media (max-width: 1239px) { tbody th { white-space:normal; min-width:108px; } th, td { padding:5px; }
  td.bar { min-width:40px; } }
@media print { body { background:#fff; } button { display:none; } .chart, .box, .card { break-inside:avoid; } }
"""

SCRIPT = """
document.querySelector('button').onclick = () => {
  const root = document.documentElement, dark = root.dataset.theme
    ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
};
const text = value => value === null ? '\\u2013' : value.toLocaleString('en', {maximumSignificantDigits: 6});
for (const figure of document.querySelectorAll('.chart')) {
  const data = JSON.parse(figure.querySelector('script').textContent), svg = figure.querySelector('svg');
  const tip = figure.querySelector('.tip'), cursor = figure.querySelector('.cursor'), [left, right] = data.box;
  const first = data.t[0], last = data.t[data.t.length - 1];
  svg.onpointermove = event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const at = first + (x - left) / (right - left) * (last - first);
    const end = data.t.length - 1;
    const place = Math.max(0, Math.min(end, Math.round((at - first) / (last - first) * end)));
    const where = left + (data.t[place] - first) / (last - first) * (right - left);
    cursor.setAttribute('x1', where); cursor.setAttribute('x2', where); cursor.style.visibility = 'visible';
    tip.replaceChildren(...[[new Date(data.t[place] * 1000).toISOString().slice(0, 16).replace('T', ' ') + ' UTC', ''],
      ...data.s.map(line => [line.n, text(line.v[place]), line.c])].map(([name, value, colour]) => {
        const row = document.createElement('div'), label = document.createElement('span');
        const number = document.createElement('b');
        label.textContent = name; number.textContent = value;
        if (colour !== undefined) label.style.color = `var(--c${colour})`;
        row.append(label, number); return row;
    }));
    tip.hidden = false;
    const offset = where / svg.viewBox.baseVal.width * box.width;
    tip.style.left = offset > box.width / 2 ? `${offset - tip.offsetWidth - 2}px` : `${offset + 30}px`;
  };
  svg.onpointerleave = () => { tip.hidden = true; cursor.style.visibility = 'hidden'; };
}
"""
