// @ts-check
// Asks for confirmation before an action that cannot be undone.

import { h } from '../../dom.js';
import { openDialog } from '../dialog.js';
import { t } from './words.js';

/**
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text what the action does
 * @param {string} question.action the label of its button
 * @returns {Promise<boolean>} whether the person confirmed
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
