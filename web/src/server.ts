import { computed, signal } from '@preact/signals';
import { type Account, EchoMimicClient, type Info, type Tokens } from '../../src/client/index.js';
import { stored } from './stored.js';

function isTokens(value: unknown): value is Tokens | undefined {
  const tokens = value as Partial<Tokens> | null;
  return (
    typeof tokens?.accessToken === 'string' &&
    typeof tokens.refreshToken === 'string' &&
    typeof tokens.expiresAt === 'number'
  );
}

/** The login of this browser; its tabs share it. */
const tokens = stored<Tokens | undefined>('login', undefined, isTokens);

/** The server that these pages came from. */
export const server = new EchoMimicClient({
  tokens: { get: () => tokens.peek(), set: (next) => (tokens.value = next) },
});

/** Whose login it is; undefined without one. */
export const account = signal<Account | undefined>();
/** What the server offers; undefined until it has said so. */
export const info = signal<Info | undefined>();

/** Whether this page can send and show no files before somebody logs in. */
export const needsLogin = computed(
  () => info.value?.api_token === true && tokens.value === undefined,
);

/** Asks who is logged in, and what there is. A login that has ended is forgotten by the client. */
export async function greet(): Promise<void> {
  info.value ??= await server.info();
  if (!server.isLoggedIn) return void (account.value = undefined);
  account.value = await server.account();
}

/** Another tab logged in or out. */
addEventListener('storage', ({ key }) => {
  if (key === 'login') void greet().catch(() => undefined);
});

/**
 * Where a page finds a file of the server. Addresses in answers name the server as its operator
 * does, which need not be how this browser reached it.
 */
export function localUrl(url: string): string {
  const start = url.indexOf('/api/');
  return start < 0 ? url : url.slice(start);
}
