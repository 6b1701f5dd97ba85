import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerRaw } from '../../limit/raw.js';

type Listener = (request: IncomingMessage, line: Duplex, head: Buffer) => void;

const stopping = 'the server is stopping: connect again in a while';

/**
 * Once a server listens for upgrades, every request that offers one comes to it, HTTP/2 offers of
 * ordinary clients included. Those that are not for a socket are taken as the plain requests they
 * may be taken for, as if nothing had been offered.
 */
export function divertUpgrades(
  server: Server,
  isSocket: (path: string) => boolean,
): { /** From now on upgrades are refused. */ stop(): void } {
  const [listener] = server.listeners('upgrade').slice(-1) as [Listener];
  server.removeListener('upgrade', listener);
  let isStopping = false;
  server.on('upgrade', (request: IncomingMessage, line: Duplex, head: Buffer) => {
    const isOurs =
      request.headers.upgrade?.toLowerCase() === 'websocket' && isSocket(pathOf(request.url ?? ''));
    if (!isOurs) takeAsPlain(server, request, line, head);
    // While it closes, the framework answers in another form and leaves the line open.
    else if (isStopping) answerRaw(line, 'SERVER_STOPPING', stopping);
    else listener(request, line, head);
  });
  return { stop: () => (isStopping = true) };
}

/** Empty for what cannot be decoded. */
function pathOf(url: string): string {
  try {
    return decodeURIComponent(url.split(/[?#;]/, 1)[0] as string);
  } catch {
    return '';
  }
}

/** Gives the request to the server once more, without the offer. */
function takeAsPlain(server: Server, request: IncomingMessage, line: Duplex, head: Buffer): void {
  const offer = /^(upgrade|connection|http2-settings)$/i;
  const { method, url, httpVersion, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (!offer.test(name)) lines.push(`${name}: ${rawHeaders[i + 1]}`);
  }
  line.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', line);
}
