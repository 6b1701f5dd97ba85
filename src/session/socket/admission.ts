import type { FastifyRequest } from 'fastify';
import type { Config } from '../../config.js';
import { CodedError } from '../../errors.js';
import type { Counts } from '../../limit/counts.js';
import { networkOf } from '../../limit/network.js';
import { checkOrigin } from '../../limit/origin.js';
import { relayHeader } from './relay.js';

export interface AdmissionOptions {
  readonly config: Config;
  /** Counts the connections of each address. */
  readonly counts: Counts;
  /** The address of a client that another API process carries on to here, by its pass. */
  readonly takePass: (pass: string) => Promise<string | undefined>;
}

export interface Admitted {
  readonly address: string;
  readonly isRelayed: boolean;
}

/** Refuses an upgrade that may not be, before there is a socket; counts the others. */
export async function admit(
  request: FastifyRequest,
  { config, counts, takePass }: AdmissionOptions,
): Promise<Admitted> {
  const pass = request.headers[relayHeader];
  if (typeof pass === 'string') {
    const address = await takePass(pass);
    if (address !== undefined) return { address, isRelayed: true };
    throw new CodedError('FORBIDDEN', 'this pass of another API process is not known here');
  }
  const { ip, headers, raw } = request;
  checkOrigin(headers.origin, headers.host, config);
  const what = `address:${networkOf(ip)}`;
  const { perAddress } = config.sessions;
  if (!(await counts.take(what, perAddress))) {
    throw new CodedError(
      'TOO_MANY_SESSIONS',
      `${perAddress} connections are open from this address, which is the limit: close one first`,
    );
  }
  // until the line closes, whatever becomes of the upgrade
  if (raw.socket.destroyed) counts.give(what);
  else raw.socket.once('close', () => counts.give(what));
  return { address: ip, isRelayed: false };
}
