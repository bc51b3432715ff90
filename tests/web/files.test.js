import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'acorn';

const root = new URL('../../static/', import.meta.url);
const read = (file) => readFileSync(new URL(file, root), 'utf8');
const list = (folder) => readdirSync(new URL(folder, root), { withFileTypes: true })
  .flatMap((entry) => (entry.isDirectory() ? list(`${folder}${entry.name}/`) : [`${folder}${entry.name}`]));
const files = list('./').map((file) => file.slice('./'.length));
const resolve = (from, target) => new URL(target, new URL(from, 'file:///')).pathname.slice(1);
const scripts = files.filter((file) => file.endsWith('.js'));
const sheets = files.filter((file) => file.endsWith('.css'));

test('the service worker keeps every file that the client loads, and first only what a first page needs', () => {
  const [first, room] = ['FIRST', 'ROOM'].map((name) => {
    const [, list] = new RegExp(`const ${name} = \\[([^\\]]*)\\]`).exec(read('sw.js'));
    return [...list.matchAll(/'\/static\/([^']+)'/g)].map(([, file]) => file);
  });
  const wanted = files.filter((file) => /^(\w+\.css|icon\.svg|js\/.*)$/.test(file));
  assert.deepEqual([...first, ...room].sort(), wanted.sort());
  const beforeRoom = read('index.html').split('<template id="room-modules">')[0];
  const named = [...beforeRoom.matchAll(/modulepreload" href="\/static\/([^"]+)"/g)].map(([, file]) => file);
  assert.deepEqual(first.filter((file) => file.startsWith('js/')).sort(), named.sort());
});

test('the page names every module beforehand, so that none waits for another', () => {
  const [head, ...templates] = read('index.html').split('<template id="');
  const named = (text) => [...text.matchAll(/rel="(?:module)?preload"[^>]* href="\/static\/(js\/[^"]+)"/g)].map(([, file]) => file).sort();
  const parts = Object.fromEntries(templates.map((text) => [text.slice(0, text.indexOf('-modules"')), named(text)]));
  const imported = (from, found = new Set()) => {
    if (found.has(from)) return found;
    found.add(from);
    for (const [, target] of read(from).matchAll(/^import [^;]*'(\.[^']+)';/gm)) imported(resolve(from, target), found);
    return found;
  };
  const first = named(head);
  const room = [...first, ...parts.entry, ...parts.room];
  assert.deepEqual([...imported('js/pages/landing.js', imported('js/main.js'))].sort(), [...first, ...parts.landing].sort());
  assert.deepEqual([...imported('js/pages/room.js', imported('js/main.js'))].sort(), [...first, ...parts.entry].sort());
  const inRoom = () => imported('js/room/view.js', imported('js/pages/room.js', imported('js/main.js')));
  assert.deepEqual([...inRoom()].sort(), room.sort());
  assert.deepEqual([...imported('js/room/extras.js', inRoom())].sort(), [...room, ...parts.extras].sort());
});

test('the page names all of what comes later, so that nothing is imported before it is there', () => {
  const known = (text) => new Set([...text.matchAll(/href="\/static\/(js\/[^"]+)"/g)].map(([, file]) => file));
  const [head, ...templates] = read('index.html').split('<template id="');
  const parts = new Map(templates.map((text) => [text.slice(0, text.indexOf('-modules"')), known(text)]));
  const inside = (names) => names.flatMap((name) => [...(parts.get(name) ?? [])]);
  const before = { landing: ['landing', 'room'], entry: ['entry', 'room'], room: ['entry', 'room', 'extras'] };
  const walk = (file, found = new Set()) => {
    if (found.has(file)) return found;
    found.add(file);
    for (const [, target] of read(file).matchAll(/^import [^;]*'(\.[^']+)';/gm)) walk(resolve(file, target), found);
    return found;
  };
  for (const script of scripts.filter((file) => file !== 'js/main.js')) {
    for (const [whole, by, part, target] of read(script).matchAll(/(?:(load|loadLater)\('(\w+)', \(\) => (?:Promise\.all\(\[)?)?import\('(\.[^']+)'\)(?!\.)/g)) {
      if (/^\s*(\*|\/\*\*|\/\/)/.test(read(script).slice(0, read(script).indexOf(whole)).split('\n').at(-1))) continue;
      assert.ok(by, `${script}: ${whole} is forgotten by no browser where it fails`);
      const page = script.startsWith('js/room/') ? 'room' : script === 'js/pages/landing.js' ? 'landing' : 'entry';
      const there = new Set([...known(head), ...inside(before[page]), ...inside([part])]);
      const file = resolve(script, target);
      assert.deepEqual([...walk(file)].filter((one) => !there.has(one)), [], `${script}: ${file}`);
    }
  }
});

test('what builds elements and what fetches modules import nothing, so that anything may use them', () => {
  for (const file of ['js/dom.js', 'js/loader.js']) assert.doesNotMatch(read(file), /^import|\bimport\(/m, file);
});

test('every import and every linked file is there', () => {
  for (const script of scripts) {
    for (const [, target] of read(script).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      assert.ok(files.includes(resolve(script, target)), `${script} imports ${target}`);
    }
  }
  const linked = [read('index.html'), read('manifest.webmanifest')].flatMap((text) => [...text.matchAll(/"\/static\/([^"]+)"/g)]);
  for (const [, file] of linked) assert.ok(files.includes(file), file);
});

test('nothing needs more than the strict content security policy allows', () => {
  const page = read('index.html');
  assert.doesNotMatch(page, /<style|style=|\son\w+=|<script(?![^>]*\ssrc=)/);
  for (const script of scripts) {
    assert.doesNotMatch(read(script), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, script);
  }
});

test('the oldest browsers that are meant to work can read everything', () => {
  for (const script of scripts) {
    const isModule = !['sw.js', 'js/heartbeat.js'].includes(script);
    parse(read(script), { ecmaVersion: 2022, sourceType: isModule ? 'module' : 'script' });
    assert.doesNotMatch(read(script), /\bstatic \{|\(\?<[=!]/, `${script}: Safari 15 has no static blocks and no lookbehind`);
  }
  for (const sheet of sheets) {
    const styles = read(sheet);
    for (const [, name] of styles.matchAll(/([\w-]+): [^;]*\ddvh/g)) assert.match(styles, new RegExp(`${name}: [^;]*(vh|rem)[^;]*;\\s*${name}: [^;]*dvh`), sheet);
    assert.doesNotMatch(styles, /overflow: *\w+ \w+/, `${sheet}: Safari 15 knows one word`);
  }
});

test('a line that looks like a comment is one, for what the server leaves out looks at lines only', () => {
  for (const script of scripts) {
    const text = read(script);
    const comments = [];
    parse(text, { ecmaVersion: 2022, sourceType: 'module', onComment: (_block, _text, start, end) => comments.push([start, end]) });
    for (const { index, 0: line } of text.matchAll(/^[ \t]*(\/\/.*|\/\*(?:.*\*\/[ \t]*|(?:(?!\*\/).)*))$/gm)) {
      const [from, to] = [index + line.search(/\S/), index + line.trimEnd().length];
      assert.ok(comments.some(([start, end]) => start <= from && to <= end), `${script}: ${line}`);
    }
    for (const [start, end] of comments.filter(([start]) => /^\s*$/.test(text.slice(text.lastIndexOf('\n', start - 1) + 1, start)))) {
      const isMany = text.slice(start, end).includes('\n');
      if (isMany) assert.match(text.slice(end), /^[ \t]*(\n|$)/, `${script}: code behind ${text.slice(start, end)}`);
    }
  }
});

test('no text has several lines, for what the server leaves out at the beginning of lines would be part of it', () => {
  const texts = (node) => (!node || typeof node !== 'object' ? []
    : node.type === 'TemplateElement' ? [node.value.raw] : Object.values(node).flatMap(texts));
  for (const script of scripts) {
    for (const text of texts(parse(read(script), { ecmaVersion: 2022, sourceType: 'module' }))) assert.doesNotMatch(text, /\n/, script);
  }
  for (const sheet of sheets) assert.doesNotMatch(read(sheet), /\\\n/, sheet);
});

test('nothing comes from another host', () => {
  for (const file of [...scripts, ...sheets, 'index.html', 'manifest.webmanifest']) {
    const hosts = [...read(file).matchAll(/https?:\/\/([\w.-]+)/g)].map(([, host]) => host).filter((host) => host !== 'www.w3.org');
    assert.deepEqual(hosts, [], file);
  }
});
