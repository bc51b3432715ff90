// @ts-check
// All moderation of a room: the creator's part of the room menu, the menu of a person, the deletion
// of a message.

import { askToDelete } from './deletion.js';
import { openMemberMenu } from './member_menu.js';
import { roomItems } from './room_items.js';

export { askToDelete, openMemberMenu, roomItems };
