import { type ProfileField, profileFields } from '../dialogue/openings.js';
import { CodedError } from '../errors.js';
import type { User } from '../store/schema.js';
import { profileLength } from './lengths.js';

export type { ProfileField } from '../dialogue/openings.js';

/** What a user may change of the profile; null clears a field. */
export interface ProfilePatch {
  display_name?: string;
  nickname?: string | null;
  birth_year?: number | null;
  birth_place?: string | null;
  grew_up_place?: string | null;
  occupation?: string | null;
}

const firstYear = 1900;

/** Which fields a conversation still has to ask for. */
export function missingProfileFields(user: Pick<User, ProfileField>): ProfileField[] {
  return profileFields.filter((field) => user[field] === null);
}

/** The patch, tidied; BAD_REQUEST names the field that is wrong. */
export function checkProfile(patch: ProfilePatch): ProfilePatch {
  const checked: ProfilePatch = {};
  for (const field of ['nickname', 'birth_place', 'grew_up_place', 'occupation'] as const) {
    const value = patch[field];
    if (value === undefined) continue;
    checked[field] = value === null ? null : checkText(field, value);
  }
  if (patch.display_name !== undefined) {
    checked.display_name = checkText('display_name', patch.display_name);
  }
  if (patch.birth_year !== undefined) checked.birth_year = checkYear(patch.birth_year);
  return checked;
}

function checkText(field: keyof typeof profileLength, value: string): string {
  const text = value.normalize('NFC').trim().replace(/\s+/g, ' ');
  const max = profileLength[field];
  if (text === '' || text.length > max || /\p{Cc}/u.test(text)) {
    throw new CodedError(
      'BAD_REQUEST',
      `${field} is text of 1 to ${max} characters without control characters`,
    );
  }
  return text;
}

function checkYear(year: number | null): number | null {
  const thisYear = new Date().getUTCFullYear();
  if (year === null || (Number.isInteger(year) && year >= firstYear && year <= thisYear)) {
    return year;
  }
  throw new CodedError(
    'BAD_REQUEST',
    `birth_year is a year from ${firstYear} to ${thisYear}, not ${year}`,
  );
}

/** What a username is compared by: lower case, composed. BAD_REQUEST when it may not be one. */
export function checkUsername(username: string): string {
  const normal = normaliseUsername(username);
  if (!/^[\p{L}\p{M}\p{Nd}._@-]{3,64}$/u.test(normal)) {
    throw new CodedError(
      'BAD_REQUEST',
      'a username has 3 to 64 letters, digits, or characters of ". _ - @"',
    );
  }
  return normal;
}

export function normaliseUsername(username: string): string {
  return username.normalize('NFKC').toLowerCase().normalize('NFKC');
}
