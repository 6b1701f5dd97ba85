import type { chat as english } from '../en/chat.js';

export const chat: typeof english = {
  title: '对话',
};
