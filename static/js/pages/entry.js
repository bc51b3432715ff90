// @ts-check
// `/r/ID` before joining: who is in the room, and the form for a name.

import { h, icon } from '../dom.js';
import { errorText, t } from '../i18n.js';
import { rememberedName } from '../identity.js';
import { cleanName, freeName, hueOf, initialOf, isolated } from '../names.js';
import { brand, nameForm } from '../parts.js';

const SHOWN = 8; // names before 'and n more'

/**
 * @param {object} options
 * @param {{members: string[], memberCount: number, locked: boolean}} options.room
 * @param {string} [options.name] the initial value
 * @param {boolean} options.encrypted
 * @param {(name: string) => Promise<import('../session.js').Refusal | null>} options.enter resolves to null when the join succeeded
 * @param {() => void} options.again checks whether a locked room is open now
 */
export function entryPage({ room, name, encrypted, enter, again }) {
  const title = h('h1', { testid: 'entry-title', dir: 'auto', tabindex: room.locked && '-1' });
  call(t('enterTitle'));
  /** Names that were refused: the list of members may not contain all of them. */
  const taken = new Set(room.members);
  const button = h('button', { class: 'button primary', testid: 'enter' }, t('enter'));
  const { form, input, complain } = nameForm({
    testid: 'nickname', name: name ?? rememberedName(), button, busyText: t('entering'), submit,
  });

  /** @param {string} words the room's topic */
  function call(words) {
    title.textContent = words;
    document.title = `${isolated(words)} · linkroom`;
  }

  /** @param {string} wanted */
  async function submit(wanted) {
    const refusal = await enter(cleanName(wanted));
    if (refusal) refuse(refusal);
  }

  /** @param {import('../session.js').Refusal} refusal */
  function refuse({ code, message }) {
    // The socket's errors begin with the name of the field.
    if (code === 'VALIDATION_FAILED' && message) return complain(message.replace(/^token: /, ''));
    if (code !== 'NAME_TAKEN') return complain(errorText(code));
    taken.add(cleanName(input.value));
    complain(errorText(code), suggestion(freeName(input.value, taken)));
  }

  /** @param {string} free */
  function suggestion(free) {
    const accept = () => {
      input.value = free;
      button.click();
    };
    return h('button', { type: 'button', class: 'button', testid: 'suggest-name', data: { name: free }, onclick: accept },
      t('useName', { name: free }));
  }

  const element = h('main', { class: 'page', testid: 'entry' },
    brand(),
    h('div', { class: 'card' },
      title,
      encrypted && h('p', { class: 'badge', testid: 'e2e-badge' }, icon('shield'), t('encrypted')),
      inside(room),
      ...(room.locked ? locked(again) : [form])));
  return { element, input, call, refuse };
}

/** The room is locked for new guests. @param {() => void} again */
function locked(again) {
  return [
    h('p', { class: 'locked', testid: 'locked' }, icon('lock'), t('ROOM_LOCKED')),
    h('button', { class: 'button primary', testid: 'again', onclick: again }, t('again')),
    h('a', { class: 'button', testid: 'new-room', href: '/' }, t('newRoom')),
  ];
}

/** @param {{members: string[], memberCount: number}} room */
function inside({ members, memberCount }) {
  if (memberCount === 0) return h('p', { class: 'inside-text' }, t('insideNobody'));
  const more = memberCount - Math.min(members.length, SHOWN);
  return h('section', { class: 'inside' },
    h('p', { class: 'inside-text', id: 'inside' }, t('insideNow', { n: memberCount })),
    h('ul', { class: 'inside-list', testid: 'entry-members', 'aria-labelledby': 'inside' },
      ...members.slice(0, SHOWN).map((name) =>
        h('li', { testid: 'entry-member' },
          h('span', { class: `avatar small hue-${hueOf(name)}`, 'aria-hidden': 'true' }, initialOf(name)),
          h('bdi', {}, name))),
      more > 0 && h('li', { class: 'inside-more' }, t('andMore', { n: more }))));
}
