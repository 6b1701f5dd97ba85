import { signal } from '@preact/signals';
import type { Role } from '../../../src/client/index.js';
import { server } from '../server.js';

const most = 100;

/** Whom one can talk to; undefined until the server has said so. */
export const roles = signal<readonly Role[] | undefined>();
/** The id of the role that is chosen. */
export const chosen = signal<string | undefined>();

export async function loadRoles(): Promise<void> {
  const { roles: found } = await server.roles.list({ page_size: most });
  roles.value = found;
  if (!found.some(({ role_id }) => role_id === chosen.peek())) chosen.value = found[0]?.role_id;
}
