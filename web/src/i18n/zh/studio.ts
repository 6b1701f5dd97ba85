import type { studio as english } from '../en/studio.js';

export const studio: typeof english = {
  title: '工作室',
};
