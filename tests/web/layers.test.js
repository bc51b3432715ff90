// The imports of the web client's modules go downwards through the layers of docs/ARCHITECTURE.md,
// and never in a circle.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'acorn';

const root = fileURLToPath(new URL('../../static/js/', import.meta.url));
const page = readFileSync(new URL('../../docs/ARCHITECTURE.md', import.meta.url), 'utf8');
const TABLE = '| Layer of the client | Modules | Task |\n|---|---|---|\n';

const list = (folder) => readdirSync(join(root, folder), { withFileTypes: true })
  .flatMap((entry) => (entry.isDirectory() ? list(join(folder, entry.name)) : [join(folder, entry.name)]));
const modules = list('').filter((file) => file !== 'heartbeat.js'); // a worker, which imports nothing and is not imported

/** The files that a node of the syntax tree imports, statically or dynamically. */
function importsIn(node, found = []) {
  if (!node || typeof node !== 'object') return found;
  const isImport = ['ImportDeclaration', 'ImportExpression', 'ExportNamedDeclaration', 'ExportAllDeclaration'].includes(node.type);
  if (isImport && node.source) found.push(node.source.value);
  for (const child of Object.values(node)) importsIn(child, found);
  return found;
}

const imports = new Map(modules.map((file) => {
  const tree = parse(readFileSync(join(root, file), 'utf8'), { ecmaVersion: 2022, sourceType: 'module' });
  return [file, importsIn(tree).map((target) => normalize(join(dirname(file), target)))];
}));

const rows = page.split(TABLE)[1].split('\n\n')[0].trim().split('\n')
  .map((row) => [...row.split('|')[2].matchAll(/`([^`]+)`/g)].map(([, name]) => name));
/** A row names a folder as `room/`, and a file without its extension. */
const layer = (file) => rows.findIndex((row) => row.some((name) => (name.endsWith('/') ? file.startsWith(name) : file === `${name}.js`)));

test('every module has a layer, and every layer modules', () => {
  for (const file of modules) assert.notEqual(layer(file), -1, file);
  for (const name of rows.flat()) assert.ok(modules.some((file) => file.startsWith(name)), name);
});

test('modules import downwards only', () => {
  for (const [file, targets] of imports) {
    for (const target of targets) assert.ok(layer(file) <= layer(target), `${file} imports ${target}`);
  }
});

test('no modules import each other in a circle', () => {
  const circle = (file, way) => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    return imports.get(file).map((target) => circle(target, [...way, file])).find(Boolean);
  };
  for (const file of modules) assert.equal(circle(file, [])?.join(' → '), undefined);
});
