/** What settings of several groups may be. */

export const name = { pattern: '^[\\x21-\\x7e]{1,128}$' };
export const hostName = { pattern: '^[0-9A-Za-z.:_-]{1,255}$' };
export const httpUrl = { pattern: '^https?://[^\\s?#@]+$', maxLength: 2048 };
export const socketUrl = { pattern: '^wss?://[^\\s?#@]+$', maxLength: 2048 };
export const path = { minLength: 1 };
export const command = { minLength: 1, maxLength: 4096 };

/** `usual` is the default, where there is one. */
export const range = (minimum: number, maximum: number, usual?: number) => ({
  ...{ minimum, maximum },
  ...(usual === undefined ? {} : { default: usual }),
});
export const megabytes = (usual: number) => range(1, 65536, usual);
/** Above nothing, up to a year. */
export const hours = (usual: number) => ({
  ...{ exclusiveMinimum: 0, maximum: 24 * 366 },
  default: usual,
});

/** A value that never appears in a message, in the log or in a file that we write. */
const secret = { writeOnly: true };
export const token = { ...secret, pattern: '^[\\x21-\\x7e]{16,512}$' };
export const apiKey = { ...secret, pattern: '^[\\x21-\\x7e]{1,512}$' };
export const password = { ...secret, minLength: 1, maxLength: 4096 };
export const longSecret = { ...secret, minLength: 32, maxLength: 1024 };
/** `name=value,name=value`, with values that decodeURIComponent takes. */
export const otlpHeaders = {
  ...secret,
  pattern:
    '^[A-Za-z0-9_-]+=([\\x21-\\x24\\x26-\\x2b\\x2d-\\x7e]|%[0-7][0-9A-Fa-f])+(,[A-Za-z0-9_-]+=([\\x21-\\x24\\x26-\\x2b\\x2d-\\x7e]|%[0-7][0-9A-Fa-f])+)*$',
  maxLength: 4096,
};
/** It may hold a password. */
export const databaseUrl = { ...secret, pattern: '^(postgres(ql)?://|sqlite:).+$' };

/** Where a key is always needed. */
export const openAiUrl = 'https://api.openai.com/v1';
