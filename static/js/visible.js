// @ts-check
// Whether every character of a name is visible, as src/visible.rs decides it. Few names need it, so it is loaded when
// one does.

import { showsSomething } from './names.js';

const HIDDEN = /[\p{Default_Ignorable_Code_Point}\u2800\uFFF9-\uFFFB\u{13430}-\u{1343F}]/u; // invisible, or changes its neighbours
const APART = /[\p{Z}\p{Cc}\p{Cs}\u200C\u200D]/u; // joiners have no effect next to these
/** A flag, such as England's: tag characters after the black flag identify it. */
const FLAG = /\u{1F3F4}[\u{E0030}-\u{E0039}\u{E0061}-\u{E007A}]{3,6}\u{E007F}/gu;

/** Scripts whose letters join, and those where a virama makes conjuncts. */
const JOINING = scripts(
  'Adlam Arabic Balinese Bengali Bhaiksuki Brahmi Chakma Devanagari Dogra Grantha Gujarati Gunjala_Gondi Gurmukhi ' +
  'Hanifi_Rohingya Javanese Kaithi Kannada Kharoshthi Khmer Khojki Malayalam Mandaic Manichaean Masaram_Gondi Meetei_Mayek ' +
  'Modi Mongolian Myanmar Nandinagari Newa Nko Oriya Phags_Pa Psalter_Pahlavi Saurashtra Sharada Siddham Sinhala Sogdian ' +
  'Soyombo Sundanese Syloti_Nagri Syriac Tai_Tham Takri Tamil Telugu Tirhuta Zanabazar_Square',
);

/** Where a hidden character is part of an emoji or of a script's spelling, given its neighbours. */
const SPELLED = [
  /^\p{Extended_Pictographic}[\uFE0E\uFE0F]/u,
  /^[0-9#*][\uFE0E\uFE0F]\u20E3/u,
  /^(?=\p{L})[\p{Script=Han}\p{Script=Myanmar}\p{Script=Phags_Pa}\p{Script=Manichaean}\p{Script=Egyptian_Hieroglyphs}][\uFE00-\uFE0F\u{E0100}-\u{E01EF}]/u,
  /^(?=\p{L})\p{Script=Mongolian}([\u180B-\u180D\u180F]|\u180E(?=\p{L})\p{Script=Mongolian})/u,
  /^(?!\p{Default_Ignorable_Code_Point})\p{M}\u034F(?!\p{Default_Ignorable_Code_Point})\p{M}/u,
  /^.\u115F[\u1161-\u11A7\uD7B0-\uD7C6]/u,
  /^[\u1100-\u115E\uA960-\uA97C]\u1160[\u11A8-\u11FF\uD7CB-\uD7FB]/u,
  /^[\u2801-\u28FF]\u2800[\u2801-\u28FF]/u,
  /^\p{Script=Egyptian_Hieroglyphs}[\u{13430}-\u{1343F}]/u,
];

/** Whether every character of a name is visible. @param {string} name */
export function hidesNothing(name) {
  const letters = [...name.replace(FLAG, 'x')];
  let base = ' ';
  return letters.every((letter, at) => {
    const [before, after] = [letters[at - 1] ?? ' ', letters[at + 1] ?? ' '];
    if (/[\u200C\u200D]/.test(letter)) return !APART.test(before) && (spellsWithJoiners(base) || !APART.test(after));
    if (HIDDEN.test(letter)) return SPELLED.some((spelling) => spelling.test(before + letter + after));
    if (showsSomething(letter) || /\p{Zs}/u.test(letter)) base = letter;
    else return /\p{M}/u.test(letter) && base.trim() !== '';
    return true;
  });
}

/** Any character of these scripts. @param {string} names */
function scripts(names) {
  return new RegExp(names.split(' ').map((name) => `\\p{Script=${name}}`).join('|'), 'u');
}

/** @param {string} letter */
const spellsWithJoiners = (letter) => /\p{L}/u.test(letter) && JOINING.test(letter);
