import { account } from './account.js';
import { chat } from './chat.js';
import { common } from './common.js';
import { errors } from './errors.js';
import { operator } from './operator.js';
import { studio } from './studio.js';

export const en = { account, common, errors, chat, studio, operator };
