import type { Migration } from 'kysely';
import * as first from './0001-first.js';

/** Every change of the tables since the first version, run in the order of their names. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-first': first,
};
