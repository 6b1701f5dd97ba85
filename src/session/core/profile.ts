import type { User } from '../../store/schema.js';

/** What a user told of themselves, in words for the dialogue model. */
export function profileText(user: User): string | undefined {
  const facts = [
    ['nickname', user.nickname],
    ['born in the year', user.birth_year],
    ['born in', user.birth_place],
    ['grew up in', user.grew_up_place],
    ['occupation', user.occupation],
  ] as const;
  const known = facts.filter(([, value]) => value !== null && value !== '');
  if (known.length === 0) return undefined;
  return known.map(([name, value]) => `${name}: ${value}`).join('; ');
}
