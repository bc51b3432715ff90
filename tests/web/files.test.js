import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../static/', import.meta.url);
const read = (file) => readFileSync(new URL(file, root), 'utf8');
const list = (folder) => readdirSync(new URL(folder, root), { withFileTypes: true })
  .flatMap((entry) => (entry.isDirectory() ? list(`${folder}${entry.name}/`) : [`${folder}${entry.name}`]));
const files = list('./').map((file) => file.slice('./'.length));
const resolve = (from, target) => new URL(target, new URL(from, 'file:///')).pathname.slice(1);
const scripts = files.filter((file) => file.endsWith('.js'));

test('the service worker keeps every file that the client loads', () => {
  const kept = [...read('sw.js').matchAll(/^ {2}'(\/static\/[^']+)',$/gm)].map(([, file]) => file);
  const wanted = files.filter((file) => /^(app\.css|icon\.svg|js\/.*)$/.test(file)).map((file) => `/static/${file}`);
  assert.deepEqual(kept.sort(), wanted.sort());
});

test('the page names every module beforehand, so that none waits for another', () => {
  const page = read('index.html');
  const [head, later] = page.split('<template');
  const modules = (text) => [...text.matchAll(/(?:src|rel="modulepreload" href)="\/static\/(js\/[^"]+)"/g)].map(([, file]) => file);
  const imported = (from, found = new Set()) => {
    if (found.has(from)) return found;
    found.add(from);
    for (const [, target] of read(from).matchAll(/^import [^;]*'(\.[^']+)';/gm)) imported(resolve(from, target), found);
    return found;
  };
  const first = imported('js/main.js');
  assert.deepEqual(modules(head).sort(), [...first].sort());
  const room = [...imported('js/room/view.js')].filter((file) => !first.has(file));
  assert.deepEqual(modules(later).sort(), room.sort());
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

test('nothing comes from another host', () => {
  for (const file of [...scripts, 'app.css', 'index.html', 'manifest.webmanifest']) {
    const hosts = [...read(file).matchAll(/https?:\/\/([\w.-]+)/g)].map(([, host]) => host).filter((host) => host !== 'www.w3.org');
    assert.deepEqual(hosts, [], file);
  }
});
