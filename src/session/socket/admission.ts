import type { Config } from '../../config.js';
import { CodedError } from '../../errors.js';
import { networkOf as addressKey } from '../../limit/network.js';
import { checkOrigin } from '../../limit/origin.js';
import type { Tally } from './limits.js';

export interface UpgradeRequest {
  readonly ip: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Refuses an upgrade that may not be, before there is a socket. */
export function admit(
  request: UpgradeRequest,
  config: Config,
  openByAddress: Tally,
  isStopping: boolean,
): void {
  if (isStopping) {
    throw new CodedError('SERVER_STOPPING', 'the server is stopping: connect again in a while');
  }
  checkOrigin(one(request.headers['origin']), one(request.headers['host']), config);
  checkCount(request.ip, config, openByAddress);
}

export function checkCount(ip: string, config: Config, openByAddress: Tally): void {
  const { perAddress } = config.sessions;
  if (openByAddress.get(addressKey(ip)) >= perAddress) {
    throw new CodedError(
      'TOO_MANY_SESSIONS',
      `${perAddress} connections are open from this address, which is the limit: close one first`,
    );
  }
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
