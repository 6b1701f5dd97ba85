import { type Config, isLoopback } from '../config.js';
import { CodedError } from '../errors.js';

/**
 * Browsers let any page send requests and open sockets to any server, so the page's origin has to
 * be one of ours. Other programs send no Origin and are not what this is about.
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

function sameText(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
