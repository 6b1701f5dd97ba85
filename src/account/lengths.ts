/** Least and most characters of what an account holds. */
export const passwordLength = { min: 8, max: 256 } as const;

export const profileLength = {
  display_name: 64,
  nickname: 64,
  birth_place: 128,
  grew_up_place: 128,
  occupation: 128,
} as const;
