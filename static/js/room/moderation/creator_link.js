// @ts-check
// The link that gives another device of the creator the creator's powers, with a warning. Its token
// is in the fragment, which browsers do not send to servers.

import { h } from '../../dom.js';
import { loadIdentity } from '../../identity.js';
import { addressOf, linkAt } from '../../names.js';
import { openDialog } from '../dialog.js';
import { copyButton } from '../invite.js';
import { t } from './words.js';

/** @param {string} roomId @param {(text: string) => void} say */
export function openCreatorLink(roomId, say) {
  const token = loadIdentity(roomId)?.creator;
  const key = linkAt(location)?.key ?? null;
  const address = location.origin + addressOf({ roomId, key, token });
  const link = h('input', { class: 'field', testid: 'creator-link', readonly: true, value: address, 'aria-label': t('creatorLinkTitle'), onfocus: () => link.select() });
  openDialog({
    testid: 'creator-link-dialog',
    title: t('creatorLinkTitle'),
    content: () => [
      h('p', {}, t('creatorLinkText')),
      h('p', { class: 'warning', testid: 'creator-link-warning' }, t('creatorLinkWarning')),
      link,
      h('div', { class: 'dialog-actions' }, copyButton('creator-link-copy', 'button primary copy', say, () => address, t('creatorLinkCopy'))),
    ],
  });
}
