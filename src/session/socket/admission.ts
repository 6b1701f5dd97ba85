import { isIPv6 } from 'node:net';
import { type Config, isLoopback } from '../../config.js';
import { CodedError } from '../../errors.js';
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

/**
 * Browsers let any page open a socket to any server, so the page's origin has to be one of ours.
 * Other programs send no Origin and are not what this is about.
 */
export function checkOrigin(
  origin: string | undefined,
  host: string | undefined,
  config: Pick<Config, 'host' | 'clientUrl' | 'sessions'>,
): void {
  if (origin === undefined) return;
  const { allowedOrigins } = config.sessions;
  if (allowedOrigins === undefined) {
    if (isOwnPage(origin, host, config)) return;
  } else if (allowedOrigins.some((one) => one === '*' || sameText(one, origin))) {
    return;
  }
  throw new CodedError(
    'ORIGIN_REFUSED',
    `pages of ${JSON.stringify(origin.slice(0, 200))} may not connect: WS_ALLOWED_ORIGINS says which may`,
  );
}

function isOwnPage(
  origin: string,
  host: string | undefined,
  config: Pick<Config, 'host' | 'clientUrl'>,
): boolean {
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  if (page === undefined || !/^https?:$/.test(page.protocol)) return false;
  if (page.host === new URL(config.clientUrl).host) return true;
  // On loopback the Host header proves nothing: a page may point its own name to 127.0.0.1.
  if (isLoopback(config.host)) return isLoopback(page.hostname);
  return host !== undefined && page.host === host.toLowerCase();
}

/** Who counts as one address: an IPv6 network of 64 bits, which any subscriber has, is one. */
export function addressKey(ip: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip);
  if (mapped !== null) return mapped[1] as string;
  if (!isIPv6(ip)) return ip;
  const [head = '', tail] = (ip.split('%')[0] as string).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = Math.max(0, 8 - front.length - back.length);
  const all = [...front, ...Array<string>(tail === undefined ? 0 : zeros).fill('0'), ...back];
  return `${all
    .slice(0, 4)
    .map((group) => parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

function sameText(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
