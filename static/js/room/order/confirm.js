// @ts-check
// Asks, before something is done that cannot be taken back.

import { h } from '../../dom.js';
import { openDialog } from '../dialog.js';
import { t } from './words.js';

/**
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text what it means
 * @param {string} question.action what stands on the button that does it
 * @returns {Promise<boolean>} whether it is wanted
 */
export async function confirmed({ title, text, action }) {
  const answer = await openDialog({
    testid: 'confirm',
    title,
    role: 'alertdialog',
    content: (close) => [
      h('p', {}, text),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'button', class: 'button', testid: 'confirm-no', autofocus: true, onclick: () => close() }, t('cancel')),
        h('button', { type: 'button', class: 'button danger', testid: 'confirm-yes', onclick: () => close('yes') }, action)),
    ],
  });
  return answer === 'yes';
}
