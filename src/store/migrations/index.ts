import type { Migration } from 'kysely';
import * as first from './0001-first.js';
import * as reservations from './0002-reservations.js';
import * as consent from './0003-consent.js';

/** Every change of the tables since the first version, run in the order of their names. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-first': first,
  '0002-reservations': reservations,
  '0003-consent': consent,
};
