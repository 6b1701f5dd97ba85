import type { operator as english } from '../en/operator.js';

export const operator: typeof english = {
  title: '运维',
};
