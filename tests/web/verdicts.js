// What static/js/visible.js and names.js decide about every code point of Unicode, for tests/ops/names.rs, which
// asks src/visible.rs the same. Reads the cases from its argument: names in which `*` is the code
// point, and characters of which all names of three are built. Prints one line for each case, and
// one for the characters, with one digit for each name; `-` if this Unicode does not know the code
// point yet.

import { isPlain, showsSomething } from '../../static/js/names.js';
import { hidesNothing } from '../../static/js/visible.js';

const { cases, letters } = JSON.parse(process.argv[2]);

const isScalar = (code) => code < 0xd800 || code > 0xdfff;
const all = Array.from({ length: 0x110000 }, (_, code) => code).filter(isScalar).map((code) => String.fromCodePoint(code));
const known = all.map((c) => !/[\p{Cn}\p{Co}]/u.test(c) || /\p{Default_Ignorable_Code_Point}/u.test(c));

const digit = (name) => Number(isPlain(name) || hidesNothing(name)) + 2 * Number(showsSomething(name));
for (const one of cases) {
  console.log(all.map((c, at) => (known[at] ? digit(one.replaceAll('*', c)) : '-')).join(''));
}
console.log(letters.flatMap((a) => letters.flatMap((b) => letters.map((c) => digit(a + b + c)))).join(''));
