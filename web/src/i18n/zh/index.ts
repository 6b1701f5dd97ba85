import type { en } from '../en/index.js';
import { account } from './account.js';
import { chat } from './chat.js';
import { common } from './common.js';
import { errors } from './errors.js';
import { operator } from './operator.js';
import { studio } from './studio.js';

export const zh: typeof en = { account, common, errors, chat, studio, operator };
